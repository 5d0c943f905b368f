//! What a cache costs, and what its hits save.
//!
//! - `hit_1k`, `hit_100k`, `hit_1m`: a fresh response of that size;
//! - `hit_1k_2threads`: the same, while another thread asks for it all the time: in
//!   total, two threads do twice as much in this time as one;
//! - `hit_304`: a conditional request that a fresh response of 1 KiB answers;
//! - `hit_range`: 100 bytes of a fresh response of 1 KiB;
//! - `stale_swr`: a stale response, which is refreshed behind the client's back, out
//!   of the measurement;
//! - `miss_1k`: a response that is stored, once the cache is full;
//! - `uncacheable`: a response that must not be stored;
//! - `clone`: a clone of the service, not dropped.
//!
//! `bare` is the service behind the cache. A peer is left out of what it does not
//! do: none answers 304 or 206, or stale without making somebody wait, and
//! axum-response-cache stores what it must not.

use std::convert::Infallible;
use std::process::ExitCode;
use std::time::Duration;

use axum::body::Body;
use bytes::Bytes;
use cached::LruTtlCache;
use http::{Request, Response, StatusCode};
use http_body_util::Full;
use http_cache::{CacheMode, HttpCache, HttpCacheOptions, MokaCache, MokaManager};
use http_cache_tower::{HttpCacheLayer, HttpCacheService};
use tower::{Layer, Service, ServiceBuilder};
use tower_edge_benches::{Bench, Reply, Requests, Scenario, Upstream};
use tower_edge_cache::{CacheLayer, CacheService};
use tower_http_cache::prelude::InMemoryBackend;

fn main() -> ExitCode {
    let mut bench = Bench::new("cache");
    let get = || Requests::get("http://bench.test/");
    let fresh = ("cache-control", "max-age=3600");
    let upstream = || Upstream::new(KIB).field(fresh);
    let called = Reply::new(StatusCode::OK, KIB);

    let hit = Scenario::new("hit_1k", get(), upstream());
    all(&mut bench, &hit, called, called.without_upstream());

    let hit = Scenario::new("hit_1k_2threads", get(), upstream());
    let stored = called.without_upstream();
    bench.calls_beside(&hit, "bare", called, |upstream| upstream);
    bench.calls_beside(&hit, "tower-edge", stored, tower_edge);
    bench.calls_beside(&hit, "tower-http-cache", stored, tower_http_cache);
    bench.calls_beside(&hit, "http-cache-tower", stored, http_cache_tower);
    bench.calls_beside(&hit, "axum-response-cache", stored, axum_response_cache);

    for (scenario, size) in [("hit_100k", 100 * KIB), ("hit_1m", KIB * KIB)] {
        let hit = Scenario::new(scenario, get(), Upstream::new(size).field(fresh));
        let large = Reply::new(StatusCode::OK, size);
        all(&mut bench, &hit, large, large.without_upstream());
    }

    let tagged = upstream().field(("etag", "\"1\""));
    let hit = Scenario::new("hit_304", get().field("if-none-match", "\"1\""), tagged);
    bench.calls(&hit, "bare", called, |upstream| upstream);
    let unmodified = Reply::new(StatusCode::NOT_MODIFIED, 0).without_upstream();
    bench.calls(&hit, "tower-edge", unmodified, tower_edge);

    let hit = Scenario::new("hit_range", get().field("range", "bytes=100-199"), upstream());
    bench.calls(&hit, "bare", called, |upstream| upstream);
    let part = Reply::new(StatusCode::PARTIAL_CONTENT, 100).without_upstream();
    bench.calls(&hit, "tower-edge", part, tower_edge);

    let stale = ("cache-control", "max-age=0, stale-while-revalidate=3600");
    let hit = Scenario::new("stale_swr", get(), Upstream::new(KIB).field(stale));
    bench.calls(&hit, "bare", called, |upstream| upstream);
    bench.calls(&hit, "tower-edge", called, tower_edge);

    let miss = Scenario::new("miss_1k", get().distinct(), upstream());
    all(&mut bench, &miss, called, called);

    let uncacheable = Upstream::new(KIB).field(("cache-control", "no-store"));
    let pass = Scenario::new("uncacheable", get(), uncacheable);
    by_the_rules(&mut bench, &pass, called, called);

    bench.clones("clone", "bare", || Upstream::new(KIB));
    bench.clones("clone", "tower-edge", || tower_edge(Upstream::new(KIB)));
    bench.clones("clone", "tower-http-cache", || tower_http_cache(Upstream::new(KIB)));
    bench.clones("clone", "http-cache-tower", || http_cache_tower(Upstream::new(KIB)));
    bench.clones("clone", "axum-response-cache", || axum_response_cache(Upstream::new(KIB)));
    bench.run()
}

fn all(bench: &mut Bench, scenario: &Scenario, bare: Reply, cached: Reply) {
    by_the_rules(bench, scenario, bare, cached);
    bench.calls(scenario, "axum-response-cache", cached, axum_response_cache);
}

/// Those that look at `Cache-Control`.
fn by_the_rules(bench: &mut Bench, scenario: &Scenario, bare: Reply, cached: Reply) {
    bench.calls(scenario, "bare", bare, |upstream| upstream);
    bench.calls(scenario, "tower-edge", cached, tower_edge);
    bench.calls(scenario, "tower-http-cache", cached, tower_http_cache);
    bench.calls(scenario, "http-cache-tower", cached, http_cache_tower);
}

fn tower_edge(upstream: Upstream) -> CacheService<Upstream> {
    CacheLayer::new(CAPACITY).max_entry(CAPACITY).layer(upstream)
}

fn tower_http_cache(
    upstream: Upstream,
) -> tower_http_cache::layer::CacheService<Upstream, InMemoryBackend> {
    let backend = InMemoryBackend::new(ENTRIES);
    tower_http_cache::CacheLayer::builder(backend).ttl(HOUR).build().layer(upstream)
}

fn http_cache_tower(upstream: Upstream) -> HttpCacheService<Upstream, MokaManager> {
    let manager = MokaManager::new(MokaCache::new(ENTRIES));
    let options = HttpCacheOptions::default();
    let cache = HttpCache { mode: CacheMode::Default, manager, options };
    HttpCacheLayer::with_cache(cache).layer(upstream)
}

fn axum_response_cache(
    upstream: Upstream,
) -> impl Service<Request<Body>, Response = Response<Body>, Error = Infallible> + Clone {
    let store = LruTtlCache::with_size_and_ttl(ENTRIES as usize, HOUR);
    ServiceBuilder::new()
        .layer(axum_response_cache::CacheLayer::with(store))
        .map_response(|response: Response<Full<Bytes>>| response.map(Body::new))
        .service(upstream)
}

/// About as many as fit into [`CAPACITY`].
const ENTRIES: u64 = 1_000;
const CAPACITY: u64 = 2 << 20;
const KIB: usize = 1_024;
const HOUR: Duration = Duration::from_secs(3_600);
