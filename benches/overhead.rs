//! What the layers cost on the way of a request.
//!
//! - `latency`: the latency layer, with a recorder for Prometheus: each
//!   implementation with the one that it ships with, and axum-otel-metrics with
//!   OpenTelemetry's SDK;
//! - `rate_limit_*`: the rate limit, as its module says;
//! - `stack_hit`: all layers, answered from the cache;
//! - `stack_through`: all layers, a POST, which no cache answers;
//! - `stack_clone`: a clone of all layers, not dropped;
//! - `breaker_*`: circuit breakers, as their module says.
//!
//! `peers` is a stack of axum-prometheus and tower-http-cache.

mod breaker;
mod rate_limit;

use std::fmt::Debug;
use std::process::ExitCode;
use std::sync::OnceLock;
use std::time::Duration;

use axum::body::Body;
use axum_otel_metrics::{HttpMetricsLayer, HttpMetricsLayerBuilder};
use axum_prometheus::PrometheusMetricLayer;
use axum_prometheus::metrics::with_local_recorder;
use axum_prometheus::metrics_exporter_prometheus::PrometheusHandle;
use http::{Request, Response, StatusCode};
use opentelemetry_sdk::error::OTelSdkResult;
use opentelemetry_sdk::metrics::data::ResourceMetrics;
use opentelemetry_sdk::metrics::exporter::PushMetricExporter;
use opentelemetry_sdk::metrics::{PeriodicReader, SdkMeterProvider, Temporality};
use tower::layer::util::Identity;
use tower::{Layer, Service, ServiceBuilder};
use tower_edge::Edge;
use tower_edge::cache::CacheLayer;
use tower_edge::core::Optional;
use tower_edge::metrics::{LatencyLayer, PrometheusRecorder};
use tower_edge_benches::{Bench, Reply, Requests, Scenario, Upstream};
use tower_http_cache::prelude::{CacheLayer as TowerHttpCacheLayer, InMemoryBackend};

fn main() -> ExitCode {
    let mut bench = Bench::new("overhead");
    let (get, post) = (Requests::get(URI), Requests::post(URI));
    let upstream = || Upstream::new(KIB);
    let called = Reply::new(StatusCode::OK, KIB);

    let measured = Scenario::new("latency", get.clone(), upstream());
    bench.calls(&measured, "bare", called, |upstream| upstream);
    let layer = |upstream| LatencyLayer::new().layer(upstream);
    bench.calls_within(&measured, "tower-edge", called, recorded(), layer);
    bench.calls(&measured, "axum-prometheus", called, |upstream| axum_prometheus().layer(upstream));
    bench.calls(&measured, "axum-otel-metrics", called, |upstream| otel().layer(upstream));

    rate_limit::add(&mut bench);

    let hit = Scenario::new("stack_hit", get, upstream().field(("cache-control", "max-age=3600")));
    bench.calls(&hit, "bare", called, |upstream| upstream);
    let stack = |upstream| edge().layer(upstream);
    let stored = called.without_upstream();
    bench.calls_within(&hit, "tower-edge", stored, recorded(), stack);
    bench.calls(&hit, "peers", stored, peers);

    let through = Scenario::new("stack_through", post, upstream());
    bench.calls(&through, "bare", called, |upstream| upstream);
    bench.calls_within(&through, "tower-edge", called, recorded(), stack);
    bench.calls(&through, "peers", called, peers);

    bench.clones("stack_clone", "bare", upstream);
    bench.clones("stack_clone", "tower-edge", move || edge().layer(upstream()));
    bench.clones("stack_clone", "peers", move || peers(upstream()));
    breaker::add(&mut bench, &Requests::get(URI), called, upstream());
    bench.run()
}

fn edge() -> Edge<Optional<LatencyLayer>, Identity, Optional<CacheLayer>> {
    Edge::new().latency(LatencyLayer::new()).cache(CacheLayer::new(2 << 20))
}

/// Puts our own recorder behind the `metrics` facade while our layers run.
fn recorded() -> impl Fn(&mut dyn FnMut()) + Clone {
    let recorder = PrometheusRecorder::new();
    move |work| with_local_recorder(&recorder, work)
}

fn peers(
    upstream: Upstream,
) -> impl Service<Request<Body>, Response = Response<impl http_body::Body<Error: Debug>>, Error: Debug>
+ Clone {
    let cache = TowerHttpCacheLayer::builder(InMemoryBackend::new(1_000)).ttl(HOUR).build();
    ServiceBuilder::new().layer(axum_prometheus()).layer(cache).service(upstream)
}

/// With its recorder behind the `metrics` facade of the whole process, kept from
/// growing.
fn axum_prometheus() -> PrometheusMetricLayer<'static> {
    static RECORDER: OnceLock<PrometheusHandle> = OnceLock::new();
    let recorder = RECORDER.get_or_init(|| PrometheusMetricLayer::pair().1);
    tokio::spawn(async move {
        loop {
            tokio::time::sleep(Duration::from_secs(1)).await;
            recorder.run_upkeep();
        }
    });
    PrometheusMetricLayer::new()
}

/// With a provider that reads the instruments each minute, as one does that
/// exports by OTLP, and sends nothing.
fn otel() -> HttpMetricsLayer {
    static PROVIDER: OnceLock<SdkMeterProvider> = OnceLock::new();
    let provider = PROVIDER.get_or_init(|| {
        let reader = PeriodicReader::builder(Nowhere).build();
        SdkMeterProvider::builder().with_reader(reader).build()
    });
    HttpMetricsLayerBuilder::new().with_provider(provider.clone()).build()
}

struct Nowhere;

impl PushMetricExporter for Nowhere {
    async fn export(&self, _: &ResourceMetrics) -> OTelSdkResult {
        Ok(())
    }

    fn force_flush(&self) -> OTelSdkResult {
        Ok(())
    }

    fn shutdown_with_timeout(&self, _: Duration) -> OTelSdkResult {
        Ok(())
    }

    fn temporality(&self) -> Temporality {
        Temporality::Cumulative
    }
}

const URI: &str = "http://bench.test/";
const KIB: usize = 1_024;
const HOUR: Duration = Duration::from_secs(3_600);
