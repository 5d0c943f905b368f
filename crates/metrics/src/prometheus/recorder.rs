use std::collections::BTreeMap;
use std::error::Error;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use metrics::{Key, KeyName, Metadata, Recorder, SharedString, Unit};

use super::instruments::{Counter, Gauge, Histogram};
use super::offer::{Counted, GaugeSource, HistogramSource, Offer};
use super::text;
use crate::record_process;

/// Keeps what the `metrics` facade records, for Prometheus to scrape.
///
/// Histograms count by fixed bounds: for seconds those that OpenTelemetry
/// recommends and finer ones below 5 ms, for bytes powers of four. So memory is
/// that of the series, however seldom somebody scrapes, and recording takes no
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
        self.families().about.insert(name.as_str().to_owned(), (unit, help));
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
        self.recorder.families().render()
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

#[derive(Debug, Default)]
struct Families {
    /// Unit and help by the name that the facade knows.
    about: BTreeMap<String, (Option<Unit>, SharedString)>,
    /// By the name that the facade knows, then by labels.
    instruments: BTreeMap<String, BTreeMap<String, Instrument>>,
}

impl Families {
    /// What has this key, made if there is nothing; it may be of another kind.
    fn find(&mut self, key: &Key, make: impl Fn(Option<Unit>) -> Instrument) -> &mut Instrument {
        let unit = self.about.get(key.name()).and_then(|(unit, _)| *unit);
        let family = self.instruments.entry(key.name().to_owned()).or_default();
        let made = make(unit);
        // A family is of one kind.
        let labels = match family.first_key_value() {
            Some((labels, first)) if first.kind() != made.kind() => labels.clone(),
            _ => text::labels(key),
        };
        family.entry(labels).or_insert(made)
    }

    fn render(&self) -> String {
        let mut text = String::new();
        for (name, family) in &self.instruments {
            let about = self.about.get(name);
            let Some(kind) = family.values().next().map(Instrument::kind) else { continue };
            let unit = about.and_then(|(unit, _)| *unit);
            let name = text::name(name, unit, kind == "counter");
            text::head(&mut text, &name, kind, about.map(|(_, help)| &**help));
            for (labels, instrument) in family {
                instrument.render(&mut text, &name, labels);
            }
        }
        text
    }
}

/// What is recorded by one name and labels: through handles, and by who offered to
/// be looked at.
#[derive(Debug)]
enum Instrument {
    Counter(Arc<Counter>),
    Gauge { own: Arc<Gauge>, offered: Vec<Arc<dyn GaugeSource>> },
    Histogram { own: Arc<Histogram>, offered: Vec<Arc<dyn HistogramSource>> },
}

impl Instrument {
    fn kind(&self) -> &'static str {
        match self {
            Self::Counter(_) => "counter",
            Self::Gauge { .. } => "gauge",
            Self::Histogram { .. } => "histogram",
        }
    }

    fn render(&self, text: &mut String, name: &str, labels: &str) {
        match self {
            Self::Counter(counter) => text::sample(text, name, labels, counter.value() as f64),
            Self::Gauge { own, offered } => {
                let offered = offered.iter().map(|source| source.value()).sum::<f64>();
                text::sample(text, name, labels, own.value() + offered);
            }
            Self::Histogram { own, offered } => {
                let mut all = own.read();
                offered.iter().for_each(|source| all.add(&source.read()));
                text::histogram(text, name, labels, own.bounds(), &all);
            }
        }
    }
}

impl Counted {
    fn add(&mut self, other: &Self) {
        self.cumulative.iter_mut().zip(&other.cumulative).for_each(|(sum, count)| *sum += count);
        self.sum += other.sum;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

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
