//! The rate limit as its users see it.

#![allow(clippy::unwrap_used, reason = "a test may end where it fails")]

mod answers;
mod charges;
mod contract;
mod handle;
mod keys;
mod pressure;
mod sharing;
mod table;
mod waiting;

use std::time::{Duration, SystemTime};

use http::{Request, Response};
use tower::{Layer, Service, ServiceExt};
use tower_edge_core::Clock;
use tower_edge_limit::{Limit, RateLimit, RateLimitBody, RateLimitLayer};
use tower_edge_testkit::{Answer, MockBody, Upstream, UpstreamHandle};

type Answered = Response<RateLimitBody<MockBody>>;

/// A layer whose time is that of the test.
fn layer(limit: Limit) -> RateLimitLayer {
    RateLimitLayer::new(limit).clock(Clock::anchored(SystemTime::UNIX_EPOCH))
}

/// Behind the layer, everything is well.
fn serve(layer: &RateLimitLayer) -> (RateLimit<Upstream>, UpstreamHandle) {
    let (upstream, handle) = Upstream::new(|_, _| Answer::ok(MockBody::new()));
    (layer.layer(upstream), handle)
}

async fn call(service: &RateLimit<Upstream>, request: http::request::Builder) -> Answered {
    service.clone().oneshot(request.body(MockBody::new()).unwrap()).await.unwrap()
}

async fn get(service: &RateLimit<Upstream>) -> u16 {
    call(service, Request::get("/")).await.status().as_u16()
}

/// How many of so many calls at once are admitted.
async fn admitted(service: &RateLimit<Upstream>, calls: usize) -> usize {
    let mut admitted = 0;
    for _ in 0..calls {
        admitted += usize::from(get(service).await == 200);
    }
    admitted
}

async fn pass(millis: u64) {
    tokio::time::advance(Duration::from_millis(millis)).await;
}

/// Calls a service that was polled ready already.
fn called<S>(service: &mut S, path: &str) -> S::Future
where
    S: Service<Request<MockBody>>,
{
    service.call(Request::get(path).body(MockBody::new()).unwrap())
}
