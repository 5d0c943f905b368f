//! What the layers cost on the way of a request.
//!
//! - `latency`: the latency layer, with a recorder behind the `metrics` facade;
//! - `stack_hit`: all layers, answered from the cache;
//! - `stack_through`: all layers, a POST, which no cache answers;
//! - `stack_clone`: a clone of all layers, not dropped.
//!
//! `peers` is a stack of axum-prometheus and tower-http-cache.

use std::fmt::Debug;
use std::process::ExitCode;
use std::sync::OnceLock;
use std::time::Duration;

use axum::body::Body;
use axum_prometheus::PrometheusMetricLayer;
use axum_prometheus::metrics_exporter_prometheus::PrometheusHandle;
use http::{Request, Response, StatusCode};
use tower::{Layer, Service, ServiceBuilder};
use tower_edge::Edge;
use tower_edge::cache::CacheLayer;
use tower_edge::core::Optional;
use tower_edge::metrics::LatencyLayer;
use tower_edge_benches::{Bench, Reply, Requests, Scenario, Upstream};
use tower_http_cache::prelude::{CacheLayer as TowerHttpCacheLayer, InMemoryBackend};

fn main() -> ExitCode {
    let mut bench = Bench::new("overhead");
    let (get, post) = (Requests::get(URI), Requests::post(URI));
    let upstream = || Upstream::new(KIB);
    let called = Reply::new(StatusCode::OK, KIB);

    let measured = Scenario::new("latency", get.clone(), upstream());
    bench.calls(&measured, "bare", called, |upstream| upstream);
    bench.calls(&measured, "tower-edge", called, |upstream| latency().layer(upstream));
    bench.calls(&measured, "axum-prometheus", called, |upstream| axum_prometheus().layer(upstream));

    let hit = Scenario::new("stack_hit", get, upstream().field(("cache-control", "max-age=3600")));
    bench.calls(&hit, "bare", called, |upstream| upstream);
    bench.calls(&hit, "tower-edge", called.without_upstream(), |upstream| edge().layer(upstream));
    bench.calls(&hit, "peers", called.without_upstream(), peers);

    let through = Scenario::new("stack_through", post, upstream());
    bench.calls(&through, "bare", called, |upstream| upstream);
    bench.calls(&through, "tower-edge", called, |upstream| edge().layer(upstream));
    bench.calls(&through, "peers", called, peers);

    bench.clones("stack_clone", "bare", upstream);
    bench.clones("stack_clone", "tower-edge", move || edge().layer(upstream()));
    bench.clones("stack_clone", "peers", move || peers(upstream()));
    bench.run()
}

fn edge() -> Edge<Optional<LatencyLayer>, Optional<CacheLayer>> {
    Edge::new().latency(latency()).cache(CacheLayer::new(2 << 20))
}

fn latency() -> LatencyLayer {
    record();
    LatencyLayer::new()
}

fn peers(
    upstream: Upstream,
) -> impl Service<Request<Body>, Response = Response<impl http_body::Body<Error: Debug>>, Error: Debug>
+ Clone {
    let cache = TowerHttpCacheLayer::builder(InMemoryBackend::new(1_000)).ttl(HOUR).build();
    ServiceBuilder::new().layer(axum_prometheus()).layer(cache).service(upstream)
}

fn axum_prometheus() -> PrometheusMetricLayer<'static> {
    record();
    PrometheusMetricLayer::new()
}

/// Puts the recorder of axum-prometheus behind the `metrics` facade, so that
/// whoever records does so for real, and keeps it from growing.
fn record() {
    static RECORDER: OnceLock<PrometheusHandle> = OnceLock::new();
    let recorder = RECORDER.get_or_init(|| PrometheusMetricLayer::pair().1);
    tokio::spawn(async move {
        loop {
            tokio::time::sleep(Duration::from_secs(1)).await;
            recorder.run_upkeep();
        }
    });
}

const URI: &str = "http://bench.test/";
const KIB: usize = 1_024;
const HOUR: Duration = Duration::from_secs(3_600);
