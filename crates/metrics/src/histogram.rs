use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use super::stripes::{Access, Clear, Stripes};
use super::sync::{AtomicU64, OnceLock};
use crate::Distribution;
use crate::scale::{OCTAVES, PER_OCTAVE, bucket};

/// Counts durations, from any number of threads and without locks.
///
/// A base-2 exponential histogram of scale 5: 32 buckets an octave from 1 us to
/// 1 h, in which a quantile is found to within 1.09 %. What is shorter or longer
/// is in the first or last bucket; sum, least and greatest are exact for it too.
///
/// Each of the first 8 threads has a stripe for itself, and the others are spread
/// over 8 more; no two share a cache line. A stripe is made when its first thread
/// records, and an octave of it when a value falls into it: one stripe whose
/// values span a factor of 32 takes less than 2 KiB. After that nothing
/// allocates. Reading stops nobody: what is recorded meanwhile may be in it or
/// not.
#[derive(Debug)]
pub struct Histogram {
    stripes: Stripes<Buckets>,
}

impl Default for Histogram {
    fn default() -> Self {
        Self::new()
    }
}

impl Histogram {
    /// Makes an empty histogram.
    pub fn new() -> Self {
        Self { stripes: Stripes::new() }
    }

    /// Counts one value.
    pub fn record(&self, value: Duration) {
        let nanos = nanos(value);
        self.stripes.write(|stripe, access| stripe.record(nanos, bucket(nanos), access));
    }

    /// What was recorded up to now, by all threads.
    pub fn snapshot(&self) -> Distribution {
        let mut all = Distribution::default();
        self.stripes.iter().for_each(|stripe| stripe.add_to(&mut all));
        all.settled()
    }

    /// Starts again from nothing; what is recorded meanwhile may be lost.
    pub fn reset(&self) {
        self.stripes.reset();
    }

    /// The bytes it takes by now.
    pub fn memory(&self) -> usize {
        self.stripes.memory(Buckets::memory)
    }
}

/// What one stripe counts.
#[derive(Debug)]
pub(crate) struct Buckets {
    /// Nanoseconds, and how often they went past 2^64: 584 years, which a
    /// service with ten thousand streams has measured in three weeks.
    sum: AtomicU64,
    sum_wrapped: AtomicU64,
    min: AtomicU64,
    max: AtomicU64,
    octaves: [OnceLock<Box<Octave>>; OCTAVES],
}

impl Default for Buckets {
    fn default() -> Self {
        Self {
            sum: AtomicU64::new(0),
            sum_wrapped: AtomicU64::new(0),
            min: AtomicU64::new(u64::MAX),
            max: AtomicU64::new(0),
            octaves: std::array::from_fn(|_| OnceLock::new()),
        }
    }
}

impl Buckets {
    /// Counts one value, which belongs into this bucket.
    #[inline]
    pub(crate) fn record(&self, nanos: u64, bucket: usize, access: Access) {
        access.lower(&self.min, nanos);
        access.raise(&self.max, nanos);
        let before = access.add(&self.sum, nanos);
        if before.checked_add(nanos).is_none() {
            access.add(&self.sum_wrapped, 1);
        }
        let octave = match self.octaves[bucket / PER_OCTAVE].get() {
            Some(octave) => octave,
            None => self.make(bucket / PER_OCTAVE),
        };
        access.add(&octave.0[bucket % PER_OCTAVE], 1);
    }

    /// Adds what was counted since it was made or cleared.
    pub(crate) fn add_to(&self, all: &mut Distribution) {
        for (first, octave) in self.made() {
            for (i, count) in octave.0.iter().enumerate() {
                all.add(first + i, count.load(Relaxed));
            }
        }
        let sum =
            (u128::from(self.sum_wrapped.load(Relaxed)) << 64) + u128::from(self.sum.load(Relaxed));
        all.add_exact(sum, (self.min.load(Relaxed), self.max.load(Relaxed)));
    }

    /// Forgets the least and the greatest.
    pub(crate) fn clear_range(&self) {
        self.min.store(u64::MAX, Relaxed);
        self.max.clear();
    }

    /// The bytes that it owns beside itself.
    pub(crate) fn memory(&self) -> usize {
        self.made().count() * size_of::<Octave>()
    }

    #[cold]
    #[inline(never)]
    fn make(&self, octave: usize) -> &Octave {
        self.octaves[octave].get_or_init(Box::default)
    }

    /// The octaves that hold something, each with the number of its first bucket.
    fn made(&self) -> impl Iterator<Item = (usize, &Octave)> {
        let octaves = self.octaves.iter().enumerate();
        octaves.filter_map(|(i, octave)| Some((i * PER_OCTAVE, &**octave.get()?)))
    }
}

impl Clear for Buckets {
    fn clear(&self) {
        for (_, octave) in self.made() {
            octave.0.iter().for_each(AtomicU64::clear);
        }
        self.sum.clear();
        self.sum_wrapped.clear();
        self.clear_range();
    }
}

/// 584 years are the longest time there is.
pub(crate) fn nanos(value: Duration) -> u64 {
    u64::try_from(value.as_nanos()).unwrap_or(u64::MAX)
}

#[derive(Debug, Default)]
#[repr(align(128))]
struct Octave([AtomicU64; PER_OCTAVE]);
