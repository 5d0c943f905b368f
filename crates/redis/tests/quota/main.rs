//! Quotas in Redis: what is counted there, and the rate limit that shares them.

#![expect(clippy::unwrap_used, reason = "a test fails by a panic")]

mod access;
mod counting;
mod faults;
mod nodes;

use std::time::Duration;

use http::{Request, Response};
use tower::ServiceExt;
use tower_edge_core::Key;
use tower_edge_limit::{Limit, Quota, QuotaStore, RateLimit, RateLimitLayer, Take, Taken};
use tower_edge_redis::RedisQuotas;
use tower_edge_testkit::{Answer, MockBody, Upstream};
use tower_layer::Layer;

/// A store with time enough for a machine that is busy.
fn store(url: &str) -> RedisQuotas {
    RedisQuotas::new(url).unwrap().deadline(PATIENCE)
}

/// So many an hour: while a test runs, hardly one comes back.
fn hourly(burst: u32) -> Take<'static> {
    Take {
        name: "hourly",
        permits: 10,
        period: Duration::from_secs(3_600),
        burst,
        debt: 5,
        back: 0,
        charge: 0,
        ask: 0,
        ahead: Duration::ZERO,
    }
}

async fn take(store: &RedisQuotas, key: &str, take: Take<'_>) -> Taken {
    let taken = store.take(&Key::new(key), &[take], false).await.unwrap();
    assert_eq!(taken.len(), 1);
    taken[0]
}

async fn granted(store: &RedisQuotas, key: &str, of: Take<'_>) -> u32 {
    take(store, key, of).await.granted
}

fn serve(layer: &RateLimitLayer) -> RateLimit<Upstream> {
    layer.layer(Upstream::new(|_, _| Answer::ok(MockBody::new())).0)
}

async fn call(service: &RateLimit<Upstream>) -> Response<()> {
    let request = Request::get("/").body(MockBody::new()).unwrap();
    service.clone().oneshot(request).await.unwrap().map(drop)
}

async fn admitted(service: &RateLimit<Upstream>, calls: usize) -> usize {
    let mut admitted = 0;
    for _ in 0..calls {
        admitted += usize::from(call(service).await.status() == 200);
    }
    admitted
}

fn limit(quota: Quota) -> Limit {
    Limit::new("all", quota)
}

const PATIENCE: Duration = Duration::from_secs(10);
