//! What goes to the `metrics` facade: the one place where its names stand.

use std::borrow::Cow;
use std::sync::OnceLock;
use std::time::Duration;

use http::StatusCode;
use metrics::{Counter, Gauge, Histogram, Label, Unit};
use tower_edge_core::{Outcome, Reason, Route};

use crate::Refusals;
use crate::labels::{Labels, Protocol};
use crate::series::Ended;

/// A handle of the facade, registered when it is first needed and a recorder is
/// there: what is registered before that would go nowhere for ever.
#[derive(Debug)]
pub(crate) struct Lazy<T>(OnceLock<T>);

impl<T> Default for Lazy<T> {
    fn default() -> Self {
        Self(OnceLock::new())
    }
}

impl<T> Lazy<T> {
    pub(crate) fn get(&self, register: impl FnOnce() -> T) -> Option<&T> {
        match self.0.get() {
            Some(handle) => Some(handle),
            // The facade's own recorder, in place of none, is the one without size.
            None => metrics::with_recorder(|recorder| size_of_val(recorder) > 0)
                .then(|| self.0.get_or_init(register)),
        }
    }
}

/// The facade's handles of one series.
#[derive(Debug, Default)]
pub(crate) struct Meter {
    by_end: [Lazy<Handles>; End::COUNT],
}

impl Meter {
    /// Records the end of a request of the series with these labels.
    pub(crate) fn end(&self, labels: Option<&Labels>, ended: &Ended) {
        let end = End::of(ended);
        let lazy = &self.by_end[end.index()];
        let Some(handles) = lazy.get(|| Handles::new(labels, end)) else { return };
        handles.duration.record(ended.elapsed);
        if let Some(bytes) = ended.request_bytes {
            handles.request_size.record(bytes as f64);
        }
        if let Some(size) = &handles.response_size {
            size.record(ended.response_bytes as f64);
        }
    }
}

/// How many requests are in flight, by method and scheme, as gauges.
#[derive(Debug, Default)]
pub(crate) struct ActiveRequests([Lazy<Gauge>; Protocol::COUNT]);

impl ActiveRequests {
    pub(crate) fn gauge(&self, protocol: Protocol) -> Option<&Gauge> {
        self.0[protocol.index()].get(|| {
            let about = "Number of active HTTP server requests.";
            metrics::describe_gauge!(ACTIVE_REQUESTS, Unit::Count, about);
            metrics::gauge!(ACTIVE_REQUESTS, protocol_labels(protocol).to_vec())
        })
    }
}

/// A stage's histogram at the facade.
#[derive(Debug, Default)]
pub(crate) struct StageMeter(Lazy<Histogram>);

impl StageMeter {
    pub(crate) fn record(&self, name: &'static str, elapsed: Duration) {
        let register = || {
            let about = "Duration of stages of HTTP server requests.";
            metrics::describe_histogram!(STAGE_DURATION, Unit::Seconds, about);
            metrics::histogram!(STAGE_DURATION, "stage" => name)
        };
        if let Some(histogram) = self.0.get(register) {
            histogram.record(elapsed);
        }
    }
}

/// Registers one of our own counters.
pub(crate) fn counter(
    name: &'static str,
    unit: Unit,
    about: &'static str,
    label: Option<(&'static str, &'static str)>,
) -> Counter {
    metrics::describe_counter!(name, unit, about);
    let labels = label.map(|(key, value)| Label::from_static_parts(key, value));
    metrics::counter!(name, labels.into_iter().collect::<Vec<_>>())
}

/// The name of a reason in labels.
pub(crate) fn reason(reason: Reason) -> &'static str {
    match reason {
        Reason::RateLimited => "rate_limited",
        Reason::Overloaded => "overloaded",
        Reason::CircuitOpen => "circuit_open",
        Reason::DeadlineExceeded => "deadline_exceeded",
        _ => "_OTHER",
    }
}

