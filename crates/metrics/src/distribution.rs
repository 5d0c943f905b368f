use std::collections::BTreeMap;
use std::time::Duration;

use crate::{ExponentialHistogram, scale};

/// What a [`Histogram`](crate::Histogram) held when it was read.
///
/// Count, sum, least and greatest are exact; a quantile is at most 1.09 % away
/// from the value that a sorted list of all samples has there.
///
/// ```
/// use std::time::Duration;
/// use tower_edge_metrics::Histogram;
///
/// let histogram = Histogram::new();
/// for millis in 1..=100 {
///     histogram.record(Duration::from_millis(millis));
/// }
/// let p90 = histogram.snapshot().quantile(0.9).unwrap();
/// assert!(p90.abs_diff(Duration::from_millis(90)) < Duration::from_millis(1));
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Distribution {
    /// Counts by bucket, without those that are zero.
    counts: BTreeMap<usize, u64>,
    count: u64,
    sum_nanos: u128,
    /// The least and the greatest value.
    range: Option<(u64, u64)>,
}

impl Distribution {
    /// The number of values.
    pub fn count(&self) -> u64 {
        self.count
    }

    /// All values added up.
    pub fn sum(&self) -> Duration {
        nanos(self.sum_nanos)
    }

    /// The mean; `None` where nothing was recorded.
    pub fn mean(&self) -> Option<Duration> {
        Some(nanos(self.sum_nanos.checked_div(u128::from(self.count))?))
    }

    /// The least value.
    pub fn min(&self) -> Option<Duration> {
        self.range.map(|(min, _)| Duration::from_nanos(min))
    }

    /// The greatest value.
    pub fn max(&self) -> Option<Duration> {
        self.range.map(|(_, max)| Duration::from_nanos(max))
    }

    /// The value that a share of `q` of all values does not exceed: 0.5 is the
    /// median, 0.999 what one value in a thousand is beyond.
    ///
    /// It is the value of nearest rank, so that 1.0 is the greatest one.
    pub fn quantile(&self, q: f64) -> Option<Duration> {
        let (min, max) = self.range?;
        let rank = ((q * self.count as f64).ceil() as u64).clamp(1, self.count);
        if rank == self.count {
            return Some(Duration::from_nanos(max));
        }
        let mut seen = 0;
        let reached = self.counts.iter().find(|(_, count)| {
            seen += **count;
            seen >= rank
        });
        reached.map(|(bucket, _)| Duration::from_nanos(scale::middle(*bucket).clamp(min, max)))
    }

    /// The same, as OpenTelemetry and Prometheus write exponential histograms.
    pub fn exponential(&self) -> ExponentialHistogram {
        ExponentialHistogram::of(self)
    }

    /// Adds the values of another one, as if all had been recorded together.
    pub fn merge(&mut self, other: &Self) {
        for (bucket, count) in &other.counts {
            *self.counts.entry(*bucket).or_default() += count;
        }
        self.count += other.count;
        self.sum_nanos += other.sum_nanos;
        self.widen(other.range);
    }

    /// What was recorded after `earlier`, which was read from the same histogram;
    /// the least and the greatest of it are known by their buckets only.
    pub(crate) fn since(&self, earlier: &Self) -> Self {
        let added = self.counts.iter().filter_map(|(bucket, count)| {
            let before = earlier.counts.get(bucket).copied().unwrap_or(0);
            (*count > before).then(|| (*bucket, count - before))
        });
        let counts: BTreeMap<_, _> = added.collect();
        let sum_nanos = self.sum_nanos.saturating_sub(earlier.sum_nanos);
        Self { count: counts.values().sum(), counts, sum_nanos, range: None }.settled()
    }

    /// The buckets that hold something, in order, with their counts.
    pub(crate) fn counts(&self) -> impl Iterator<Item = (usize, u64)> {
        self.counts.iter().map(|(bucket, count)| (*bucket, *count))
    }

    /// How many values are in buckets before this one, and so many inside it, at
    /// most all of them.
    pub(crate) fn below(&self, bucket: usize, inside: u64) -> u64 {
        let before: u64 = self.counts.range(..bucket).map(|(_, count)| count).sum();
        before + inside.min(self.counts.get(&bucket).copied().unwrap_or(0))
    }

    /// The least and the greatest value, in nanoseconds.
    pub(crate) fn range(&self) -> Option<(u64, u64)> {
        self.range
    }

    /// Takes the exact range of values that were known by their buckets only.
    pub(crate) fn know_range(&mut self, range: Option<(u64, u64)>) {
        if self.count > 0 {
            self.range = range.or(self.range);
        }
    }

    /// The bytes that it owns beside itself, nearly.
    pub(crate) fn memory(&self) -> usize {
        self.counts.len() * size_of::<(usize, u64)>()
    }

    /// Adds what one bucket of a histogram holds.
    pub(crate) fn add(&mut self, bucket: usize, count: u64) {
        if count > 0 {
            *self.counts.entry(bucket).or_default() += count;
            self.count += count;
        }
    }

    /// Adds what a histogram knows beside its buckets.
    pub(crate) fn add_exact(&mut self, sum_nanos: u128, (min, max): (u64, u64)) {
        self.sum_nanos += sum_nanos;
        self.widen((min <= max).then_some((min, max)));
    }

    /// Makes a whole of what was read between the steps of a writer: a value
    /// that no bucket counts yet is left out, and the buckets tell the range
    /// where nothing else does.
    pub(crate) fn settled(mut self) -> Self {
        let (Some((first, _)), Some((last, _))) =
            (self.counts.first_key_value(), self.counts.last_key_value())
        else {
            return Self::default();
        };
        self.range = self.range.or(Some((scale::middle(*first), scale::middle(*last))));
        self
    }

    fn widen(&mut self, range: Option<(u64, u64)>) {
        self.range = match (self.range, range) {
            (Some((a, b)), Some((c, d))) => Some((a.min(c), b.max(d))),
            (one, other) => one.or(other),
        };
    }
}

fn nanos(nanos: u128) -> Duration {
    const SECOND: u128 = 1_000_000_000;
    let seconds = u64::try_from(nanos / SECOND).unwrap_or(u64::MAX);
    Duration::new(seconds, (nanos % SECOND) as u32)
}
