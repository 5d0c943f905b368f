use http::{Request, Response};
use tower::{Layer, Service, ServiceBuilder, ServiceExt};
use tower_edge::Edge;
use tower_edge::cache::CacheLayer;
use tower_edge::limit::{Limit, Quota, RateLimitLayer, nonzero};
use tower_edge::metrics::LatencyLayer;
use tower_edge_testkit::{Answer, MockBody, Received, Upstream, UpstreamHandle};

fn upstream() -> (Upstream, UpstreamHandle) {
    Upstream::new(|number, _| {
        let body = MockBody::new().data(format!("answer {number}"));
        let response = Response::builder().header("cache-control", "max-age=60");
        Answer::from(response.body(body).unwrap())
    })
}

async fn answered<S, B>(service: &S) -> String
where
    S: Service<Request<MockBody>, Response = Response<B>> + Clone,
    S::Error: std::fmt::Debug,
    B: http_body::Body,
    B::Error: Into<tower_edge::core::BoxError>,
{
    let request = Request::get("http://a/").body(MockBody::new()).unwrap();
    let response = service.clone().oneshot(request).await.unwrap();
    String::from_utf8(Received::from(response.into_body()).await.bytes().into()).unwrap()
}

#[tokio::test(start_paused = true)]
async fn latency_stands_outside_the_cache_whatever_order_they_are_set_in() {
    let (one, two) = (LatencyLayer::new(), LatencyLayer::new());
    let handles = [one.handle(), two.handle()];
    let edges = [
        Edge::new().latency(one).cache(CacheLayer::new(1 << 20)),
        Edge::new().cache(CacheLayer::new(1 << 20)).latency(two),
    ];
    for (edge, latency) in edges.into_iter().zip(handles) {
        let (upstream, calls) = upstream();
        let service = edge.layer(upstream);
        for _ in 0..3 {
            assert_eq!(answered(&service).await, "answer 0");
        }
        assert_eq!(calls.calls(), 1);
        assert_eq!(latency.snapshot().merged().outcomes.success, 3);
        assert_eq!(latency.in_flight(), 0);
    }
}

#[tokio::test(start_paused = true)]
async fn the_rate_limit_stands_between_latency_and_the_cache() {
    let latency = LatencyLayer::new();
    let handle = latency.handle();
    let all = Limit::new("all", Quota::per_hour(nonzero!(2)));
    let edge = Edge::new()
        .cache(CacheLayer::new(1 << 20))
        .rate_limit(RateLimitLayer::new(all))
        .latency(latency);
    let (upstream, calls) = upstream();
    let service = edge.layer(upstream);
    for answer in ["answer 0", "answer 0"] {
        assert_eq!(answered(&service).await, answer);
    }
    assert!(answered(&service).await.contains("quota exceeded"), "hits count too");
    assert_eq!(calls.calls(), 1);
    assert_eq!(handle.snapshot().merged().refusals.rate_limited, 1);
}

#[tokio::test(start_paused = true)]
async fn a_layer_may_be_left_out_at_run_time() {
    let cache = CacheLayer::new(1 << 20);
    let latency = LatencyLayer::new();
    let handle = latency.handle();
    let (upstream, calls) = upstream();
    for (cached, measured, text, count) in [
        (false, false, "answer 0", 0),
        (false, true, "answer 1", 1),
        (true, false, "answer 2", 1),
        (true, true, "answer 2", 2),
    ] {
        let cache = cached.then(|| cache.clone());
        let latency = measured.then(|| latency.clone());
        let edge = Edge::new().cache(cache).latency(latency);
        let service = edge.layer(upstream.clone());
        assert_eq!(answered(&service).await, text);
        assert_eq!(handle.snapshot().merged().outcomes.success, count);
    }
    assert_eq!(calls.calls(), 3);
}

#[tokio::test(start_paused = true)]
async fn an_edge_goes_into_a_service_builder() {
    let (upstream, calls) = upstream();
    let service = ServiceBuilder::new()
        .layer(Edge::new().latency(LatencyLayer::new()).cache(CacheLayer::new(1 << 20)))
        .map_request(|request| request)
        .service(upstream);
    assert_eq!(answered(&service).await, "answer 0");
    assert_eq!(answered(&service).await, "answer 0");
    assert_eq!(calls.calls(), 1);
}

#[tokio::test(start_paused = true)]
async fn an_empty_edge_is_the_service() {
    let (upstream, _) = upstream();
    let service: Upstream = Edge::new().layer(upstream);
    assert_eq!(answered(&service).await, "answer 0");
}
