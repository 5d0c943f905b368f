use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::Relaxed;

use metrics::{CounterFn, GaugeFn, HistogramFn, Unit};

use super::offer::Counted;
use crate::Distribution;
use crate::bounds::{BYTES, NANOS, SECONDS};
use crate::stripes::{Access, Clear, Stripes};

#[derive(Debug)]
pub(super) struct Counter {
    counts: Stripes<AtomicU64>,
    /// The greatest that it was set to.
    least: AtomicU64,
}

impl Default for Counter {
    fn default() -> Self {
        Self { counts: Stripes::new(), least: AtomicU64::new(0) }
    }
}

impl Counter {
    pub(super) fn value(&self) -> u64 {
        let counts = self.counts.iter().map(|count| count.load(Relaxed));
        counts.fold(0, u64::wrapping_add).max(self.least.load(Relaxed))
    }
}

impl CounterFn for Counter {
    fn increment(&self, value: u64) {
        self.counts.write(|count, access| access.add(count, value));
    }

    fn absolute(&self, value: u64) {
        self.least.fetch_max(value, Relaxed);
    }
}

#[derive(Debug)]
pub(super) struct Gauge {
    /// What it was set to, less what the stripes held then.
    base: AtomicU64,
    changes: Stripes<AtomicU64>,
}

impl Default for Gauge {
    fn default() -> Self {
        Self { base: AtomicU64::new(0), changes: Stripes::new() }
    }
}

impl Gauge {
    pub(super) fn value(&self) -> f64 {
        f64::from_bits(self.base.load(Relaxed)) + self.changed()
    }

    fn changed(&self) -> f64 {
        self.changes.iter().map(|change| f64::from_bits(change.load(Relaxed))).sum()
    }
}

impl GaugeFn for Gauge {
    fn increment(&self, value: f64) {
        self.changes.write(|change, access| add_float(access, change, value));
    }

    fn decrement(&self, value: f64) {
        self.increment(-value);
    }

    fn set(&self, value: f64) {
        self.base.store((value - self.changed()).to_bits(), Relaxed);
    }
}

/// Counts by fixed bounds: nothing is kept of a single value, however long
/// nobody scrapes.
#[derive(Debug)]
pub(super) struct Histogram {
    bounds: &'static [f64],
    counts: Stripes<Counts>,
}

impl Histogram {
    pub(super) fn new(unit: Option<Unit>) -> Self {
        let bounds = match unit {
            Some(Unit::Bytes) => &BYTES[..],
            _ => &SECONDS[..],
        };
        Self { bounds, counts: Stripes::new() }
    }

    pub(super) fn bounds(&self) -> &'static [f64] {
        self.bounds
    }

    pub(super) fn read(&self) -> Counted {
        let mut below = 0;
        let cumulative = (0..=self.bounds.len()).map(|i| {
            below += self.counts.iter().map(|all| all.by_bound[i].load(Relaxed)).sum::<u64>();
            below
        });
        let cumulative = cumulative.collect();
        let sums = self.counts.iter().map(|all| f64::from_bits(all.sum.load(Relaxed)));
        // Nothing can be added to anything.
        let exponential = (below == 0).then(Distribution::default);
        Counted { cumulative, sum: sums.sum(), exponential }
    }
}

impl HistogramFn for Histogram {
    fn record(&self, value: f64) {
        self.record_many(value, 1);
    }

    fn record_many(&self, value: f64, count: usize) {
        let bound = self.bounds.partition_point(|bound| *bound < value);
        self.counts.write(|all, access| {
            access.add(&all.by_bound[bound], count as u64);
            add_float(access, &all.sum, value * count as f64);
        });
    }
}

#[derive(Debug, Default)]
struct Counts {
    by_bound: [AtomicU64; MOST_BOUNDS + 1],
    sum: AtomicU64,
}

impl Clear for Counts {
    fn clear(&self) {
        self.by_bound.iter().for_each(AtomicU64::clear);
        self.sum.clear();
    }
}

fn add_float(access: Access, to: &AtomicU64, number: f64) {
    let added = |bits: u64| (f64::from_bits(bits) + number).to_bits();
    match access {
        Access::Sole => to.store(added(to.load(Relaxed)), Relaxed),
        Access::Shared => {
            let _ = to.fetch_update(Relaxed, Relaxed, |bits| Some(added(bits)));
        }
    }
}

const MOST_BOUNDS: usize = NANOS.len();

#[cfg(test)]
mod tests {
    use std::thread;

    use super::*;

    #[test]
    fn values_of_all_threads_add_up() {
        let (counter, gauge) = (Counter::default(), Gauge::default());
        let histogram = Histogram::new(Some(Unit::Seconds));
        thread::scope(|scope| {
            for _ in 0..20 {
                scope.spawn(|| {
                    for _ in 0..1_000 {
                        counter.increment(2);
                        gauge.increment(1.5);
                        gauge.decrement(0.5);
                        histogram.record(0.25);
                    }
                });
            }
        });
        assert_eq!((counter.value(), gauge.value()), (40_000, 20_000.0));
        let counted = histogram.read();
        assert_eq!((counted.cumulative[21], counted.sum), (20_000, 5_000.0));
        gauge.set(7.0);
        gauge.increment(1.0);
        assert_eq!(gauge.value(), 8.0);
        counter.absolute(50_000);
        counter.absolute(10);
        assert_eq!(counter.value(), 50_000);
    }

    #[test]
    fn a_bound_includes_its_value() {
        let histogram = Histogram::new(Some(Unit::Bytes));
        [0.0, 256.0, 257.0, 1e12].into_iter().for_each(|bytes| histogram.record(bytes));
        let counts = histogram.read().cumulative;
        assert_eq!((counts[0], counts[1], counts[11], counts[12]), (2, 3, 3, 4));
    }

    #[test]
    fn traffic_below_five_milliseconds_is_told_apart() {
        let histogram = Histogram::new(None);
        (0..100).for_each(|_| histogram.record(0.0004));
        let half = histogram.read().cumulative.into_iter().position(|count| count >= 50);
        assert_eq!(half.map(|bound| histogram.bounds()[bound]), Some(0.0005));
    }
}
