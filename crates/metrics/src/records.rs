use std::hash::{BuildHasher, RandomState};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use crate::in_flight::{ActiveRequests, InFlight};
use crate::labels::{Labels, Protocol, RouteId};
use crate::meter::StageMeter;
use crate::named::Named;
use crate::series::Series;
use crate::table::{Table, mix};
use crate::{Distribution, Histogram};

/// All series, and the requests in flight.
///
/// What comes after the limit of series goes into one series for all.
#[derive(Debug)]
pub(crate) struct Records {
    /// Whoever makes up routes cannot know which of them share a place.
    seed: u64,
    routes: Table<Arc<str>>,
    series: Table<Series>,
    overflow: Series,
    overflown: AtomicBool,
    in_flight: Arc<InFlight>,
    active_requests: ActiveRequests,
    stages: Named<(Histogram, StageMeter)>,
}

/// The place of a series among the [`Records`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct SeriesId(u32);

impl SeriesId {
    /// The series of all for which there is no room.
    pub(crate) const OVERFLOW: Self = Self(u32::MAX);
}

impl Records {
    pub(crate) fn new(max_series: usize) -> Self {
        Self {
            seed: RandomState::new().hash_one(0),
            routes: Table::new(max_series),
            series: Table::new(max_series),
            overflow: Series::new(None, None),
            overflown: AtomicBool::new(false),
            in_flight: Arc::default(),
            active_requests: ActiveRequests::default(),
            stages: Named::default(),
        }
    }

    /// The number of a route, so that its name is looked at once a request.
    pub(crate) fn route(&self, pattern: &str) -> RouteId {
        let (words, rest) = pattern.as_bytes().as_chunks();
        let hash = words.iter().fold(self.seed, |hash, word| mix(hash, u64::from_le_bytes(*word)));
        let hash = rest.iter().fold(hash, |hash, byte| mix(hash, u64::from(*byte)));
        let found = self.routes.find(
            (hash >> 32) as usize,
            |known| **known == *pattern,
            || Arc::from(pattern),
        );
        RouteId::of(found)
    }

    /// The series with these labels, made if there is none yet.
    pub(crate) fn find(&self, labels: Labels) -> SeriesId {
        if labels.route == RouteId::OVERFLOW {
            return SeriesId::OVERFLOW;
        }
        let packed = labels.packed();
        let hash = (mix(self.seed, packed) >> 32) as usize;
        let route = || labels.route.place().and_then(|place| self.routes.get(place)).cloned();
        let make = || Series::new(Some(labels), route());
        let found = self.series.find(hash, |series| series.is(packed), make);
        found.and_then(|place| u32::try_from(place).ok()).map_or(SeriesId::OVERFLOW, SeriesId)
    }

    pub(crate) fn series(&self, id: SeriesId) -> &Series {
        self.series.get(id.0 as usize).unwrap_or(&self.overflow)
    }

    pub(crate) fn all(&self) -> impl Iterator<Item = &Series> {
        self.series.iter().chain([&self.overflow])
    }

    /// Takes a request into flight; whether the facade counted it as well, which
    /// has to be told to [`end`](Self::end).
    pub(crate) fn begin(&self, protocol: Protocol) -> bool {
        self.in_flight.begin(protocol);
        let gauge = self.active_requests.gauge(protocol, &self.in_flight);
        gauge.inspect(|gauge| gauge.increment(1)).is_some()
    }

    pub(crate) fn end(&self, protocol: Protocol, counted: bool) {
        self.in_flight.end(protocol);
        if counted && let Some(gauge) = self.active_requests.gauge(protocol, &self.in_flight) {
            gauge.decrement(1);
        }
    }

    /// Whether this is the first request for which there was no room.
    pub(crate) fn overflows_first(&self, id: SeriesId) -> bool {
        id == SeriesId::OVERFLOW && !self.overflown.swap(true, Relaxed)
    }

    pub(crate) fn max_series(&self) -> usize {
        self.series.max()
    }

    /// Measures a stage of a request.
    pub(crate) fn stage(&self, name: &'static str, elapsed: Duration) {
        let (name, (histogram, meter)) = self.stages.get(name);
        histogram.record(elapsed);
        meter.record(name, elapsed);
    }

    /// The stages that were measured.
    pub(crate) fn stages(&self) -> Vec<(&'static str, Distribution)> {
        let all = self.stages.iter().map(|(name, (histogram, _))| (name, histogram.snapshot()));
        all.filter(|(_, stage)| stage.count() > 0).collect()
    }

    pub(crate) fn reset(&self) {
        self.all().for_each(Series::reset);
        self.stages.iter().for_each(|(_, (histogram, _))| histogram.reset());
    }

    pub(crate) fn in_flight(&self) -> u64 {
        self.in_flight.all()
    }

    /// The bytes they take by now.
    pub(crate) fn memory(&self) -> usize {
        let stages = self.stages.iter().map(|(_, (histogram, _))| histogram.memory());
        let routes = self.routes.iter().map(|route| size_of_val(route) + route.len());
        let all = self.all().map(Series::memory).chain(stages).chain(routes);
        let tables = self.series.memory() + self.routes.memory();
        all.sum::<usize>() + tables + self.in_flight.memory()
    }
}

#[cfg(test)]
mod tests {
    use http::{Request, StatusCode};
    use tower_edge_core::RequestHead;

    use super::*;

    fn labels(records: &Records, route: usize) -> Labels {
        let request = Request::new(());
        Labels {
            protocol: Protocol::of(&RequestHead::new(&request)),
            status: Some(StatusCode::OK),
            route: records.route(&route.to_string()),
            long_lived: false,
        }
    }

    #[test]
    fn past_the_limit_all_go_into_one() {
        let records = Records::new(3);
        for route in 0..10 {
            let id = records.find(labels(&records, route));
            let name = (route < 3).then(|| Arc::from(route.to_string()));
            assert_eq!(records.series(id).route(), name.as_ref());
        }
        // Another status of a known route, for which there is no room either.
        let gone = Labels { status: Some(StatusCode::GONE), ..labels(&records, 1) };
        assert!(records.series(records.find(gone)).labels().is_none());
        let again = labels(&records, 1);
        assert_eq!(records.series(records.find(again)).labels(), Some(again));
    }

    #[test]
    fn no_room_is_one_series() {
        let records = Records::new(0);
        let id = records.find(Labels { route: RouteId::NONE, ..labels(&records, 1) });
        assert!(records.series(id).labels().is_none());
    }
}
