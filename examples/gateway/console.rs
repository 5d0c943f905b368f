use std::convert::Infallible;
use std::future::pending;
use std::time::Duration;

use bytes::Bytes;
use http::header::CONTENT_TYPE;
use http::{HeaderValue, Method, Request, Response, StatusCode};
use http_body_util::Full;
use hyper::body::Incoming;
use tokio::net::TcpListener;
use tower_edge::metrics::{PrometheusHandle, PrometheusRecorder};

use crate::flags::Misuse;
use crate::server::{self, Patience};

/// Collects what the layers measure.
pub(crate) fn collect() -> Result<PrometheusHandle, Misuse> {
    let handle = PrometheusRecorder::new().install();
    handle.map_err(|error| Misuse::from(std::io::Error::other(error)))
}

/// Serves `GET /metrics`, in the text format of Prometheus.
pub(crate) fn start(listener: TcpListener, collected: PrometheusHandle) {
    let service = tower::service_fn(move |request: Request<Incoming>| {
        let answer = answer(request.method(), request.uri().path(), &collected);
        async move { Ok::<_, Infallible>(answer) }
    });
    let patience = Patience { idle: IDLE, grace: Duration::ZERO };
    tokio::spawn(server::serve(listener, service, pending(), patience));
}

fn answer(method: &Method, path: &str, collected: &PrometheusHandle) -> Response<Full<Bytes>> {
    let (status, media_type, body) = match (path, *method == Method::GET) {
        ("/metrics", true) => (StatusCode::OK, PrometheusHandle::CONTENT_TYPE, collected.render()),
        ("/metrics", false) => (StatusCode::METHOD_NOT_ALLOWED, TEXT, "Only GET.\n".into()),
        _ => (StatusCode::NOT_FOUND, TEXT, "There is only /metrics.\n".into()),
    };
    let mut response = Response::new(Full::from(body));
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(media_type));
    response
}

const IDLE: Duration = Duration::from_secs(60);
const TEXT: &str = "text/plain; charset=utf-8";
