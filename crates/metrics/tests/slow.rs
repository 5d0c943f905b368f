//! What is logged about slow requests, and how `tracing` spans go together with
//! the layer.
#![expect(clippy::unwrap_used, reason = "a test fails by a panic")]

use std::fmt::Debug;
use std::num::NonZeroU32;
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime};

use http::{Request, Response};
use tokio::time::advance;
use tower::{Layer, Service, ServiceBuilder, ServiceExt};
use tower_edge_core::{Clock, Route, Step, Trace};
use tower_edge_metrics::LatencyLayer;
use tower_edge_testkit::{Answer, MockBody, Upstream};
use tower_http::trace::TraceLayer;
use tracing::field::{Field, Visit};
use tracing_subscriber::layer::{Context, SubscriberExt};
use tracing_subscriber::registry::LookupSpan;

#[tokio::test(start_paused = true)]
async fn a_slow_request_is_logged_with_where_the_time_went() {
    let log = Log::default();
    let _guard = tracing::subscriber::set_default(tracing_subscriber::registry().with(log.clone()));
    let service = slow_by_path(LatencyLayer::new().log_slower_than(Duration::from_millis(50)));
    for millis in [50, 0, 70] {
        call(&service, millis).await;
    }
    let lines = log.lines();
    assert_eq!(
        lines,
        ["slow request method=\"GET\" route=\"/{millis}\" status=200 outcome=Success \
          first_byte_ms=70.0 total_ms=70.0 steps=\"origin;desc=\\\"slept\\\";dur=70\" left_out=0"]
    );
}

