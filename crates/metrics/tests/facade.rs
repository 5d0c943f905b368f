//! What reaches a recorder of the `metrics` facade.

use std::collections::{BTreeMap, BTreeSet};
use std::future::Future;
use std::io::Write;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Waker};
use std::time::{Duration, SystemTime};

use http::{Request, Response};
use metrics::{Counter, Gauge, Key, KeyName, Metadata, Recorder, SharedString, Unit};
use metrics_util::debugging::{DebugValue, DebuggingRecorder, Snapshotter};
use metrics_util::layers::FanoutBuilder;
use tokio::time::advance;
use tower::{Layer, ServiceExt};
use tower_edge_core::{Clock, Event, Observe, Reason, Refusal, Route};
use tower_edge_metrics::{
    EventCounters, LatencyLayer, LatencyService, PrometheusRecorder, record_process,
};
use tower_edge_testkit::{Answer, MockBody, MockBodyError, Received, Upstream, UpstreamError};

#[tokio::test(start_paused = true)]
async fn every_row_of_the_table_is_recorded_as_it_says() {
    let recorder = DebuggingRecorder::new();
    let _installed = metrics::set_default_local_recorder(&recorder);
    serve_all_kinds().await;
    record_process();
    let mut seen: BTreeMap<_, Row> = BTreeMap::new();
    for (key, unit, description, _) in recorder.snapshotter().snapshot().into_vec() {
        let (kind, key) = key.into_parts();
        assert!(description.is_some(), "{key}");
        let row = seen.entry(key.name().to_owned()).or_default();
        row.kind = format!("{kind:?}").to_lowercase();
        row.unit = unit.map_or("", |unit| unit.as_str()).to_owned();
        row.labels.extend(key.labels().map(|label| label.key().to_owned()));
    }
    assert_eq!(seen, table());
}

