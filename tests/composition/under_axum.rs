use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use axum::Router;
use axum::http::header::CACHE_CONTROL;
use axum::routing::get;
use tower_edge::Edge;
use tower_edge::cache::CacheLayer;
use tower_edge::core::{ClientIp, RequestHead, RouteLayer};
use tower_edge::metrics::LatencyLayer;

use crate::client;

/// Serves `app` on a free port until the test ends.
async fn serve(app: Router) -> SocketAddr {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let app = app.into_make_service_with_connect_info::<SocketAddr>();
    tokio::spawn(async move { axum::serve(listener, app).await });
    address
}

/// A router whose only page tells how often it was made.
fn counting(name: &'static str) -> Router {
    let made = Arc::new(AtomicU64::new(0));
    let page = move || async move {
        let number = made.fetch_add(1, Ordering::Relaxed);
        ([(CACHE_CONTROL, "max-age=60")], format!("{name} {number}"))
    };
    Router::new().route("/items/{id}", get(page))
}

#[tokio::test]
async fn an_edge_goes_into_router_layer() {
    let latency = LatencyLayer::new();
    let handle = latency.handle();
    let app = counting("page").layer(Edge::new().latency(latency).cache(CacheLayer::new(1 << 20)));
    let address = serve(app).await;
    for status in ["fwd=uri-miss; stored", "hit; ttl=60"] {
        let got = client::get(format!("http://{address}/items/1")).await;
        assert_eq!((got.status.as_u16(), got.text.as_str()), (200, "page 0"));
        assert_eq!(got.cache_status(), format!("tower-edge; {status}"));
    }
    let snapshot = handle.snapshot();
    let routes: Vec<_> = snapshot.series().iter().map(|series| series.route()).collect();
    assert_eq!(routes, [Some("/items/{id}")]);
}

#[tokio::test]
async fn one_cache_over_several_routes_is_one_cache() {
    let cache = CacheLayer::new(1 << 20);
    let handle = cache.handle();
    let app = Router::new().merge(counting("a")).route("/b", get(async || "b")).layer(cache);
    let address = serve(app).await;
    for path in ["items/1", "items/1", "b", "items/1"] {
        client::get(format!("http://{address}/{path}")).await;
    }
    let stats = handle.stats();
    assert_eq!((stats.hits, stats.misses, stats.resources), (2, 2, 1));
}

#[tokio::test]
async fn nested_routers_with_the_same_inner_paths_share_no_entries() {
    let cache = CacheLayer::new(1 << 20);
    let app = Router::new()
        .nest("/one", counting("one").layer(cache.clone()))
        .nest("/two", counting("two").layer(cache));
    let address = serve(app).await;
    for name in ["one", "two", "one", "two"] {
        let got = client::get(format!("http://{address}/{name}/items/1")).await;
        assert_eq!(got.text, format!("{name} 0"));
    }
}

#[tokio::test]
async fn a_layer_around_the_router_learns_the_route_from_inside() {
    let latency = LatencyLayer::new().server_timing(true);
    let handle = latency.handle();
    let inside = counting("page").route_layer(RouteLayer::new());
    let app =
        Router::new().fallback_service(tower::ServiceBuilder::new().layer(latency).service(inside));
    let address = serve(app).await;
    let got = client::get(format!("http://{address}/items/7")).await;
    assert!(got.fields["server-timing"].to_str().unwrap().starts_with("total;dur="));
    assert_eq!(handle.snapshot().series()[0].route(), Some("/items/{id}"));
}

#[tokio::test]
async fn the_client_is_known_from_axums_connect_info() {
    let page = async |request: axum::extract::Request| {
        let client = ClientIp::peer().address(&RequestHead::new(&request));
        client.unwrap().to_string()
    };
    let address = serve(Router::new().route("/", get(page))).await;
    assert_eq!(client::get(format!("http://{address}/")).await.text, "127.0.0.1");
}
