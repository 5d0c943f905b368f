use std::sync::Arc;

use http::StatusCode;
use tower_edge_core::Stopwatch;

use crate::intervals::slot;
use crate::labels::Labels;
use crate::records::Records;
use crate::series::Series;
use crate::{Distribution, Interval, Measurements, Stage};

/// Reads what a [`LatencyLayer`](crate::LatencyLayer) measured; from
/// [`LatencyLayer::handle`](crate::LatencyLayer::handle).
///
/// Reading stops no request. All clones read the same.
#[derive(Clone, Debug)]
pub struct LatencyHandle {
    records: Arc<Records>,
    watch: Stopwatch,
}

impl LatencyHandle {
    pub(crate) fn new(records: Arc<Records>, watch: Stopwatch) -> Self {
        Self { records, watch }
    }

    /// What was measured up to now.
    pub fn snapshot(&self) -> LatencySnapshot {
        self.snapshot_by(Series::measurements)
    }

    /// What was measured lately. The least and the greatest value are known to
    /// within 2.2 % only, and stages are those of all time.
    pub fn recent(&self, interval: Interval) -> LatencySnapshot {
        let now = slot(self.watch.nanos());
        self.snapshot_by(|series| series.recent(interval, now))
    }

    /// Measures a future as the stage `name` of the request that it is part of,
    /// and puts it into the request's [`Trace`](tower_edge_core::Trace).
    ///
    /// From the first poll to the end; a future that is dropped is measured up to
    /// then. The 65th and later names share one.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() {
    /// let handle = tower_edge_metrics::LatencyLayer::new().handle();
    /// let rows = handle.time("db_query", async { 3 }).await;
    /// assert_eq!(rows, 3);
    /// assert_eq!(handle.snapshot().stage("db_query").unwrap().count(), 1);
    /// # }
    /// ```
    pub async fn time<F: Future>(&self, name: &'static str, future: F) -> F::Output {
        let _stage = self.stage(name);
        future.await
    }

    /// As [`time`](Self::time), until the value is dropped.
    pub fn stage(&self, name: &'static str) -> Stage {
        Stage::begin(name, self.watch, self.records.clone())
    }

    /// The number of requests that were called and have not ended.
    pub fn in_flight(&self) -> u64 {
        self.records.in_flight()
    }

    /// Starts to measure again from nothing. Requests in flight stay in flight;
    /// of those that end meanwhile a part may be lost.
    pub fn reset(&self) {
        self.records.reset();
    }

    /// The bytes that all series take; bounded, since they are.
    pub fn memory(&self) -> usize {
        self.records.memory()
    }

    fn snapshot_by(&self, measurements: impl Fn(&Series) -> Measurements) -> LatencySnapshot {
        let series = self.records.all().map(|series| SeriesSnapshot {
            labels: series.labels(),
            route: series.route().cloned(),
            measurements: measurements(series),
        });
        LatencySnapshot {
            in_flight: self.in_flight(),
            series: series
                .filter(|series| series.measurements != Measurements::default())
                .collect(),
            stages: self.records.stages(),
        }
    }
}

/// What was measured, series by series.
#[derive(Clone, Debug)]
pub struct LatencySnapshot {
    in_flight: u64,
    series: Vec<SeriesSnapshot>,
    stages: Vec<(&'static str, Distribution)>,
}

impl LatencySnapshot {
    /// The number of requests that had not ended.
    pub fn in_flight(&self) -> u64 {
        self.in_flight
    }

    /// The series in which there is something, in no order.
    pub fn series(&self) -> &[SeriesSnapshot] {
        &self.series
    }

    /// The stages of handlers, by name; `_OTHER` are those past the limit.
    pub fn stages(&self) -> &[(&'static str, Distribution)] {
        &self.stages
    }

    /// One of the [`stages`](Self::stages).
    pub fn stage(&self, name: &str) -> Option<&Distribution> {
        self.stages.iter().find(|(known, _)| *known == name).map(|(_, stage)| stage)
    }

    /// All series together, but for [long-lived](SeriesSnapshot::is_long_lived)
    /// ones.
    pub fn merged(&self) -> Measurements {
        self.merged_where(|series| !series.is_long_lived())
    }

    /// The series that `filter` chooses together: those of one route, say, or
    /// those whose status is a server error.
    pub fn merged_where(&self, filter: impl Fn(&SeriesSnapshot) -> bool) -> Measurements {
        let mut all = Measurements::default();
        let chosen = self.series.iter().filter(|series| filter(series));
        chosen.for_each(|series| all.merge(&series.measurements));
        all
    }
}

/// What was measured of one method, scheme, status and route.
#[derive(Clone, Debug)]
pub struct SeriesSnapshot {
    labels: Option<Labels>,
    route: Option<Arc<str>>,
    measurements: Measurements,
}

impl SeriesSnapshot {
    /// The method; `_OTHER` for those that are not in RFC 9110 or PATCH.
    pub fn method(&self) -> &'static str {
        self.labels.map_or("_OTHER", |labels| labels.protocol.method_name())
    }

    /// `https` or `http`.
    pub fn scheme(&self) -> &'static str {
        self.labels.map_or("http", |labels| labels.protocol.scheme())
    }

    /// The status; `None` where the service failed or was abandoned before it
    /// had one.
    pub fn status(&self) -> Option<StatusCode> {
        self.labels?.status
    }

    /// The pattern of the route; `None` for all requests without one.
    pub fn route(&self) -> Option<&str> {
        self.route.as_deref()
    }

    /// Whether these are the requests for which there was no room among the
    /// series, whatever their labels.
    pub fn is_overflow(&self) -> bool {
        self.labels.is_none()
    }

    /// Whether these are upgrades (101), tunnels (CONNECT) or streams of events
    /// (`text/event-stream`, `multipart/x-mixed-replace`): they last as long as
    /// somebody listens, and have series of their own.
    pub fn is_long_lived(&self) -> bool {
        self.labels.is_some_and(|labels| labels.long_lived)
    }

    /// What was measured.
    pub fn measurements(&self) -> &Measurements {
        &self.measurements
    }
}