#[tokio::test(start_paused = true)]
async fn promtool_accepts_a_scrape_with_every_row_of_the_table() {
    let recorder = PrometheusRecorder::new();
    let _installed = metrics::set_default_local_recorder(&recorder);
    serve_all_kinds().await;
    let scrape = recorder.handle().render();
    for (name, row) in table() {
        let unit = if row.unit == "count" { String::new() } else { format!("_{}", row.unit) };
        let suffix = if row.kind == "counter" { "_total" } else { "" };
        let line = format!("# TYPE {}{unit}{suffix} {}\n", name.replace('.', "_"), row.kind);
        assert!(scrape.contains(&line), "{line} is not in\n{scrape}");
    }
    let mut promtool = Command::new("promtool")
        .args(["check", "metrics"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("promtool is installed: Debian's package prometheus has it");
    promtool.stdin.take().unwrap().write_all(scrape.as_bytes()).unwrap();
    let checked = promtool.wait_with_output().unwrap();
    let said = String::from_utf8_lossy(&checked.stderr);
    assert!(checked.status.success() && said.is_empty(), "{said}");
}

#[tokio::test(start_paused = true)]
async fn a_scrape_does_not_grow_with_requests_or_random_paths() {
    let recorder = PrometheusRecorder::new();
    let _installed = metrics::set_default_local_recorder(&recorder);
    let service = service();
    let mut length = 0;
    for i in 0..10_000 {
        finish(service.clone().oneshot(get(&format!("/path{i}")))).await;
        if i == 0 {
            length = recorder.handle().render().lines().count();
        }
    }
    let scrape = recorder.handle().render();
    assert_eq!(scrape.lines().count(), length);
    let count = "http_server_request_duration_seconds_count{http_request_method=\"GET\",\
                 http_response_status_code=\"200\",url_scheme=\"http\"} 10000\n";
    assert!(scrape.contains(count), "{scrape}");
}

#[tokio::test(start_paused = true)]
async fn requests_in_flight_are_scraped_and_a_reset_takes_nothing_away() {
    let recorder = PrometheusRecorder::new();
    let _installed = metrics::set_default_local_recorder(&recorder);
    let layer = LatencyLayer::new();
    let handle = layer.handle();
    let service = layer.layer(upstream());
    let mut held = Box::pin(service.clone().oneshot(get("/never")));
    assert!(held.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_pending());
    finish(service.clone().oneshot(get("/ok"))).await;
    let labels = "http_request_method=\"GET\"";
    let scraped = |line: &str| {
        let scrape = recorder.handle().render();
        assert!(scrape.lines().any(|given| given == line), "{line} is not in\n{scrape}");
    };
    let active = |n| format!("http_server_active_requests{{{labels},url_scheme=\"http\"}} {n}");
    let ok = format!("{labels},http_response_status_code=\"200\",url_scheme=\"http\"");
    let count = |n| format!("http_server_request_duration_seconds_count{{{ok}}} {n}");
    scraped(&active(1));
    scraped(&count(1));
    handle.reset();
    drop(held);
    scraped(&active(0));
    scraped(&count(1));
    finish(service.oneshot(get("/ok"))).await;
    scraped(&count(2));
    assert_eq!(handle.snapshot().merged().outcomes.success, 1);
}

#[tokio::test(start_paused = true)]
async fn a_recorder_beside_ours_is_told_each_value() {
    let (ours, other) = (PrometheusRecorder::new(), DebuggingRecorder::new());
    let (scrape, snapshotter) = (ours.handle(), other.snapshotter());
    let both = FanoutBuilder::default().add_recorder(ours).add_recorder(other).build();
    let _installed = metrics::set_default_local_recorder(&both);
    let service = service();
    for _ in 0..3 {
        finish(service.clone().oneshot(get("/ok"))).await;
    }
    let labels = "http.request.method=GET url.scheme=http http.response.status_code=200";
    let seen = values(&snapshotter);
    assert_eq!(seen[&format!("http.server.request.duration {labels}")], [0.0; 3]);
    let labels =
        "http_request_method=\"GET\",http_response_status_code=\"200\",url_scheme=\"http\"";
    let line = format!("http_server_request_duration_seconds_count{{{labels}}} 3\n");
    assert!(scrape.render().contains(&line));
}

#[tokio::test(start_paused = true)]
async fn layers_that_share_a_recorder_are_scraped_as_one() {
    let recorder = PrometheusRecorder::new();
    let _installed = metrics::set_default_local_recorder(&recorder);
    for requests in [2, 3] {
        let service = service();
        for _ in 0..requests {
            finish(service.clone().oneshot(get("/ok"))).await;
        }
        // What a layer counted is not lost with it.
    }
    let labels =
        "http_request_method=\"GET\",http_response_status_code=\"200\",url_scheme=\"http\"";
    let scrape = recorder.handle().render();
    for (name, value) in
        [("response_body_size_bytes_sum", 15), ("request_duration_seconds_count", 5)]
    {
        let line = format!("http_server_{name}{{{labels}}} {value}\n");
        assert!(scrape.contains(&line), "{line} is not in\n{scrape}");
    }
}

#[tokio::test(start_paused = true)]
async fn labels_and_values_are_those_of_the_conventions() {
    let recorder = DebuggingRecorder::new();
    let _installed = metrics::set_default_local_recorder(&recorder);
    serve_all_kinds().await;
    let seen = values(&recorder.snapshotter());
    let common = "http.request.method=GET url.scheme=http";
    let duration = |labels: &str, seconds: f64| {
        (format!("http.server.request.duration {common}{labels}"), vec![seconds])
    };
    let size = |labels: &str, bytes: f64| {
        (format!("http.server.response.body.size {common}{labels}"), vec![bytes])
    };
    let (ok, refused, broken, failed, left) = (
        " http.response.status_code=200 http.route=/{id}",
        " http.response.status_code=503 error.type=overloaded",
        " http.response.status_code=200 error.type=_OTHER",
        " http.response.status_code=500 error.type=500",
        " http.response.status_code=200 error.type=abandoned",
    );
    let expected = [
        (format!("http.server.active_requests {common}"), vec![0.0]),
        (format!("tower_edge.long_lived.duration {common}{ok}"), vec![0.0]),
        (format!("tower_edge.long_lived.duration {common}{broken}"), vec![0.0]),
        ("tower_edge.stage.duration stage=query".to_owned(), vec![0.02]),
        ("tower_edge.refusals reason=overloaded".to_owned(), vec![1.0]),
        ("tower_edge.limit.shadow_refusals".to_owned(), vec![1.0]),
        ("tower_edge.limit.waits".to_owned(), vec![1.0]),
        ("tower_edge.limit.evictions".to_owned(), vec![1.0]),
        ("tower_edge.limit.store.failures".to_owned(), vec![1.0]),
        ("tower_edge.limit.unknown choice=local".to_owned(), vec![1.0]),
        ("tower_edge.breaker.transitions to=half_open".to_owned(), vec![1.0]),
        ("tower_edge.breaker.transitions to=open".to_owned(), vec![2.0]),
        ("tower_edge.compress.responses coding=br".to_owned(), vec![1.0]),
        ("tower_edge.compress.responses coding=gzip".to_owned(), vec![1.0]),
        ("tower_edge.compress.plain.size".to_owned(), vec![1_500.0]),
        ("tower_edge.compress.encoded.size".to_owned(), vec![500.0]),
        ("tower_edge.cache.lookups found=hit".to_owned(), vec![1.0]),
        ("tower_edge.cache.lookups found=miss".to_owned(), vec![2.0]),
        ("tower_edge.cache.stores".to_owned(), vec![1.0]),
        ("tower_edge.cache.stored.size".to_owned(), vec![700.0]),
        ("tower_edge.cache.not_stored why=too large".to_owned(), vec![1.0]),
        ("tower_edge.cache.invalidations".to_owned(), vec![1.0]),
        ("tower_edge.cache.purges_collapsed".to_owned(), vec![1.0]),
        ("tower_edge.cache.tier.failures doing=get".to_owned(), vec![1.0]),
        ("tower_edge.series.overflows".to_owned(), vec![1.0]),
        duration(refused, 0.0),
        size(refused, 0.0),
        duration(" error.type=_OTHER", 0.0),
        duration(" error.type=abandoned", 0.02),
        duration(broken, 0.0),
        duration(left, 0.02),
        duration(ok, 0.0),
        duration(failed, 0.0),
        (size(broken, 0.0).0, vec![2.0, 2.0]),
        size(left, 2.0),
        (size(ok, 0.0).0, vec![3.0, 2.0]),
        size(failed, 0.0),
    ];
    let expected: BTreeMap<_, _> = expected.into_iter().collect();
    let mut sizes = 0;
    for (key, values) in &seen {
        // Only one of the requests said how long it is.
        if key.starts_with("http.server.request.body.size") {
            sizes += 1;
            let known = key.ends_with(&ok[1..]);
            assert_eq!(values, if known { &[4.0][..] } else { &[] }, "{key}");
        } else {
            assert_eq!(expected.get(key), Some(values), "{key}");
        }
    }
    assert_eq!(seen.len() - sizes, expected.len());
}

#[tokio::test(start_paused = true)]
async fn handles_are_registered_once() {
    let recorder = Registrations::default();
    let _installed = metrics::set_default_local_recorder(&recorder);
    let service = service();
    let mut registered = 0;
    for i in 0..100 {
        finish(service.clone().oneshot(get("/ok"))).await;
        if i == 0 {
            registered = recorder.0.load(Ordering::Relaxed);
            assert_eq!(registered, 4);
        }
    }
    assert_eq!(recorder.0.load(Ordering::Relaxed), registered);
}

#[tokio::test(start_paused = true)]
async fn ten_thousand_routes_stay_at_the_limit() {
    let recorder = DebuggingRecorder::new();
    let _installed = metrics::set_default_local_recorder(&recorder);
    let service = LatencyLayer::with_max_series(20).layer(upstream());
    for i in 0..10_000 {
        let route = Route::from(Arc::from(format!("/{i}")));
        let request = Request::get("/").extension(route).body(MockBody::new()).unwrap();
        finish(service.clone().oneshot(request)).await;
    }
    let seen = values(&recorder.snapshotter());
    let overflow = &seen["http.server.request.duration otel.metric.overflow=true"];
    assert_eq!(overflow.len(), 9_980);
    assert_eq!(seen.len(), 1 + 3 * 21);
}

/// One request of each kind that has labels of its own.
async fn serve_all_kinds() {
    let service = service();
    for path in ["/ok", "/events"] {
        let body = MockBody::new().data("1234");
        let body = if path == "/ok" { body.sized() } else { body };
        let mut routed = Request::get(path).body(body).expect("a request");
        routed.extensions_mut().insert(Route::from_static("/{id}"));
        finish(service.clone().oneshot(routed)).await;
    }
    for path in ["/500", "/broken", "/broken-events", "/error", "/refused"] {
        finish(service.clone().oneshot(get(path))).await;
    }
    for path in ["/never", "/stalls"] {
        let mut call = Box::pin(finish(service.clone().oneshot(get(path))));
        let mut context = Context::from_waker(Waker::noop());
        assert!(call.as_mut().poll(&mut context).is_pending());
        advance(Duration::from_millis(20)).await;
    }
    let clock = Clock::anchored(SystemTime::UNIX_EPOCH);
    let stage = LatencyLayer::new().clock(clock).handle().stage("query");
    advance(Duration::from_millis(20)).await;
    drop(stage);
    let (counters, refusal) = (EventCounters::new(), Refusal::new(Reason::Overloaded));
    for event in [
        Event::Refused { refusal: &refusal, key: None },
        Event::WouldRefuse { refusal: &refusal, key: None },
        Event::Waited { time: Duration::from_millis(3) },
        Event::KeyEvicted,
        Event::QuotaStoreFailed,
        Event::QuotaUnknown { choice: "local" },
        Event::CircuitChanged { key: None, from: "closed", to: "open" },
        Event::CircuitChanged { key: None, from: "open", to: "half_open" },
        Event::CircuitChanged { key: None, from: "half_open", to: "open" },
        Event::CacheLookup { found: "miss" },
        Event::CacheLookup { found: "hit" },
        Event::CacheLookup { found: "miss" },
        Event::Encoded { coding: "gzip", plain: 1_000, encoded: 300 },
        Event::Encoded { coding: "br", plain: 500, encoded: 200 },
        Event::CacheStored { bytes: 700 },
        Event::CacheNotStored { why: "too large" },
        Event::CacheInvalidated,
        Event::CachePurgesCollapsed { limit: 3 },
        Event::CacheTierFailed { tier: "redis", doing: "get" },
        Event::SeriesLimitReached { limit: 3 },
    ] {
        counters.event(&event);
    }
}

#[tokio::test(start_paused = true)]
async fn a_recorder_that_comes_late_gets_all_that_comes_after_it() {
    let service = service();
    let counters = EventCounters::new();
    let mut held = Box::pin(finish(service.clone().oneshot(get("/never"))));
    assert!(held.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_pending());
    finish(service.clone().oneshot(get("/ok"))).await;
    counters.event(&Event::CacheInvalidated);
    let recorder = DebuggingRecorder::new();
    let _installed = metrics::set_default_local_recorder(&recorder);
    finish(service.clone().oneshot(get("/ok"))).await;
    counters.event(&Event::CacheInvalidated);
    drop(held);
    let seen = values(&recorder.snapshotter());
    let labels = "http.request.method=GET url.scheme=http";
    let ok = format!("http.server.request.duration {labels} http.response.status_code=200");
    assert_eq!(seen[&ok], [0.0]);
    assert_eq!(seen["tower_edge.cache.invalidations"], [1.0]);
    // What began before is not taken from the gauge when it ends.
    assert_eq!(seen[&format!("http.server.active_requests {labels}")], [0.0]);
}

fn service() -> LatencyService<Upstream> {
    LatencyLayer::new().clock(Clock::anchored(SystemTime::UNIX_EPOCH)).layer(upstream())
}

fn upstream() -> Upstream {
    let (upstream, _) = Upstream::new(|_, head| match head.uri().path() {
        "/500" => {
            let mut response = Response::new(MockBody::new());
            *response.status_mut() = http::StatusCode::INTERNAL_SERVER_ERROR;
            response.into()
        }
        "/refused" => {
            let mut response = Response::new(MockBody::new());
            *response.status_mut() = http::StatusCode::SERVICE_UNAVAILABLE;
            response.extensions_mut().insert(Refusal::new(Reason::Overloaded));
            response.into()
        }
        path @ ("/events" | "/broken-events") => {
            let body = MockBody::new().data("ab");
            let mut response = Response::new(if path == "/events" { body } else { body.fail() });
            let media_type = "text/event-stream".parse().expect("a value");
            response.headers_mut().insert("content-type", media_type);
            response.into()
        }
        "/broken" => Answer::ok(MockBody::new().data("ab").fail()),
        "/error" => Answer::error(UpstreamError::new("refused")),
        "/never" => Answer::never(),
        "/stalls" => Answer::ok(MockBody::new().data("ab").never()),
        _ => Answer::ok(MockBody::new().data("abc")),
    });
    upstream
}

fn get(path: &str) -> Request<MockBody> {
    Request::get(path).body(MockBody::new()).expect("a request")
}

/// Waits for the response and reads it to its end.
async fn finish<F, B>(call: F)
where
    F: Future<Output = Result<Response<B>, UpstreamError>>,
    B: http_body::Body<Error = MockBodyError>,
{
    if let Ok(response) = call.await {
        Received::from(response.into_body()).await;
    }
}

/// What was recorded, by name and labels.
fn values(snapshotter: &Snapshotter) -> BTreeMap<String, Vec<f64>> {
    let snapshot = snapshotter.snapshot().into_vec().into_iter();
    snapshot
        .map(|(key, _, _, value)| {
            let key = key.key();
            let labels = key.labels().map(|label| format!(" {}={}", label.key(), label.value()));
            let values = match value {
                DebugValue::Gauge(value) => vec![value.into_inner()],
                DebugValue::Histogram(values) => {
                    values.into_iter().map(|value| value.into_inner()).collect()
                }
                DebugValue::Counter(count) => vec![count as f64],
            };
            (format!("{}{}", key.name(), labels.collect::<String>()), values)
        })
        .collect()
}

#[derive(Debug, Default, PartialEq)]
struct Row {
    kind: String,
    unit: String,
    labels: BTreeSet<String>,
}

/// The table at the top of the crate's documentation.
fn table() -> BTreeMap<String, Row> {
    let lines = include_str!("../src/lib.rs").lines();
    let rows = lines.filter_map(|line| line.strip_prefix("//! | `"));
    rows.map(|row| {
        let cells: Vec<_> = row.split(" | ").collect();
        let [name, kind, unit, labels] = cells[..] else { panic!("{row}") };
        let labels = labels.trim_end_matches(" |").split(", ");
        let row = Row {
            kind: kind.to_owned(),
            unit: unit.to_owned(),
            labels: labels
                .filter(|label| *label != "none")
                .map(|label| label.trim_matches('`').to_owned())
                .collect(),
        };
        (name.trim_end_matches('`').to_owned(), row)
    })
    .collect()
}

/// Counts how often a handle is asked for.
#[derive(Default)]
struct Registrations(AtomicU64);

impl Recorder for Registrations {
    fn describe_counter(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}
    fn describe_gauge(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}
    fn describe_histogram(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}

    fn register_counter(&self, _: &Key, _: &Metadata<'_>) -> Counter {
        self.0.fetch_add(1, Ordering::Relaxed);
        Counter::noop()
    }

    fn register_gauge(&self, _: &Key, _: &Metadata<'_>) -> Gauge {
        self.0.fetch_add(1, Ordering::Relaxed);
        Gauge::noop()
    }

    fn register_histogram(&self, _: &Key, _: &Metadata<'_>) -> metrics::Histogram {
        self.0.fetch_add(1, Ordering::Relaxed);
        metrics::Histogram::noop()
    }
}
