use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use tower_edge_core::Outcome;

use crate::labels::Labels;
use crate::meter::Meter;
use crate::stripes::Stripes;
use crate::{Histogram, Measurements, Outcomes};

/// Measures the requests that have the same labels.
#[derive(Debug)]
pub(crate) struct Series {
    /// None for the requests of all series for which there was no room.
    labels: Option<Labels>,
    first_byte: Histogram,
    total: Histogram,
    counts: Stripes<Counts>,
    meter: Meter,
}

impl Series {
    pub(crate) fn new(labels: Option<Labels>) -> Self {
        Self {
            labels,
            first_byte: Histogram::new(),
            total: Histogram::new(),
            counts: Stripes::new(),
            meter: Meter::default(),
        }
    }

    pub(crate) fn labels(&self) -> Option<&Labels> {
        self.labels.as_ref()
    }

    pub(crate) fn head(&self, elapsed: Duration) {
        self.first_byte.record(elapsed);
    }

    pub(crate) fn end(&self, elapsed: Duration, outcome: Outcome, response_bytes: u64) {
        self.total.record(elapsed);
        let counts = self.counts.current();
        counts.outcomes[Outcomes::kind(outcome)].fetch_add(1, Relaxed);
        counts.response_bytes.fetch_add(response_bytes, Relaxed);
        self.meter.end(self.labels(), outcome, elapsed, response_bytes);
    }

    pub(crate) fn measurements(&self) -> Measurements {
        let mut outcomes = [0; Outcomes::KINDS];
        let mut response_bytes = 0;
        for stripe in self.counts.iter() {
            for (sum, count) in outcomes.iter_mut().zip(&stripe.outcomes) {
                *sum += count.load(Relaxed);
            }
            response_bytes += stripe.response_bytes.load(Relaxed);
        }
        Measurements {
            first_byte: self.first_byte.snapshot(),
            total: self.total.snapshot(),
            outcomes: Outcomes::from_counts(outcomes),
            response_bytes,
        }
    }

    pub(crate) fn reset(&self) {
        self.first_byte.reset();
        self.total.reset();
        for stripe in self.counts.iter() {
            stripe.outcomes.iter().for_each(|count| count.store(0, Relaxed));
            stripe.response_bytes.store(0, Relaxed);
        }
    }

    /// The bytes it takes by now.
    pub(crate) fn memory(&self) -> usize {
        size_of::<Self>() + self.first_byte.memory() + self.total.memory() + self.counts.memory()
    }
}

#[derive(Debug, Default)]
struct Counts {
    outcomes: [AtomicU64; Outcomes::KINDS],
    response_bytes: AtomicU64,
}
