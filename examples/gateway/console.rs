use std::convert::Infallible;
use std::future::pending;
use std::io;
use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4};
use std::time::Duration;

use bytes::Bytes;
use http::header::{ACCEPT, CONTENT_TYPE};
use http::{HeaderValue, Method, Request, Response, StatusCode};
use http_body_util::Full;
use hyper::body::Incoming;
use tower_edge::metrics::{PrometheusHandle, PrometheusRecorder};

use crate::flags::Misuse;
use crate::server::{self, Patience};

/// Serves `GET /metrics`, in whichever format of Prometheus the scraper prefers,
/// and says where.
///
/// Two gateways on one machine want the same default address: the second one
/// goes without a console rather than not at all.
pub(crate) async fn start(wanted: Option<SocketAddr>) -> Result<Option<SocketAddr>, Misuse> {
    let (listener, address) = match server::listen("--console", wanted.unwrap_or(DEFAULT)).await {
        Ok(listening) => listening,
        Err(taken) if wanted.is_none() => {
            tracing::warn!("there is no console: {taken}");
            return Ok(None);
        }
        Err(taken) => return Err(taken),
    };
    let collected = PrometheusRecorder::new().install();
    let collected = collected.map_err(io::Error::other)?;
    let service = tower::service_fn(move |request: Request<Incoming>| {
        let answer = answer(&request, &collected);
        async move { Ok::<_, Infallible>(answer) }
    });
    let patience = Patience { idle: IDLE, grace: Duration::ZERO };
    tokio::spawn(server::serve(listener, service, pending(), patience));
    Ok(Some(address))
}

fn answer<B>(request: &Request<B>, collected: &PrometheusHandle) -> Response<Full<Bytes>> {
    let (status, (media_type, body)) = match (request.uri().path(), request.method()) {
        ("/metrics", &Method::GET) => {
            (StatusCode::OK, collected.render_for(request.headers().get(ACCEPT)))
        }
        ("/metrics", _) => (StatusCode::METHOD_NOT_ALLOWED, (TEXT, "Only GET.\n".into())),
        _ => (StatusCode::NOT_FOUND, (TEXT, "There is only /metrics.\n".into())),
    };
    let mut response = Response::new(Full::from(body));
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(media_type));
    response
}

const DEFAULT: SocketAddr = SocketAddr::V4(SocketAddrV4::new(Ipv4Addr::LOCALHOST, 3001));
const IDLE: Duration = Duration::from_secs(60);
const TEXT: &str = "text/plain; charset=utf-8";
