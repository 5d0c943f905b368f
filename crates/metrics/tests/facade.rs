//! What reaches a recorder of the `metrics` facade.

use std::collections::{BTreeMap, BTreeSet};
use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Waker};
use std::time::{Duration, SystemTime};

use http::{Request, Response};
use metrics::{Counter, Gauge, Key, KeyName, Metadata, Recorder, SharedString, Unit};
use metrics_util::debugging::{DebugValue, DebuggingRecorder, Snapshotter};
use tokio::time::advance;
use tower::{Layer, ServiceExt};
use tower_edge_core::{Clock, Route};
use tower_edge_metrics::{LatencyLayer, LatencyService};
use tower_edge_testkit::{Answer, MockBody, MockBodyError, Received, Upstream, UpstreamError};

#[tokio::test(start_paused = true)]
async fn every_row_of_the_table_is_recorded_as_it_says() {
    let recorder = DebuggingRecorder::new();
    let _installed = metrics::set_default_local_recorder(&recorder);
    serve_all_kinds().await;
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
    let (ok, broken, failed, left) = (
        " http.response.status_code=200 http.route=/{id}",
        " http.response.status_code=200 error.type=_OTHER",
        " http.response.status_code=500 error.type=500",
        " http.response.status_code=200 error.type=abandoned",
    );
    let expected = [
        (format!("http.server.active_requests {common}"), vec![0.0]),
        duration(" error.type=_OTHER", 0.0),
        duration(" error.type=abandoned", 0.02),
        duration(broken, 0.0),
        duration(left, 0.02),
        duration(ok, 0.0),
        duration(failed, 0.0),
        size(broken, 2.0),
        size(left, 2.0),
        size(ok, 3.0),
        size(failed, 0.0),
    ];
    let expected: BTreeMap<_, _> = expected.into_iter().collect();
    for (key, values) in &seen {
        assert_eq!(expected.get(key), Some(values), "{key}");
    }
    assert_eq!(seen.len(), expected.len());
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
            assert_eq!(registered, 3);
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
    assert_eq!(seen.len(), 1 + 2 * 21);
}

/// One request of each kind that has labels of its own.
async fn serve_all_kinds() {
    let service = service();
    let mut routed = get("/ok");
    routed.extensions_mut().insert(Route::from_static("/{id}"));
    finish(service.clone().oneshot(routed)).await;
    for path in ["/500", "/broken", "/error"] {
        finish(service.clone().oneshot(get(path))).await;
    }
    for path in ["/never", "/stalls"] {
        let mut call = Box::pin(finish(service.clone().oneshot(get(path))));
        let mut context = Context::from_waker(Waker::noop());
        assert!(call.as_mut().poll(&mut context).is_pending());
        advance(Duration::from_millis(20)).await;
    }
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
            labels: labels.map(|label| label.trim_matches('`').to_owned()).collect(),
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