#[derive(Debug)]
struct Handles {
    duration: Histogram,
    request_size: Histogram,
    /// None where there is no response.
    response_size: Option<Histogram>,
}

impl Handles {
    fn new(labels: Option<&Labels>, end: End) -> Self {
        describe();
        let answered = labels.is_none_or(|labels| labels.status.is_some());
        let duration = match labels {
            Some(Labels { long_lived: true, .. }) => LONG_LIVED_DURATION,
            _ => DURATION,
        };
        let labels = match labels {
            Some(labels) => series_labels(labels, end),
            None => vec![Label::from_static_parts("otel.metric.overflow", "true")],
        };
        Self {
            response_size: answered.then(|| metrics::histogram!(RESPONSE_SIZE, labels.clone())),
            request_size: metrics::histogram!(REQUEST_SIZE, labels.clone()),
            duration: metrics::histogram!(duration, labels),
        }
    }
}

/// What `error.type` tells apart.
#[derive(Clone, Copy)]
enum End {
    Well,
    Failed,
    Abandoned,
    Refused(Reason),
}

impl End {
    const COUNT: usize = 3 + Refusals::KINDS;

    fn of(ended: &Ended) -> Self {
        match (ended.outcome, ended.detail.refused) {
            (_, Some(reason)) => Self::Refused(reason),
            (Outcome::Failure, _) => Self::Failed,
            (Outcome::Abandoned { .. }, _) => Self::Abandoned,
            _ => Self::Well,
        }
    }

    fn index(self) -> usize {
        match self {
            Self::Well => 0,
            Self::Failed => 1,
            Self::Abandoned => 2,
            Self::Refused(reason) => 3 + Refusals::kind(reason),
        }
    }
}

fn series_labels(labels: &Labels, end: End) -> Vec<Label> {
    let mut all = protocol_labels(labels.protocol).to_vec();
    if let Some(status) = labels.status {
        all.push(Label::new("http.response.status_code", status.as_str().to_owned()));
    }
    if let Some(route) = &labels.route {
        all.push(Label::new("http.route", Route::as_str(route).to_owned()));
    }
    if let Some(error) = error_type(labels.status, end) {
        all.push(Label::new("error.type", error));
    }
    all
}

/// Why we refused; else the status where it is an error of the server; else what
/// became of the request, with the convention's `_OTHER` for failures that have
/// no name.
fn error_type(status: Option<StatusCode>, end: End) -> Option<Cow<'static, str>> {
    match (status, end) {
        (_, End::Refused(why)) => Some(reason(why).into()),
        (Some(status), _) if status.is_server_error() => Some(status.as_str().to_owned().into()),
        (_, End::Well) => None,
        (_, End::Failed) => Some("_OTHER".into()),
        (_, End::Abandoned) => Some("abandoned".into()),
    }
}

fn protocol_labels(protocol: Protocol) -> [Label; 2] {
    [
        Label::from_static_parts("http.request.method", protocol.method_name()),
        Label::from_static_parts("url.scheme", protocol.scheme()),
    ]
}

fn describe() {
    for (name, unit, about) in [
        (DURATION, Unit::Seconds, "Duration of HTTP server requests."),
        (LONG_LIVED_DURATION, Unit::Seconds, "Duration of upgrades, tunnels and event streams."),
        (REQUEST_SIZE, Unit::Bytes, "Size of HTTP server request bodies, as announced."),
        (RESPONSE_SIZE, Unit::Bytes, "Size of HTTP server response bodies, as sent."),
    ] {
        metrics::describe_histogram!(name, unit, about);
    }
}

const DURATION: &str = "http.server.request.duration";
const REQUEST_SIZE: &str = "http.server.request.body.size";
const RESPONSE_SIZE: &str = "http.server.response.body.size";
const ACTIVE_REQUESTS: &str = "http.server.active_requests";
const LONG_LIVED_DURATION: &str = "tower_edge.long_lived.duration";
const STAGE_DURATION: &str = "tower_edge.stage.duration";
