use std::convert::Infallible;
use std::net::SocketAddr;

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::{Empty, Full};
use hyper::body::Incoming;
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto;
use hyper_util::service::TowerToHyperService;
use tower::{Layer, service_fn};
use tower_edge::Edge;
use tower_edge::cache::CacheLayer;
use tower_edge::metrics::LatencyLayer;

use crate::client;

/// A bare hyper server with the whole stack on it, until the test ends.
async fn serve(edge_latency: LatencyLayer) -> SocketAddr {
    let edge = Edge::new().latency(edge_latency).cache(CacheLayer::new(1 << 20));
    let service = edge.layer(service_fn(async |request: Request<Incoming>| {
        let response = Response::builder().header("cache-control", "max-age=60");
        let text = format!("{:?}", request.version());
        Ok::<_, Infallible>(response.body(Full::new(Bytes::from(text))).unwrap())
    }));
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let service = TowerToHyperService::new(service.clone());
            tokio::spawn(async move {
                let server = auto::Builder::new(TokioExecutor::new());
                server.serve_connection(TokioIo::new(stream), service).await
            });
        }
    });
    address
}

#[tokio::test]
async fn one_entry_serves_http_1_and_http_2() {
    let latency = LatencyLayer::new();
    let handle = latency.handle();
    let address = serve(latency).await;
    for (http2, status) in
        [(false, "fwd=uri-miss; stored"), (true, "hit; ttl=60"), (false, "hit; ttl=60")]
    {
        let request = Request::get(format!("http://{address}/")).body(Empty::new()).unwrap();
        let got = client::send(request, http2).await;
        assert_eq!((got.status.as_u16(), got.text.as_str()), (200, "HTTP/1.1"));
        assert_eq!(got.cache_status(), format!("tower-edge; {status}"));
        assert_eq!(got.fields["content-length"], "8");
    }
    let head = Request::head(format!("http://{address}/")).body(Empty::new()).unwrap();
    let head = client::send(head, true).await;
    assert_eq!((head.text.as_str(), &head.fields["content-length"]), ("", &"8".parse().unwrap()));
    let measured = handle.snapshot().merged();
    assert_eq!((measured.outcomes.success, measured.response_bytes), (4, 24));
}
