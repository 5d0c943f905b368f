//! What goes to the `metrics` facade: the one place where its names stand.

use std::borrow::Cow;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use http::StatusCode;
use metrics::{Counter, Gauge, Histogram, Label, Unit};
use tower_edge_core::Reason;

use crate::ending::Ending;
use crate::labels::Protocol;
use crate::prometheus::{GaugeSource, Offer};
use crate::scrape::{Durations, RequestSizes, ResponseSizes};
use crate::series::{Ended, Series};
use crate::tally::Tally;

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

/// The facade's handles for the requests of one series that ended alike.
#[derive(Debug, Default)]
pub(crate) struct Meter(Lazy<Handles>);

impl Meter {
    /// Records the end of a request, which `tally` has counted.
    pub(crate) fn record(&self, series: &Series, ended: &Ended, tally: &Arc<Tally>) {
        let Some(handles) = self.0.get(|| Handles::new(series, ended.ending, tally)) else {
            return;
        };
        let sample = &ended.sample;
        handles.duration.record(Duration::from_nanos(sample.nanos));
        if let Some(bytes) = sample.request_bytes {
            handles.request_size.record(bytes as f64);
        }
        if let Some(bytes) = sample.response_bytes {
            handles.response_size.record(bytes as f64);
        }
    }
}

/// Registers the gauge of the requests in flight, which `source` knows as well.
pub(crate) fn active_requests(protocol: Protocol, source: Arc<dyn GaugeSource>) -> Gauge {
    let about = "Number of active HTTP server requests.";
    metrics::describe_gauge!(ACTIVE_REQUESTS, Unit::Count, about);
    let register = || metrics::gauge!(ACTIVE_REQUESTS, protocol_labels(protocol).to_vec());
    Offer::Gauge(source).while_registering(ACTIVE_REQUESTS, register)
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
    /// Goes nowhere if there are no responses.
    response_size: Histogram,
}

impl Handles {
    fn new(series: &Series, ending: Ending, tally: &Arc<Tally>) -> Self {
        describe();
        let labels = series_labels(series, ending);
        let duration = if series.is_long_lived() { LONG_LIVED_DURATION } else { DURATION };
        let answered = series.labels().is_none_or(|labels| labels.status.is_some());
        let response_size = || {
            let register = || metrics::histogram!(RESPONSE_SIZE, labels.clone());
            Offer::Histogram(Arc::new(ResponseSizes(tally.clone())))
                .while_registering(RESPONSE_SIZE, register)
        };
        Self {
            duration: Offer::Histogram(Arc::new(Durations(tally.clone())))
                .while_registering(duration, || metrics::histogram!(duration, labels.clone())),
            request_size: Offer::Histogram(Arc::new(RequestSizes(tally.clone())))
                .while_registering(REQUEST_SIZE, || {
                    metrics::histogram!(REQUEST_SIZE, labels.clone())
                }),
            response_size: if answered { response_size() } else { Histogram::noop() },
        }
    }
}

fn series_labels(series: &Series, ending: Ending) -> Vec<Label> {
    let Some(labels) = series.labels() else {
        return vec![Label::from_static_parts("otel.metric.overflow", "true")];
    };
    let mut all = protocol_labels(labels.protocol).to_vec();
    if let Some(status) = labels.status {
        all.push(Label::new("http.response.status_code", status.as_str().to_owned()));
    }
    if let Some(route) = series.route() {
        all.push(Label::new("http.route", route.clone()));
    }
    if let Some(error) = error_type(labels.status, ending) {
        all.push(Label::new("error.type", error));
    }
    all
}

/// Why we refused; else the status where it is an error of the server; else what
/// became of the request, with the convention's `_OTHER` for failures that have
/// no name.
fn error_type(status: Option<StatusCode>, ending: Ending) -> Option<Cow<'static, str>> {
    match (status, ending) {
        (_, Ending::Refused(why)) => Some(reason(why).into()),
        (Some(status), _) if status.is_server_error() => Some(status.as_str().to_owned().into()),
        (_, Ending::Success | Ending::Slow | Ending::Ignored) => None,
        (_, Ending::Failure) => Some("_OTHER".into()),
        (_, Ending::Abandoned) => Some("abandoned".into()),
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
