use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use tower_edge_core::Outcome;

use crate::histogram::Buckets;
use crate::labels::Labels;
use crate::meter::Meter;
use crate::stripes::{Clear, Stripes};
use crate::{Measurements, Outcomes};

/// Measures the requests that have the same labels.
#[derive(Debug)]
pub(crate) struct Series {
    /// None for the requests of all series for which there was no room.
    labels: Option<Labels>,
    tallies: Stripes<Tally>,
    meter: Meter,
}

impl Series {
    pub(crate) fn new(labels: Option<Labels>) -> Self {
        Self { labels, tallies: Stripes::new(), meter: Meter::default() }
    }

    pub(crate) fn labels(&self) -> Option<&Labels> {
        self.labels.as_ref()
    }

    pub(crate) fn head(&self, elapsed: Duration) {
        self.tallies.write(|tally, access| tally.first_byte.record(elapsed, access));
    }

    pub(crate) fn end(&self, elapsed: Duration, outcome: Outcome, response_bytes: u64) {
        self.tallies.write(|tally, access| {
            tally.total.record(elapsed, access);
            access.add(&tally.outcomes[Outcomes::kind(outcome)], 1);
            access.add(&tally.response_bytes, response_bytes);
        });
        self.meter.end(self.labels(), outcome, elapsed, response_bytes);
    }

    pub(crate) fn measurements(&self) -> Measurements {
        let mut all = Measurements::default();
        let mut outcomes = [0; Outcomes::KINDS];
        for tally in self.tallies.iter() {
            tally.first_byte.add_to(&mut all.first_byte);
            tally.total.add_to(&mut all.total);
            for (sum, count) in outcomes.iter_mut().zip(&tally.outcomes) {
                *sum += count.load(Relaxed);
            }
            all.response_bytes += tally.response_bytes.load(Relaxed);
        }
        all.outcomes = Outcomes::from_counts(outcomes);
        all.settled()
    }

    pub(crate) fn reset(&self) {
        self.tallies.reset();
    }

    /// The bytes it takes by now.
    pub(crate) fn memory(&self) -> usize {
        let tally = |tally: &Tally| tally.first_byte.memory() + tally.total.memory();
        size_of::<Self>() + self.tallies.memory(tally)
    }
}

/// What one stripe of a series counts.
#[derive(Debug, Default)]
struct Tally {
    first_byte: Buckets,
    total: Buckets,
    outcomes: [AtomicU64; Outcomes::KINDS],
    response_bytes: AtomicU64,
}

impl Clear for Tally {
    fn clear(&self) {
        self.first_byte.clear();
        self.total.clear();
        self.outcomes.iter().for_each(AtomicU64::clear);
        self.response_bytes.clear();
    }
}
