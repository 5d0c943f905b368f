use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::OnceLock;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::atomic::{AtomicI64, AtomicUsize};

use tower_edge_core::Route;

use crate::labels::{Labels, Protocol};
use crate::meter::ActiveRequests;
use crate::series::Series;
use crate::stripes::Stripes;

/// All series, and the requests in flight.
///
/// The series stand in a table of fixed size with open addressing. A place is
/// taken once and never left, so that finding a series takes no lock and no
/// allocation. It is at most half full; what comes after that goes into one
/// series for all.
#[derive(Debug)]
pub(crate) struct Records {
    places: Box<[OnceLock<Box<Series>>]>,
    max_series: usize,
    taken: AtomicUsize,
    overflow: Series,
    /// A request may end on another thread than it began: only the sum means
    /// something.
    in_flight: Stripes<AtomicI64>,
    active_requests: ActiveRequests,
}

/// The place of a series among the [`Records`].
#[derive(Clone, Copy, Debug)]
pub(crate) struct SeriesId(usize);

impl Records {
    pub(crate) fn new(max_series: usize) -> Self {
        let places = (2 * max_series).next_power_of_two();
        Self {
            places: (0..places).map(|_| OnceLock::new()).collect(),
            max_series,
            taken: AtomicUsize::new(0),
            overflow: Series::new(None),
            in_flight: Stripes::new(),
            active_requests: ActiveRequests::default(),
        }
    }

    /// The series with these labels, made if there is none yet.
    pub(crate) fn find(&self, labels: Labels) -> SeriesId {
        let mask = self.places.len() - 1;
        let mut place = hash(&labels) & mask;
        loop {
            match self.places[place].get() {
                Some(series) if series.labels() == Some(&labels) => return SeriesId(place),
                Some(_) => place = (place + 1) & mask,
                None if !self.take() => return OVERFLOW,
                None => {
                    let series = Box::new(Series::new(Some(labels.clone())));
                    if self.places[place].set(series).is_ok() {
                        return SeriesId(place);
                    }
                    // Somebody was faster, perhaps with the same labels: look again.
                    self.taken.fetch_sub(1, Relaxed);
                }
            }
        }
    }

    pub(crate) fn series(&self, id: SeriesId) -> &Series {
        let place = self.places.get(id.0).and_then(OnceLock::get);
        place.map_or(&self.overflow, |series| series)
    }

    pub(crate) fn all(&self) -> impl Iterator<Item = &Series> {
        let places = self.places.iter().filter_map(OnceLock::get).map(|series| &**series);
        places.chain([&self.overflow])
    }

    pub(crate) fn begin(&self, protocol: Protocol) {
        self.in_flight.current().fetch_add(1, Relaxed);
        self.active_requests.gauge(protocol).increment(1);
    }

    pub(crate) fn end(&self, protocol: Protocol) {
        self.in_flight.current().fetch_sub(1, Relaxed);
        self.active_requests.gauge(protocol).decrement(1);
    }

    pub(crate) fn in_flight(&self) -> u64 {
        let sum: i64 = self.in_flight.iter().map(|stripe| stripe.load(Relaxed)).sum();
        // A reader can see the end of a request and not its beginning.
        u64::try_from(sum).unwrap_or(0)
    }

    /// The bytes they take by now.
    pub(crate) fn memory(&self) -> usize {
        let places = size_of_val(&*self.places);
        self.all().map(Series::memory).sum::<usize>() + places + self.in_flight.memory()
    }

    /// Reserves a place, unless all are taken.
    fn take(&self) -> bool {
        let next = |taken| (taken < self.max_series).then_some(taken + 1);
        self.taken.fetch_update(Relaxed, Relaxed, next).is_ok()
    }
}

const OVERFLOW: SeriesId = SeriesId(usize::MAX);

/// No part of the labels is a client's choice, so that a seed is not needed.
fn hash(labels: &Labels) -> usize {
    let mut hasher = DefaultHasher::new();
    labels.protocol.hash(&mut hasher);
    labels.status.hash(&mut hasher);
    labels.route.as_ref().map(Route::as_str).hash(&mut hasher);
    hasher.finish() as usize
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::thread;

    use http::{Request, StatusCode};
    use tower_edge_core::RequestHead;

    use super::*;

    fn labels(route: usize) -> Labels {
        let request = Request::new(());
        Labels {
            protocol: Protocol::of(&RequestHead::new(&request)),
            status: Some(StatusCode::OK),
            route: Some(Route::from(Arc::from(route.to_string()))),
        }
    }

    #[test]
    fn threads_that_come_at_once_find_the_same_series() {
        let records = Records::new(100);
        thread::scope(|scope| {
            for _ in 0..8 {
                scope.spawn(|| {
                    for route in 0..100 {
                        let id = records.find(labels(route));
                        assert_eq!(records.series(id).labels(), Some(&labels(route)));
                    }
                });
            }
        });
        assert_eq!(records.all().filter(|series| series.labels().is_some()).count(), 100);
        assert_eq!(records.taken.load(Relaxed), 100);
    }

    #[test]
    fn past_the_limit_all_go_into_one() {
        let records = Records::new(3);
        for route in 0..10 {
            let id = records.find(labels(route));
            assert_eq!(records.series(id).labels().is_some(), route < 3);
        }
        let again = records.find(labels(1));
        assert_eq!(records.series(again).labels(), Some(&labels(1)));
    }

    #[test]
    fn a_table_without_room_has_one_series() {
        let records = Records::new(0);
        let id = records.find(labels(1));
        assert!(records.series(id).labels().is_none());
    }
}
