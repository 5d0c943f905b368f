use std::convert::Infallible;
use std::future::pending;
use std::time::Duration;

use bytes::Bytes;
use http::header::CONTENT_TYPE;
use http::{HeaderValue, Method, Request, Response, StatusCode};
use http_body_util::Full;
use hyper::body::Incoming;
use metrics_exporter_prometheus::{Matcher, PrometheusBuilder, PrometheusHandle};
use tokio::net::TcpListener;

use crate::flags::Misuse;
use crate::server::{self, Patience};

/// Collects what the layers measure; they have to be made after it.
pub(crate) fn collect() -> Result<PrometheusHandle, Misuse> {
    let seconds = Matcher::Suffix("duration".into());
    let bytes = Matcher::Suffix("size".into());
    let builder = PrometheusBuilder::new()
        .with_recommended_naming(true)
        .set_buckets_for_metric(seconds, &SECONDS)
        .and_then(|builder| builder.set_buckets_for_metric(bytes, &BYTES));
    let handle = builder.and_then(PrometheusBuilder::install_recorder);
    handle.map_err(|error| Misuse::from(std::io::Error::other(error)))
}

/// Serves `GET /metrics`, in the text format of Prometheus.
pub(crate) fn start(listener: TcpListener, collected: PrometheusHandle) {
    // What was measured is held one by one until somebody sums it up.
    let upkeep = collected.clone();
    tokio::spawn(async move {
        loop {
            tokio::time::sleep(UPKEEP).await;
            upkeep.run_upkeep();
        }
    });
    let service = tower::service_fn(move |request: Request<Incoming>| {
        let answer = answer(request.method(), request.uri().path(), &collected);
        async move { Ok::<_, Infallible>(answer) }
    });
    let patience = Patience { idle: IDLE, grace: Duration::ZERO };
    tokio::spawn(server::serve(listener, service, pending(), patience));
}

fn answer(method: &Method, path: &str, collected: &PrometheusHandle) -> Response<Full<Bytes>> {
    let (status, media_type, body) = match (path, *method == Method::GET) {
        ("/metrics", true) => (StatusCode::OK, PROMETHEUS, collected.render()),
        ("/metrics", false) => (StatusCode::METHOD_NOT_ALLOWED, TEXT, "Only GET.\n".into()),
        _ => (StatusCode::NOT_FOUND, TEXT, "There is only /metrics.\n".into()),
    };
    let mut response = Response::new(Full::from(body));
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(media_type));
    response
}

const IDLE: Duration = Duration::from_secs(60);
const UPKEEP: Duration = Duration::from_secs(5);
const PROMETHEUS: &str = "text/plain; version=0.0.4; charset=utf-8";
const TEXT: &str = "text/plain; charset=utf-8";

/// From what a hit takes to what nobody waits for.
const SECONDS: [f64; 14] =
    [0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1.0, 2.5, 10.0];
const BYTES: [f64; 6] = [1024.0, 8192.0, 65536.0, 524_288.0, 4_194_304.0, 33_554_432.0];
