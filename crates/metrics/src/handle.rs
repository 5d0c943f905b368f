use std::sync::Arc;

use http::StatusCode;
use tower_edge_core::Route;

use crate::Measurements;
use crate::labels::Labels;
use crate::records::Records;

/// Reads what a [`LatencyLayer`](crate::LatencyLayer) measured; from
/// [`LatencyLayer::handle`](crate::LatencyLayer::handle).
///
/// Reading stops no request. All clones read the same.
#[derive(Clone, Debug)]
pub struct LatencyHandle {
    records: Arc<Records>,
}

impl LatencyHandle {
    pub(crate) fn new(records: Arc<Records>) -> Self {
        Self { records }
    }

    /// What was measured up to now.
    pub fn snapshot(&self) -> LatencySnapshot {
        let series = self.records.all().map(|series| SeriesSnapshot {
            labels: series.labels().cloned(),
            measurements: series.measurements(),
        });
        LatencySnapshot {
            in_flight: self.in_flight(),
            series: series
                .filter(|series| series.measurements != Measurements::default())
                .collect(),
        }
    }

    /// The number of requests that were called and have not ended.
    pub fn in_flight(&self) -> u64 {
        self.records.in_flight()
    }

    /// Starts to measure again from nothing. Requests in flight stay in flight;
    /// of those that end meanwhile a part may be lost.
    pub fn reset(&self) {
        self.records.all().for_each(|series| series.reset());
    }

    /// The bytes that all series take; bounded, since they are.
    pub fn memory(&self) -> usize {
        self.records.memory()
    }
}

/// What was measured, series by series.
#[derive(Clone, Debug)]
pub struct LatencySnapshot {
    in_flight: u64,
    series: Vec<SeriesSnapshot>,
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

    /// All series together.
    pub fn merged(&self) -> Measurements {
        self.merged_where(|_| true)
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
    measurements: Measurements,
}

impl SeriesSnapshot {
    /// The method; `_OTHER` for those that are not in RFC 9110 or PATCH.
    pub fn method(&self) -> &'static str {
        self.labels.as_ref().map_or("_OTHER", |labels| labels.protocol.method_name())
    }

    /// `https` or `http`.
    pub fn scheme(&self) -> &'static str {
        self.labels.as_ref().map_or("http", |labels| labels.protocol.scheme())
    }

    /// The status; `None` where the service failed or was abandoned before it
    /// had one.
    pub fn status(&self) -> Option<StatusCode> {
        self.labels.as_ref()?.status
    }

    /// The pattern of the route; `None` for all requests without one.
    pub fn route(&self) -> Option<&str> {
        self.labels.as_ref()?.route.as_ref().map(Route::as_str)
    }

    /// Whether these are the requests for which there was no room among the
    /// series, whatever their labels.
    pub fn is_overflow(&self) -> bool {
        self.labels.is_none()
    }

    /// What was measured.
    pub fn measurements(&self) -> &Measurements {
        &self.measurements
    }
}
