use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Duration;

use crate::ending::Ending;
use crate::intervals::Intervals;
use crate::labels::Labels;
use crate::meter::Meter;
use crate::tally::{Sample, Tally};
use crate::{Histogram, Interval, Measurements};

/// Measures the requests that have the same labels.
#[derive(Debug)]
pub(crate) struct Series {
    /// None for the requests of all series for which there was no room.
    labels: Option<Labels>,
    /// The same in a word, to compare; nothing that labels are packed into where
    /// there are none.
    packed: u64,
    route: Option<Arc<str>>,
    parts: [OnceLock<Part>; Ending::COUNT],
    /// Times to first bytes that came before the end.
    first_bytes: Histogram,
    /// The slot of the intervals; later than theirs never.
    slot: AtomicU64,
    intervals: Mutex<Intervals>,
    /// Zero where there is too little to tell, or [`UNKNOWN`].
    p99_nanos: AtomicU64,
}

/// What is known of a request that ended.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Ended {
    pub(crate) ending: Ending,
    pub(crate) sample: Sample,
}

impl Series {
    pub(crate) fn new(labels: Option<Labels>, route: Option<Arc<str>>) -> Self {
        Self {
            labels,
            packed: labels.map_or(u64::MAX, Labels::packed),
            route,
            parts: Default::default(),
            first_bytes: Histogram::new(),
            slot: AtomicU64::new(0),
            intervals: Mutex::default(),
            p99_nanos: AtomicU64::new(0),
        }
    }

    pub(crate) fn labels(&self) -> Option<Labels> {
        self.labels
    }

    pub(crate) fn is(&self, packed: u64) -> bool {
        self.packed == packed
    }

    pub(crate) fn route(&self) -> Option<&Arc<str>> {
        self.route.as_ref()
    }

    pub(crate) fn is_long_lived(&self) -> bool {
        self.labels.is_some_and(|labels| labels.long_lived)
    }

    /// Counts a first byte that came before the end of its request.
    pub(crate) fn first_byte(&self, slot: u64, nanos: u64) {
        self.turn_to(slot);
        self.first_bytes.record(Duration::from_nanos(nanos));
    }

    pub(crate) fn end(&self, slot: u64, ended: &Ended) {
        self.turn_to(slot);
        let part = self.parts[ended.ending.index()].get_or_init(Part::default);
        part.tally.record(&ended.sample);
        part.meter.record(self, ended, &part.tally);
    }

    pub(crate) fn measurements(&self) -> Measurements {
        let (mut all, mut counts) = (Measurements::default(), [0; Ending::COUNT]);
        for (part, count) in self.parts.iter().zip(&mut counts) {
            if let Some(part) = part.get() {
                let measured = part.tally.measurements();
                *count = measured.count();
                all.merge(&measured);
            }
        }
        all.first_byte.merge(&self.first_bytes.snapshot());
        (all.outcomes, all.refusals) = Ending::told_apart(counts);
        all
    }

    /// What was measured within an interval that ends in this slot.
    pub(crate) fn recent(&self, interval: Interval, slot: u64) -> Measurements {
        self.intervals().last(interval, slot, &self.measurements())
    }

    /// The p99 of the total over the last minutes, as it was when the current slot
    /// began; none while too few requests came to tell.
    pub(crate) fn p99(&self) -> Option<Duration> {
        let nanos = match self.p99_nanos.load(Relaxed) {
            UNKNOWN => self.find_p99(),
            nanos => nanos,
        };
        Some(nanos).filter(|nanos| *nanos > 0).map(Duration::from_nanos)
    }

    pub(crate) fn reset(&self) {
        let mut intervals = self.intervals();
        self.parts.iter().filter_map(OnceLock::get).for_each(|part| part.tally.reset());
        self.first_bytes.reset();
        intervals.reset();
        self.p99_nanos.store(0, Relaxed);
    }

    /// The bytes it takes by now.
    pub(crate) fn memory(&self) -> usize {
        let parts = self.parts.iter().filter_map(OnceLock::get);
        let tallies: usize = parts.map(|part| part.tally.memory()).sum();
        let first_bytes = self.first_bytes.memory() - size_of::<Histogram>();
        size_of::<Self>() + tallies + first_bytes + self.intervals().memory()
    }

    fn turn_to(&self, slot: u64) {
        if slot > self.slot.load(Relaxed) {
            self.turn(slot);
        }
    }

    /// Takes what was measured up to this slot; once in a slot, and by one thread:
    /// the others go on.
    #[cold]
    fn turn(&self, slot: u64) {
        let Ok(mut intervals) = self.intervals.try_lock() else { return };
        if slot <= self.slot.load(Relaxed) {
            return;
        }
        intervals.turn(slot, self.measurements());
        self.p99_nanos.store(UNKNOWN, Relaxed);
        self.slot.store(slot, Relaxed);
    }

    /// Adds the last minutes up, once in a slot and only if somebody asks; 0 where
    /// there is nothing to tell, or another thread is at it.
    #[cold]
    fn find_p99(&self) -> u64 {
        let Ok(intervals) = self.intervals.try_lock() else { return 0 };
        let lately = intervals.times();
        let p99 = lately.quantile(0.99).filter(|_| lately.count() >= ENOUGH_FOR_P99);
        let nanos = p99.map_or(0, |p99| p99.as_nanos() as u64);
        self.p99_nanos.store(nanos, Relaxed);
        nanos
    }

    fn intervals(&self) -> MutexGuard<'_, Intervals> {
        self.intervals.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The requests of a series that ended alike.
#[derive(Debug, Default)]
struct Part {
    tally: Arc<Tally>,
    meter: Meter,
}

/// Nobody asked since the slot began.
const UNKNOWN: u64 = u64::MAX;

/// Fewer say nothing about one request in a hundred.
const ENOUGH_FOR_P99: u64 = 100;
