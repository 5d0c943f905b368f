use std::error::Error;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use http::HeaderValue;
use metrics::{Key, KeyName, Metadata, Recorder, SharedString, Unit};

use super::families::{Families, Instrument};
use super::instruments::Histogram;
use super::offer::Offer;
use crate::record_process;

/// Keeps what the `metrics` facade records, for Prometheus to scrape.
///
/// Histograms count by fixed bounds: for seconds those that OpenTelemetry
/// recommends and finer ones below 5 ms, for bytes powers of four; durations of
/// requests are native histograms as well, for [who asks](PrometheusHandle::render_for).
/// So memory is that of the series, however seldom somebody scrapes, and recording takes no
/// lock and no allocation. What has no unit is counted as if it were seconds.
/// Series are never dropped; whoever records sees to it that there are few, as
/// [`LatencyLayer`](crate::LatencyLayer) does.
///
/// ```
/// use tower_edge_metrics::PrometheusRecorder;
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let prometheus = PrometheusRecorder::new().install()?;
/// // In the handler of GET /metrics:
/// let scrape = prometheus.render();
/// # assert!(!cfg!(target_os = "linux") || scrape.contains("process_memory_usage_bytes "));
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug, Default)]
#[must_use]
pub struct PrometheusRecorder {
    families: Arc<Mutex<Families>>,
}

impl PrometheusRecorder {
    /// Makes it, with nothing recorded.
    pub fn new() -> Self {
        Self::default()
    }

    /// Makes it the recorder of the whole process, once and for all.
    ///
    /// # Errors
    ///
    /// If there is a recorder already.
    pub fn install(self) -> Result<PrometheusHandle, InstallError> {
        let handle = self.handle();
        metrics::set_global_recorder(self).map_err(|_| InstallError(()))?;
        Ok(handle)
    }

    /// Reads it, also when it is installed as a part of another recorder.
    pub fn handle(&self) -> PrometheusHandle {
        PrometheusHandle { recorder: self.clone() }
    }

    fn families(&self) -> MutexGuard<'_, Families> {
        self.families.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn describe(&self, name: &KeyName, unit: Option<Unit>, help: SharedString) {
        self.families().describe(name.as_str(), unit, help);
    }
}

/// Renders what a [`PrometheusRecorder`] keeps.
#[derive(Clone, Debug)]
pub struct PrometheusHandle {
    recorder: PrometheusRecorder,
}

impl PrometheusHandle {
    /// The media type of [`render`](Self::render)'s text.
    pub const CONTENT_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

    /// All that was recorded, and the gauges of the process, as the text that
    /// Prometheus scrapes.
    ///
    /// Reads files of `/proc`; takes some milliseconds for thousands of series.
    /// Requests go on meanwhile, but for those that are the first of a series.
    pub fn render(&self) -> String {
        metrics::with_local_recorder(&self.recorder, record_process);
        self.recorder.families().text()
    }

    /// The same in whichever form the scraper prefers, by its `Accept` field, with
    /// the media type of that form.
    ///
    /// Prometheus asks for protobuf messages where its native histograms are on.
    /// Only these messages have them, in addition to the buckets by bounds: there
    /// durations are as exact as here. Whoever does not ask gets
    /// [`render`](Self::render)'s text.
    pub fn render_for(&self, accept: Option<&HeaderValue>) -> (&'static str, Vec<u8>) {
        if !accept.is_some_and(prefers_protobuf) {
            return (Self::CONTENT_TYPE, self.render().into());
        }
        metrics::with_local_recorder(&self.recorder, record_process);
        (PROTOBUF, self.recorder.families().protobuf())
    }
}

/// There is a recorder already: a process has one.
#[derive(Clone, Copy, Debug)]
pub struct InstallError(());

impl fmt::Display for InstallError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a recorder of metrics is installed already")
    }
}

impl Error for InstallError {}

impl Recorder for PrometheusRecorder {
    fn describe_counter(&self, name: KeyName, unit: Option<Unit>, help: SharedString) {
        self.describe(&name, unit, help);
    }

    fn describe_gauge(&self, name: KeyName, unit: Option<Unit>, help: SharedString) {
        self.describe(&name, unit, help);
    }

    fn describe_histogram(&self, name: KeyName, unit: Option<Unit>, help: SharedString) {
        self.describe(&name, unit, help);
    }

    fn register_counter(&self, key: &Key, _: &Metadata<'_>) -> metrics::Counter {
        match self.families().find(key, |_| Instrument::Counter(Arc::default())) {
            Instrument::Counter(counter) => metrics::Counter::from_arc(counter.clone()),
            _ => metrics::Counter::noop(),
        }
    }

