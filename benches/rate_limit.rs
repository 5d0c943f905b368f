//! What a rate limit costs.
//!
//! - `one_key`, `thousand_keys`, `million_keys`: admitted, by so many clients in
//!   turn, without response fields;
//! - `headers`: admitted, and the client is told how it stands;
//! - `refuse`: a client whose quota is used up;
//! - `four_quotas`: admitted by four;
//! - `two_threads`: as `one_key`, while another thread does the same for another
//!   client all the time.
//!
//! tower's own limit and tower-resilience's know no clients, so they are in
//! `one_key` alone. tower_governor wants the body type of axum: one of its
//! allocations is the box of that.

use std::convert::Infallible;
use std::fmt::Debug;
use std::time::Duration;

use axum::body::Body;
use bytes::Bytes;
use governor::middleware::NoOpMiddleware;
use http::{Request, Response, StatusCode};
use http_body_util::Full;
use tower::{Layer, Service, ServiceBuilder};
use tower_edge::core::{Key, RequestHead};
use tower_edge::limit::{Limit, Quota, RateLimitLayer, nonzero};
use tower_edge_benches::{Bench, Beside, Calls, Client, Reply, Requests, Scenario, Upstream, Work};
use tower_governor::governor::GovernorConfigBuilder;
use tower_governor::key_extractor::KeyExtractor;
use tower_governor::{GovernorError, GovernorLayer};
use tower_resilience_ratelimiter::RateLimiterLayer;

/// Adds the scenarios.
pub(crate) fn add(bench: &mut Bench) {
    let upstream = Upstream::new(KIB);
    let called = Reply::new(StatusCode::OK, KIB);
    let by = |name, clients| {
        Scenario::new(name, Requests::get("http://bench.test/").clients(clients), upstream)
    };
    for (name, clients) in [
        ("rate_limit_one_key", 1),
        ("rate_limit_thousand_keys", 1_000),
        ("rate_limit_million_keys", 1_000_000),
    ] {
        let admitted = by(name, clients);
        bench.calls(&admitted, "bare", called, |upstream| upstream);
        bench.calls(&admitted, "tower-edge", called, |upstream| {
            quiet(clients_limit("client", FAST)).layer(upstream)
        });
        bench.calls(&admitted, "tower_governor", called, |upstream| governor(MANY, upstream));
    }
    let one = by("rate_limit_one_key", 1);
    bench.calls(&one, "tower", called, |upstream| {
        tower::limit::RateLimitLayer::new(1 << 40, Duration::from_secs(1)).layer(upstream)
    });
    bench.calls(&one, "tower-resilience", called, |upstream| {
        let layer = RateLimiterLayer::builder().limit_for_period(1 << 40).build();
        layer.expect(VALID).layer(upstream)
    });

    let told = by("rate_limit_headers", 1);
    bench.calls(&told, "bare", called, |upstream| upstream);
    bench.calls(&told, "tower-edge", called, |upstream| {
        RateLimitLayer::new(clients_limit("client", FAST)).layer(upstream)
    });
    bench.calls(&told, "tower_governor", called, |upstream| {
        let mut config = config(MANY);
        let config = config.use_headers().finish().expect(VALID);
        GovernorLayer::new(config).layer(converted(upstream))
    });

    let refused = by("rate_limit_refuse", 1);
    bench.calls(&refused, "bare", called, |upstream| upstream);
    let refusal = Reply::new(StatusCode::TOO_MANY_REQUESTS, 217).without_upstream();
    bench.calls(&refused, "tower-edge", refusal, |upstream| {
        quiet(clients_limit("client", ONCE)).layer(upstream)
    });
    let refusal = Reply::new(StatusCode::TOO_MANY_REQUESTS, 34).without_upstream();
    bench.calls(&refused, "tower_governor", refusal, |upstream| governor(1, upstream));

    let four = by("rate_limit_four_quotas", 1);
    bench.calls(&four, "bare", called, |upstream| upstream);
    bench.calls(&four, "tower-edge", called, |upstream| {
        let more = ["second", "third", "fourth"].map(|name| clients_limit(name, FAST));
        more.into_iter()
            .fold(quiet(clients_limit("first", FAST)), RateLimitLayer::limit)
            .layer(upstream)
    });
    bench.calls(&four, "tower_governor", called, |upstream| {
        let layer = || GovernorLayer::new(config(MANY).finish().expect(VALID));
        let more = ServiceBuilder::new().layer(layer()).layer(layer()).layer(layer());
        more.service(governor(MANY, upstream))
    });

    bench.case("rate_limit_two_threads", "bare", move || beside(|| upstream, called));
    bench.case("rate_limit_two_threads", "tower-edge", move || {
        let layer = quiet(clients_limit("client", FAST));
        beside(|| layer.layer(upstream), called)
    });
    bench.case("rate_limit_two_threads", "tower_governor", move || {
        let service = governor(MANY, upstream);
        beside(|| service.clone(), called)
    });
}

fn clients_limit(name: &'static str, quota: Quota) -> Limit {
    Limit::new(name, quota).keyed_by(client).keys(nonzero!(1_000_000))
}

/// Says nothing to clients, as the peers do unless they are told to.
fn quiet(limit: Limit) -> RateLimitLayer {
    RateLimitLayer::new(limit).response_fields(false)
}

fn client(head: &RequestHead<'_>) -> Option<Key> {
    head.extensions().get::<Client>().map(|client| Key::new(client.0.to_be_bytes()))
}

fn governor(
    burst: u32,
    upstream: Upstream,
) -> impl Service<Request<Body>, Response = Response<Body>, Error = Infallible, Future: Send>
+ Clone
+ Send {
    let config = config(burst).finish().expect(VALID);
    GovernorLayer::new(config).layer(converted(upstream))
}

/// With the body that tower_governor wants.
fn converted(
    upstream: Upstream,
) -> impl Service<Request<Body>, Response = Response<Body>, Error = Infallible, Future: Send>
+ Clone
+ Send {
    let body = |response: Response<Full<Bytes>>| response.map(Body::new);
    ServiceBuilder::new().map_response(body).service(upstream)
}

/// With a burst of one it takes a day until the next is admitted.
fn config(burst: u32) -> GovernorConfigBuilder<ByClient, NoOpMiddleware> {
    let mut config = GovernorConfigBuilder::default().key_extractor(ByClient);
    let day = Duration::from_secs(86_400);
    config.period(if burst == 1 { day } else { Duration::from_nanos(1) }).burst_size(burst);
    config
}

/// Tells tower_governor whose request it is.
#[derive(Clone, Debug, PartialEq, Eq)]
struct ByClient;

impl KeyExtractor for ByClient {
    type Key = u64;

    fn extract<T>(&self, request: &Request<T>) -> Result<u64, GovernorError> {
        let client = request.extensions().get::<Client>();
        client.map(|client| client.0).ok_or(GovernorError::UnableToExtractKey)
    }
}

/// Calls services on two threads, each for a client of its own.
fn beside<S>(service: impl Fn() -> S, reply: Reply) -> Beside<Calls<S>>
where
    Calls<S>: Work + Send + 'static,
{
    let requests = |client| Requests::get("http://bench.test/").client(client);
    let calls = |client| Calls::new(service(), requests(client), reply);
    Beside::new(calls(0), calls(7))
}

const VALID: &str = "these settings are valid";
const FAST: Quota = Quota::per_second(nonzero!(1_000_000_000));
const ONCE: Quota = Quota::per_day(nonzero!(1));
const MANY: u32 = 1_000_000_000;
const KIB: usize = 1_024;
