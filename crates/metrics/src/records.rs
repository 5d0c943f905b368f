use std::sync::atomic::Ordering::{Acquire, Relaxed, Release};
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize};
use std::sync::{Mutex, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use crate::labels::{Labels, Protocol};
use crate::meter::{ActiveRequests, StageMeter};
use crate::named::Named;
use crate::series::Series;
use crate::stripes::Stripes;
use crate::{Distribution, Histogram};

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
    inserting: Mutex<()>,
    overflow: Series,
    overflown: AtomicBool,
    /// When the first request came.
    start: OnceLock<Instant>,
    /// A request may end on another thread than it began, whose number then goes
    /// below zero: only the sum means something.
    in_flight: Stripes<AtomicU64>,
    active_requests: ActiveRequests,
    stages: Named<(Histogram, StageMeter)>,
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
            inserting: Mutex::new(()),
            overflow: Series::new(None),
            overflown: AtomicBool::new(false),
            start: OnceLock::new(),
            in_flight: Stripes::new(),
            active_requests: ActiveRequests::default(),
            stages: Named::default(),
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
                // The last place may have been taken since, perhaps by these labels.
                None if self.is_full() && self.places[place].get().is_none() => return OVERFLOW,
                // Whether this thread was the first or not: look again.
                None => self.insert(place, &labels),
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

    /// Takes a request into flight; whether the facade counted it as well, which
    /// has to be told to [`end`](Self::end).
    pub(crate) fn begin(&self, protocol: Protocol) -> bool {
        self.in_flight.write(|count, access| access.add(count, 1));
        let gauge = self.active_requests.gauge(protocol);
        gauge.inspect(|gauge| gauge.increment(1)).is_some()
    }

    pub(crate) fn end(&self, protocol: Protocol, counted: bool) {
        self.in_flight.write(|count, access| access.add(count, u64::MAX));
        if counted && let Some(gauge) = self.active_requests.gauge(protocol) {
            gauge.decrement(1);
        }
    }

    /// The time since the first request.
    pub(crate) fn since_start(&self, now: Instant) -> Duration {
        now.saturating_duration_since(*self.start.get_or_init(|| now))
    }

    /// Whether this is the first request for which there was no room.
    pub(crate) fn overflows_first(&self, id: SeriesId) -> bool {
        id.0 == OVERFLOW.0 && !self.overflown.swap(true, Relaxed)
    }

    pub(crate) fn max_series(&self) -> usize {
        self.max_series
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
        let add = |sum: u64, count: &AtomicU64| sum.wrapping_add(count.load(Relaxed));
        let sum = self.in_flight.iter().fold(0, add);
        // A reader can see the end of a request and not its beginning.
        if sum > u64::MAX / 2 { 0 } else { sum }
    }

    /// The bytes they take by now.
    pub(crate) fn memory(&self) -> usize {
        let places = size_of_val(&*self.places);
        let stages = self.stages.iter().map(|(_, (histogram, _))| histogram.memory());
        let all = self.all().map(Series::memory).chain(stages);
        all.sum::<usize>() + places + self.in_flight.memory(|_| 0)
    }

    fn is_full(&self) -> bool {
        self.taken.load(Acquire) >= self.max_series
    }

    /// Makes a series here, unless somebody was faster or took the last place.
    fn insert(&self, place: usize, labels: &Labels) {
        let _turn = self.inserting.lock().unwrap_or_else(PoisonError::into_inner);
        let free = !self.is_full() && self.places[place].get().is_none();
        if free {
            self.places[place].get_or_init(|| Box::new(Series::new(Some(labels.clone()))));
            self.taken.fetch_add(1, Release);
        }
    }
}

const OVERFLOW: SeriesId = SeriesId(usize::MAX);

/// No part of the labels is a client's choice, so that a plain multiplicative
/// hash does, a fifth of the cost of the standard library's.
fn hash(labels: &Labels) -> usize {
    let status = labels.status.map_or(0, |status| u64::from(status.as_u16()));
    let protocol = 2 * labels.protocol.index() as u64 + u64::from(labels.long_lived);
    let mut hash = mix(status, protocol);
    if let Some(route) = &labels.route {
        let (words, rest) = route.as_str().as_bytes().as_chunks();
        hash = words.iter().fold(hash, |hash, word| mix(hash, u64::from_le_bytes(*word)));
        hash = rest.iter().fold(hash, |hash, byte| mix(hash, u64::from(*byte)));
    }
    // The high bits depend on all that was mixed in.
    (hash >> 32) as usize
}

fn mix(hash: u64, word: u64) -> u64 {
    (hash.rotate_left(5) ^ word).wrapping_mul(GOLDEN)
}

/// 2^64 over the golden ratio, made odd.
const GOLDEN: u64 = 0x9e37_79b9_7f4a_7c15;

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Barrier};
    use std::thread;

    use http::{Request, StatusCode};
    use tower_edge_core::{RequestHead, Route};

    use super::*;

    fn labels(route: usize) -> Labels {
        let request = Request::new(());
        Labels {
            protocol: Protocol::of(&RequestHead::new(&request)),
            status: Some(StatusCode::OK),
            route: Some(Route::from(Arc::from(route.to_string()))),
            long_lived: false,
        }
    }

    #[test]
    fn threads_that_come_at_once_find_the_same_series() {
        for _ in 0..200 {
            let (records, start) = (Records::new(10), Barrier::new(4));
            thread::scope(|scope| {
                for _ in 0..4 {
                    scope.spawn(|| {
                        start.wait();
                        for route in 0..10 {
                            let id = records.find(labels(route));
                            assert_eq!(records.series(id).labels(), Some(&labels(route)));
                        }
                    });
                }
            });
            assert_eq!(records.all().filter(|series| series.labels().is_some()).count(), 10);
            assert_eq!(records.taken.load(Relaxed), 10);
        }
    }

    #[test]
    fn a_thread_that_comes_too_late_makes_nothing() {
        let records = Records::new(1);
        records.find(labels(0));
        (0..records.places.len()).for_each(|place| records.insert(place, &labels(1)));
        assert_eq!(records.places.iter().filter_map(OnceLock::get).count(), 1);
        assert_eq!(records.taken.load(Relaxed), 1);
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
