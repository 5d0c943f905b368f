use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tower_edge_core::Outcome;

use crate::detail::Detail;
use crate::histogram::Buckets;
use crate::intervals::Intervals;
use crate::labels::Labels;
use crate::meter::Meter;
use crate::stripes::{Clear, Stripes};
use crate::{CacheUses, Interval, Measurements, Outcomes, Refusals};

/// Measures the requests that have the same labels.
#[derive(Debug)]
pub(crate) struct Series {
    /// None for the requests of all series for which there was no room.
    labels: Option<Labels>,
    tallies: Stripes<Tally>,
    meter: Meter,
    /// The slot of the intervals; later than theirs never.
    slot: AtomicU64,
    intervals: Mutex<Intervals>,
    p99_nanos: AtomicU64,
}

/// What is known of a request that ended.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Ended {
    pub(crate) outcome: Outcome,
    pub(crate) elapsed: Duration,
    pub(crate) detail: Detail,
    pub(crate) request_bytes: Option<u64>,
    pub(crate) response_bytes: u64,
}

impl Series {
    pub(crate) fn new(labels: Option<Labels>) -> Self {
        Self {
            labels,
            tallies: Stripes::new(),
            meter: Meter::default(),
            slot: AtomicU64::new(0),
            intervals: Mutex::default(),
            p99_nanos: AtomicU64::new(0),
        }
    }

    pub(crate) fn labels(&self) -> Option<&Labels> {
        self.labels.as_ref()
    }

    pub(crate) fn is_long_lived(&self) -> bool {
        self.labels().is_some_and(|labels| labels.long_lived)
    }

    pub(crate) fn head(&self, slot: u64, elapsed: Duration) {
        self.turn_to(slot);
        self.tallies.write(|tally, access| tally.first_byte.record(elapsed, access));
    }

    pub(crate) fn end(&self, slot: u64, ended: &Ended) {
        self.turn_to(slot);
        self.tallies.write(|tally, access| {
            tally.total.record(ended.elapsed, access);
            access.add(&tally.outcomes[Outcomes::kind(ended.outcome)], 1);
            if let Some(reason) = ended.detail.refused {
                access.add(&tally.refusals[Refusals::kind(reason)], 1);
            }
            if let Some(found) = ended.detail.cache {
                access.add(&tally.cache[CacheUses::kind(found)], 1);
            }
            access.add(&tally.request_bytes, ended.request_bytes.unwrap_or(0));
            access.add(&tally.response_bytes, ended.response_bytes);
        });
        self.meter.end(self.labels(), ended);
    }

    pub(crate) fn measurements(&self) -> Measurements {
        let mut all = Measurements::default();
        let mut counts = Counts::default();
        for tally in self.tallies.iter() {
            tally.first_byte.add_to(&mut all.first_byte);
            tally.total.add_to(&mut all.total);
            add(&mut counts.outcomes, &tally.outcomes);
            add(&mut counts.refusals, &tally.refusals);
            add(&mut counts.cache, &tally.cache);
            all.request_bytes += tally.request_bytes.load(Relaxed);
            all.response_bytes += tally.response_bytes.load(Relaxed);
        }
        all.outcomes = Outcomes::from_counts(counts.outcomes);
        all.refusals = Refusals::from_counts(counts.refusals);
        all.cache = CacheUses::from_counts(counts.cache);
        all.settled()
    }

    /// What was measured within an interval that ends in this slot.
    pub(crate) fn recent(&self, interval: Interval, slot: u64) -> Measurements {
        self.intervals().last(interval, slot, &self.measurements())
    }

    /// The p99 of the total, as it was in the last slot; none while too few
    /// requests came to tell.
    pub(crate) fn p99(&self) -> Option<Duration> {
        Some(self.p99_nanos.load(Relaxed)).filter(|nanos| *nanos > 0).map(Duration::from_nanos)
    }

    pub(crate) fn reset(&self) {
        let mut intervals = self.intervals();
        self.tallies.reset();
        intervals.reset();
        self.p99_nanos.store(0, Relaxed);
    }

    /// The bytes it takes by now.
    pub(crate) fn memory(&self) -> usize {
        let tally = |tally: &Tally| tally.first_byte.memory() + tally.total.memory();
        size_of::<Self>() + self.tallies.memory(tally) + self.intervals().memory()
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
        let all = self.measurements();
        if all.count() >= ENOUGH_FOR_P99 {
            let p99 = all.total.quantile(0.99).map_or(0, |p99| p99.as_nanos() as u64);
            self.p99_nanos.store(p99, Relaxed);
        }
        intervals.turn(slot, all);
        self.slot.store(slot, Relaxed);
    }

    fn intervals(&self) -> MutexGuard<'_, Intervals> {
        self.intervals.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What one stripe of a series counts.
#[derive(Debug, Default)]
struct Tally {
    first_byte: Buckets,
    total: Buckets,
    outcomes: [AtomicU64; Outcomes::KINDS],
    refusals: [AtomicU64; Refusals::KINDS],
    cache: [AtomicU64; CacheUses::KINDS],
    request_bytes: AtomicU64,
    response_bytes: AtomicU64,
}

impl Clear for Tally {
    fn clear(&self) {
        self.first_byte.clear();
        self.total.clear();
        self.outcomes.iter().for_each(AtomicU64::clear);
        self.refusals.iter().for_each(AtomicU64::clear);
        self.cache.iter().for_each(AtomicU64::clear);
        self.request_bytes.clear();
        self.response_bytes.clear();
    }
}

#[derive(Default)]
struct Counts {
    outcomes: [u64; Outcomes::KINDS],
    refusals: [u64; Refusals::KINDS],
    cache: [u64; CacheUses::KINDS],
}

fn add(sums: &mut [u64], counts: &[AtomicU64]) {
    sums.iter_mut().zip(counts).for_each(|(sum, count)| *sum += count.load(Relaxed));
}

/// Fewer say nothing about one request in a hundred.
const ENOUGH_FOR_P99: u64 = 100;
