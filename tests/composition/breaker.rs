use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, SystemTime};

use http::{HeaderMap, Request, Response};
use tower::{Layer, Service, ServiceExt};
use tower_edge::Edge;
use tower_edge::breaker::{BreakerLayer, State};
use tower_edge::cache::CacheLayer;
use tower_edge::core::{BoxError, Clock};
use tower_edge::metrics::LatencyLayer;
use tower_edge_testkit::{Answer, MockBody, Received, Upstream, UpstreamHandle};

/// Pages that are fresh for a minute, while the service is well.
fn upstream() -> (Upstream, UpstreamHandle, Arc<AtomicBool>) {
    let well = Arc::new(AtomicBool::new(true));
    let is_well = well.clone();
    let (upstream, calls) = Upstream::new(move |number, _| {
        let status = if is_well.load(Ordering::Relaxed) { 200 } else { 500 };
        let response = Response::builder().status(status);
        let response = response.header("cache-control", "max-age=60, stale-if-error=600");
        let body = MockBody::new().data(format!("answer {number}"));
        Answer::from(response.body(body).unwrap())
    });
    (upstream, calls, well)
}

async fn get<S, B>(service: &S, path: &str) -> (u16, HeaderMap, String)
where
    S: Service<Request<MockBody>, Response = Response<B>> + Clone,
    S::Error: std::fmt::Debug,
    B: http_body::Body,
    B::Error: Into<BoxError>,
{
    let request = Request::get(format!("http://a{path}")).body(MockBody::new()).unwrap();
    let (head, body) = service.clone().oneshot(request).await.unwrap().into_parts();
    let text = String::from_utf8(Received::from(body).await.bytes().into()).unwrap();
    (head.status.as_u16(), head.headers, text)
}

#[tokio::test(start_paused = true)]
async fn an_open_circuit_yields_stale_answers_and_leaves_hits_alone() {
    let clock = Clock::anchored(SystemTime::UNIX_EPOCH + Duration::from_secs(1 << 30));
    let hour = Duration::from_secs(3_600);
    let breaker = BreakerLayer::new().open_for(hour, hour).seed(1).clock(clock);
    let (handle, latency) = (breaker.handle(), LatencyLayer::new().clock(clock));
    let measured = latency.handle();
    let cache = CacheLayer::new(1 << 20).clock(clock);
    let (upstream, calls, well) = upstream();
    // In whatever order they are set, the breaker stands innermost.
    let service = Edge::new().breaker(breaker).latency(latency).cache(cache).layer(upstream);

    for path in ["/old", "/new"] {
        assert_eq!(get(&service, path).await.0, 200);
        tokio::time::advance(Duration::from_secs(30)).await;
    }
    well.store(false, Ordering::Relaxed);
    for number in 0..20 {
        assert_eq!(get(&service, &format!("/{number}")).await.0, 500);
    }
    assert_eq!((handle.snapshot().state, calls.calls()), (State::Open, 22));

    let (status, fields, text) = get(&service, "/new").await;
    assert_eq!((status, text.as_str()), (200, "answer 1"));
    assert_eq!(fields["cache-status"], "tower-edge; hit; ttl=30");
    assert_eq!(handle.snapshot().refused, 0, "a hit asks no breaker");

    let (status, fields, text) = get(&service, "/old").await;
    assert_eq!((status, text.as_str()), (200, "answer 0"));
    let stale = "tower-edge; fwd=stale; fwd-status=503; detail=stale-if-error";
    assert_eq!(fields["cache-status"], stale);

    let (status, fields, _) = get(&service, "/unknown").await;
    assert_eq!(status, 503);
    assert!(fields.contains_key("retry-after"));
    assert_eq!((handle.snapshot().refused, calls.calls()), (2, 22));

    // Past the window there is nothing left to say.
    tokio::time::advance(Duration::from_secs(600)).await;
    assert_eq!(get(&service, "/old").await.0, 503);
    let refused = measured.snapshot().merged().refusals.circuit_open;
    assert_eq!(refused, 2, "a stale answer is no refusal");
}

#[tokio::test(start_paused = true)]
async fn hits_do_not_make_a_failing_service_look_well() {
    let clock = Clock::anchored(SystemTime::UNIX_EPOCH);
    let breaker = BreakerLayer::new().clock(clock);
    let (handle, cache) = (breaker.handle(), CacheLayer::new(1 << 20).clock(clock));
    let (upstream, calls, well) = upstream();
    let service = Edge::new().cache(cache).breaker(breaker).layer(upstream);
    get(&service, "/").await;
    well.store(false, Ordering::Relaxed);
    for number in 0..1_000 {
        assert_eq!(get(&service, "/").await.0, 200);
        if number % 10 == 0 {
            get(&service, &format!("/{number}")).await;
        }
    }
    assert_eq!((handle.snapshot().state, calls.calls()), (State::Open, 20));
}