    fn register_gauge(&self, key: &Key, _: &Metadata<'_>) -> metrics::Gauge {
        let make = |_| Instrument::Gauge { own: Arc::default(), offered: Vec::new() };
        match (self.families().find(key, make), Offer::held_out(key.name())) {
            (Instrument::Gauge { offered, .. }, Some(Offer::Gauge(source))) => {
                offered.push(source);
                metrics::Gauge::noop()
            }
            (Instrument::Gauge { own, .. }, _) => metrics::Gauge::from_arc(own.clone()),
            _ => metrics::Gauge::noop(),
        }
    }

    fn register_histogram(&self, key: &Key, _: &Metadata<'_>) -> metrics::Histogram {
        let make = |unit| Instrument::Histogram {
            own: Arc::new(Histogram::new(unit)),
            offered: Vec::new(),
        };
        match (self.families().find(key, make), Offer::held_out(key.name())) {
            (Instrument::Histogram { own, offered }, Some(Offer::Histogram(source)))
                if source.bounds() == own.bounds() =>
            {
                offered.push(source);
                metrics::Histogram::noop()
            }
            (Instrument::Histogram { own, .. }, _) => metrics::Histogram::from_arc(own.clone()),
            _ => metrics::Histogram::noop(),
        }
    }
}

/// Whether the delimited messages have a greater weight in this `Accept` field than
/// text has.
fn prefers_protobuf(accept: &HeaderValue) -> bool {
    let (mut messages, mut text) = (0.0, 0.0_f64);
    for member in accept.to_str().unwrap_or_default().split(',') {
        let mut parts = member.split(';').map(str::trim);
        let media_type = parts.next().unwrap_or_default();
        let (mut weight, mut delimited) = (1.0, false);
        for part in parts {
            match part.split_once('=') {
                Some(("q", q)) => weight = q.parse().unwrap_or(0.0),
                Some(("encoding", encoding)) => delimited = encoding == "delimited",
                _ => {}
            }
        }
        match media_type {
            "application/vnd.google.protobuf" if delimited => messages = weight,
            "text/plain" | "text/*" | "*/*" => text = text.max(weight),
            _ => {}
        }
    }
    messages > text
}

const PROTOBUF: &str = "application/vnd.google.protobuf; \
     proto=io.prometheus.client.MetricFamily; encoding=delimited";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_are_for_those_who_prefer_them_to_text() {
        let messages = "application/vnd.google.protobuf;\
            proto=io.prometheus.client.MetricFamily;encoding=delimited";
        for (accept, expected) in [
            (format!("{messages},text/plain;version=0.0.4;q=0.3,*/*;q=0.1"), true),
            (format!("{messages};q=0.5, text/plain;q=0.4"), true),
            (format!("text/plain;version=0.0.4;q=0.7, {messages};q=0.6"), false),
            (messages.replace("delimited", "text"), false),
            ("application/openmetrics-text;version=1.0.0,*/*;q=0.1".to_owned(), false),
            ("*/*".to_owned(), false),
            (String::new(), false),
        ] {
            let field = accept.parse().unwrap();
            assert_eq!(prefers_protobuf(&field), expected, "{accept}");
        }
    }

    #[test]
    fn what_was_recorded_is_rendered() {
        let recorder = PrometheusRecorder::new();
        metrics::with_local_recorder(&recorder, || {
            metrics::describe_histogram!("took", Unit::Seconds, "How long\nit took.");
            metrics::histogram!("took", "a" => "b").record(0.2);
            metrics::counter!("seen").increment(3);
            metrics::gauge!("open", "a" => "b").set(-1.5);
            metrics::counter!("seen").increment(1);
            // Of another kind: nowhere to go.
            metrics::gauge!("seen", "a" => "c").set(9.0);
        });
        let text = recorder.handle().render();
        for line in [
            "# HELP took_seconds How long\\nit took.",
            "# TYPE took_seconds histogram",
            "took_seconds_bucket{a=\"b\",le=\"0.1\"} 0",
            "took_seconds_bucket{a=\"b\",le=\"0.25\"} 1",
            "took_seconds_bucket{a=\"b\",le=\"+Inf\"} 1",
            "took_seconds_sum{a=\"b\"} 0.2",
            "took_seconds_count{a=\"b\"} 1",
            "seen_total 4",
            "open{a=\"b\"} -1.5",
        ] {
            assert!(text.lines().any(|given| given == line), "{line} is not in\n{text}");
        }
        assert!(!text.contains("} 9"));
    }
}
