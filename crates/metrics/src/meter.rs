//! What goes to the `metrics` facade: the one place where its names stand.

use std::borrow::Cow;
use std::sync::OnceLock;
use std::time::Duration;

use http::StatusCode;
use metrics::{Gauge, Histogram, Label, Unit};
use tower_edge_core::{Outcome, Route};

use crate::labels::{Labels, Protocol};

/// The facade's handles of one series, registered when first needed.
#[derive(Debug, Default)]
pub(crate) struct Meter {
    by_end: [OnceLock<Handles>; 3],
}

impl Meter {
    /// Records the end of a request of the series with these labels.
    pub(crate) fn end(
        &self,
        labels: Option<&Labels>,
        outcome: Outcome,
        elapsed: Duration,
        response_bytes: u64,
    ) {
        let end = match outcome {
            Outcome::Failure => End::Failed,
            Outcome::Abandoned { .. } => End::Abandoned,
            _ => End::Well,
        };
        let handles = self.by_end[end as usize].get_or_init(|| Handles::new(labels, end));
        handles.duration.record(elapsed);
        if let Some(size) = &handles.response_size {
            size.record(response_bytes as f64);
        }
    }
}

/// How many requests are in flight, by method and scheme, as gauges.
#[derive(Debug, Default)]
pub(crate) struct ActiveRequests([OnceLock<Gauge>; Protocol::COUNT]);

impl ActiveRequests {
    pub(crate) fn gauge(&self, protocol: Protocol) -> &Gauge {
        self.0[protocol.index()].get_or_init(|| {
            describe();
            metrics::gauge!(ACTIVE_REQUESTS, protocol_labels(protocol).to_vec())
        })
    }
}

#[derive(Debug)]
struct Handles {
    duration: Histogram,
    /// None where there is no response.
    response_size: Option<Histogram>,
}

impl Handles {
    fn new(labels: Option<&Labels>, end: End) -> Self {
        let answered = labels.is_none_or(|labels| labels.status.is_some());
        let labels = match labels {
            Some(labels) => series_labels(labels, end),
            None => vec![Label::from_static_parts("otel.metric.overflow", "true")],
        };
        let response_size = answered.then(|| metrics::histogram!(RESPONSE_SIZE, labels.clone()));
        Self { duration: metrics::histogram!(DURATION, labels), response_size }
    }
}

/// What `error.type` tells apart.
#[derive(Clone, Copy)]
enum End {
    Well,
    Failed,
    Abandoned,
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

/// The status where it is an error of the server; else what became of the
/// request, with the convention's `_OTHER` for failures that have no name.
fn error_type(status: Option<StatusCode>, end: End) -> Option<Cow<'static, str>> {
    match (status, end) {
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
    metrics::describe_histogram!(DURATION, Unit::Seconds, "Duration of HTTP server requests.");
    metrics::describe_histogram!(
        RESPONSE_SIZE,
        Unit::Bytes,
        "Size of HTTP server response bodies."
    );
    metrics::describe_gauge!(
        ACTIVE_REQUESTS,
        Unit::Count,
        "Number of active HTTP server requests."
    );
}

const DURATION: &str = "http.server.request.duration";
const RESPONSE_SIZE: &str = "http.server.response.body.size";
const ACTIVE_REQUESTS: &str = "http.server.active_requests";