#[tokio::test(start_paused = true)]
async fn a_stream_of_events_is_never_slow() {
    let log = Log::default();
    let _guard = tracing::subscriber::set_default(tracing_subscriber::registry().with(log.clone()));
    for (media_type, lines) in [("text/event-stream", 0), ("text/plain", 1)] {
        let (upstream, _) = Upstream::new(move |_, _| {
            let response = Response::builder().header("content-type", media_type);
            response.body(MockBody::new().data("a").never()).unwrap().into()
        });
        let layer = LatencyLayer::new().log_slower_than(Duration::from_secs(1));
        let service = layer.clock(Clock::anchored(SystemTime::UNIX_EPOCH)).layer(upstream);
        let request = Request::get("/").body(MockBody::new()).unwrap();
        let response = service.oneshot(request).await.unwrap();
        advance(Duration::from_secs(60)).await;
        drop(response);
        assert_eq!(log.lines().len(), lines, "{media_type}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_multiple_of_the_usual_is_slow_once_the_usual_is_known() {
    let log = Log::default();
    let _guard = tracing::subscriber::set_default(tracing_subscriber::registry().with(log.clone()));
    let three = NonZeroU32::new(3).unwrap();
    let service = slow_by_path(LatencyLayer::new().log_slower_than_p99(three));
    for _ in 0..150 {
        call(&service, 10).await;
    }
    advance(Duration::from_secs(6)).await;
    for millis in [10, 25, 40] {
        call(&service, millis).await;
    }
    let lines = log.lines();
    assert_eq!(lines.len(), 1);
    assert!(lines[0].contains("total_ms=40.0"), "{lines:?}");
}

#[tokio::test(start_paused = true)]
async fn what_is_usual_is_what_was_usual_lately() {
    let log = Log::default();
    let _guard = tracing::subscriber::set_default(tracing_subscriber::registry().with(log.clone()));
    let service = slow_by_path(LatencyLayer::new().log_slower_than_p99(NonZeroU32::MIN));
    for (millis, pause) in [(100, 330), (10, 6)] {
        for _ in 0..150 {
            call(&service, millis).await;
        }
        advance(Duration::from_secs(pause)).await;
    }
    // Neither the first nor the second time of day has anything to say yet.
    assert_eq!(log.lines().len(), 0);
    call(&service, 10).await;
    call(&service, 40).await;
    assert_eq!(log.lines().len(), 1);
}

#[tokio::test(start_paused = true)]
async fn when_all_is_slow_the_log_stays_short() {
    let log = Log::default();
    let _guard = tracing::subscriber::set_default(tracing_subscriber::registry().with(log.clone()));
    let service = slow_by_path(LatencyLayer::new().log_slower_than(Duration::ZERO));
    for _ in 0..2_001 {
        call(&service, 1).await;
    }
    let lines = log.lines();
    assert_eq!(lines.len(), 21);
    assert!(lines[20].ends_with("left_out=99"), "{}", lines[20]);
}

#[tokio::test(start_paused = true)]
async fn spans_around_and_inside_are_kept_and_trace_context_passes() {
    let seen = Arc::new(Mutex::new(Vec::new()));
    for outside in [true, false] {
        let log = Log::default();
        let subscriber = tracing_subscriber::registry().with(log.clone());
        let _guard = tracing::subscriber::set_default(subscriber);
        let fields = seen.clone();
        let (upstream, _) = Upstream::new(move |_, head| {
            fields.lock().unwrap().push(head.headers()["traceparent"].clone());
            tracing::warn!("handled");
            Answer::ok(MockBody::new().data("ab"))
        });
        let latency = LatencyLayer::new().server_timing(true);
        let handle = latency.handle();
        let span = |_: &Request<_>| tracing::info_span!("request");
        let trace = TraceLayer::new_for_http().make_span_with(span);
        let request =
            Request::get("/").header("traceparent", PARENT).body(MockBody::new()).unwrap();
        match outside {
            true => {
                served(ServiceBuilder::new().layer(trace).layer(latency).service(upstream), request)
                    .await
            }
            false => {
                served(ServiceBuilder::new().layer(latency).layer(trace).service(upstream), request)
                    .await
            }
        }
        assert!(log.lines().contains(&"handled in request".to_owned()), "{:?}", log.lines());
        let all = handle.snapshot().merged();
        assert_eq!((all.outcomes.success, all.response_bytes, handle.in_flight()), (1, 2, 0));
    }
    assert_eq!(*seen.lock().unwrap(), [PARENT, PARENT]);
}

async fn served<S, B>(service: S, request: Request<MockBody>)
where
    S: Service<Request<MockBody>, Response = Response<B>, Error: Debug>,
    B: http_body::Body<Error: Debug>,
{
    let response = service.oneshot(request).await.unwrap();
    http_body_util::BodyExt::collect(response.into_body()).await.map(drop).unwrap();
}

/// Answers `/N` after N milliseconds.
fn slow_by_path(
    layer: LatencyLayer,
) -> impl Service<Request<MockBody>, Response: Debug, Error: Debug> + Clone {
    let layer = layer.clock(Clock::anchored(SystemTime::UNIX_EPOCH));
    layer.layer(tower::service_fn(async |request: Request<MockBody>| {
        let millis = Duration::from_millis(request.uri().path()[1..].parse().unwrap());
        advance(millis).await;
        Trace::with(|trace| trace.push(Step::new("origin", millis).note("slept")));
        Ok::<_, std::convert::Infallible>(Response::new(MockBody::new()))
    }))
}

async fn call<S>(service: &S, millis: u64)
where
    S: Service<Request<MockBody>, Response: Debug, Error: Debug> + Clone,
{
    let mut request = Request::get(format!("/{millis}")).body(MockBody::new()).unwrap();
    request.extensions_mut().insert(Route::from_static("/{millis}"));
    drop(service.clone().oneshot(request).await.unwrap());
}

/// Keeps the events as lines, with the span that they are in.
#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<String>>>);

impl Log {
    fn lines(&self) -> Vec<String> {
        self.0.lock().unwrap().clone()
    }
}

impl<S: tracing::Subscriber + for<'a> LookupSpan<'a>> tracing_subscriber::Layer<S> for Log {
    fn on_event(&self, event: &tracing::Event<'_>, context: Context<'_, S>) {
        if *event.metadata().level() != tracing::Level::WARN {
            return;
        }
        let mut line = Line::default();
        event.record(&mut line);
        let span = context.event_span(event).map(|span| format!(" in {}", span.name()));
        let line = format!("{}{}{}", line.message, line.fields, span.unwrap_or_default());
        self.0.lock().unwrap().push(line);
    }
}

#[derive(Default)]
struct Line {
    message: String,
    fields: String,
}

impl Visit for Line {
    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        match field.name() {
            "message" => self.message = format!("{value:?}"),
            name => self.fields += &format!(" {name}={value:?}"),
        }
    }
}

const PARENT: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
