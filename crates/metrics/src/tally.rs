use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};

use crate::detail::CacheUse;
use crate::histogram::Buckets;
use crate::stripes::{Access, Clear, Stripes};
use crate::{CacheUses, Distribution, Measurements, bounds, scale};

/// Measures the requests of one series that ended alike.
///
/// One write at the end of a request: what a scrape wants is made of it when
/// somebody scrapes. For that, counts go up for ever; after a reset, what was
/// there before is taken off by who reads.
#[derive(Debug)]
pub(crate) struct Tally {
    stripes: Stripes<Counts>,
}

impl Default for Tally {
    fn default() -> Self {
        Self { stripes: Stripes::new() }
    }
}

/// What is counted of a request.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Sample {
    /// From the call to the end.
    pub(crate) nanos: u64,
    /// Whether its first byte was there with its end.
    pub(crate) at_once: bool,
    pub(crate) cache: Option<CacheUse>,
    pub(crate) request_bytes: Option<u64>,
    /// None where there is no response.
    pub(crate) response_bytes: Option<u64>,
}

impl Tally {
    pub(crate) fn record(&self, sample: &Sample) {
        match self.stripes.own() {
            (counts, Access::Sole) => counts.record(sample, Access::Sole),
            (counts, Access::Shared) => counts.record_shared(sample),
        }
    }

    /// What was counted since the last reset; who refused and what the outcome
    /// was is not in it.
    pub(crate) fn measurements(&self) -> Measurements {
        let mut all = Measurements::default();
        self.stripes.iter().for_each(|counts| all.merge(&counts.since_reset()));
        all
    }

    pub(crate) fn reset(&self) {
        self.stripes.reset();
    }

    /// The bytes it takes by now.
    pub(crate) fn memory(&self) -> usize {
        self.stripes.memory(Counts::memory)
    }

    /// The times of all requests there ever were, and how many did not exceed
    /// each bound of [`bounds::SECONDS`].
    pub(crate) fn durations(&self) -> (Distribution, [u64; bounds::NANOS.len()]) {
        let (mut all, mut inside) = (Distribution::default(), [0; bounds::NANOS.len()]);
        for counts in self.stripes.iter_ever() {
            add(&mut inside, &counts.inside_bounds);
            counts.at_once.add_to(&mut all);
            counts.later().for_each(|later| later.add_to(&mut all));
        }
        let all = all.settled();
        let mut below = inside;
        for (below, bound) in below.iter_mut().zip(bounds::NANOS) {
            *below = all.below(scale::bucket(bound), *below);
        }
        (all, below)
    }

    /// The sizes of all requests there ever were, by bounds.
    pub(crate) fn request_sizes(&self) -> SizeCounts {
        self.sizes(|counts| &counts.request_sizes)
    }

    /// The same of responses.
    pub(crate) fn response_sizes(&self) -> SizeCounts {
        self.sizes(|counts| &counts.response_sizes)
    }

    fn sizes(&self, of: impl Fn(&Counts) -> &Sizes) -> SizeCounts {
        let mut all = SizeCounts::default();
        for counts in self.stripes.iter_ever() {
            all.sum += of(counts).sum.load(Relaxed);
            add(&mut all.by_bound, &of(counts).by_bound);
        }
        all
    }
}

/// Sizes in bytes, as a scrape has them.
#[derive(Debug, Default)]
pub(crate) struct SizeCounts {
    pub(crate) sum: u64,
    /// At last those that exceed all bounds.
    pub(crate) by_bound: [u64; bounds::BYTES.len() + 1],
}

/// What one stripe counts.
#[derive(Debug, Default)]
struct Counts {
    /// Times to the end that are times to the first byte as well.
    at_once: Buckets,
    /// The other times to the end.
    later: OnceLock<Box<Buckets>>,
    /// For each bound of a scrape, those in the same bucket that do not exceed it.
    inside_bounds: [AtomicU64; bounds::NANOS.len()],
    request_sizes: Sizes,
    response_sizes: Sizes,
    cache: [AtomicU64; CacheUses::KINDS],
    /// What there was at the last reset.
    before: Mutex<Option<Box<Measurements>>>,
}

impl Counts {
    /// Inlined where it is known how to write: then nothing asks for each number.
    #[inline(always)]
    fn record(&self, sample: &Sample, access: Access) {
        let bucket = scale::bucket(sample.nanos);
        let times = match sample.at_once {
            true => &self.at_once,
            false => self.later.get_or_init(Box::default),
        };
        times.record(sample.nanos, bucket, access);
        if let Some(bound) = bounds::inside(bucket)
            && sample.nanos <= bounds::NANOS[bound]
        {
            access.add(&self.inside_bounds[bound], 1);
        }
        if let Some(bytes) = sample.request_bytes {
            self.request_sizes.record(bytes, access);
        }
        if let Some(bytes) = sample.response_bytes {
            self.response_sizes.record(bytes, access);
        }
        if let Some(found) = sample.cache {
            access.add(&self.cache[CacheUses::kind(found)], 1);
        }
    }

    #[inline(never)]
    fn record_shared(&self, sample: &Sample) {
        self.record(sample, Access::Shared);
    }

    fn since_reset(&self) -> Measurements {
        match &*self.before() {
            None => self.ever(),
            Some(before) => {
                let ever = self.ever();
                let mut since = ever.since(before);
                // The least and the greatest were forgotten then.
                since.first_byte.know_range(ever.first_byte.range());
                since.total.know_range(ever.total.range());
                since
            }
        }
    }

    fn ever(&self) -> Measurements {
        let mut ever = Measurements::default();
        self.at_once.add_to(&mut ever.first_byte);
        self.at_once.add_to(&mut ever.total);
        self.later().for_each(|later| later.add_to(&mut ever.total));
        let mut cache = [0; CacheUses::KINDS];
        add(&mut cache, &self.cache);
        ever.cache = CacheUses::from_counts(cache);
        ever.request_bytes = self.request_sizes.sum.load(Relaxed);
        ever.response_bytes = self.response_sizes.sum.load(Relaxed);
        ever.settled()
    }

    fn later(&self) -> impl Iterator<Item = &Buckets> {
        self.later.get().map(|later| &**later).into_iter()
    }

    fn before(&self) -> MutexGuard<'_, Option<Box<Measurements>>> {
        self.before.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The bytes that it owns beside itself.
    fn memory(&self) -> usize {
        let later = self.later().map(|later| size_of::<Buckets>() + later.memory());
        let before = self.before();
        let before = before.as_ref().map(|before| size_of::<Measurements>() + before.memory());
        self.at_once.memory() + later.sum::<usize>() + before.unwrap_or(0)
    }
}

impl Clear for Counts {
    fn clear(&self) {
        *self.before() = Some(Box::new(self.ever()));
        self.at_once.clear_range();
        self.later().for_each(Buckets::clear_range);
    }
}

#[derive(Debug, Default)]
struct Sizes {
    sum: AtomicU64,
    by_bound: [AtomicU64; bounds::BYTES.len() + 1],
}

impl Sizes {
    fn record(&self, bytes: u64, access: Access) {
        access.add(&self.sum, bytes);
        access.add(&self.by_bound[bounds::size(bytes)], 1);
    }
}

fn add(sums: &mut [u64], counts: &[AtomicU64]) {
    sums.iter_mut().zip(counts).for_each(|(sum, count)| *sum += count.load(Relaxed));
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn sample(nanos: u64, at_once: bool) -> Sample {
        let (request_bytes, response_bytes) = (Some(nanos), (!at_once).then_some(nanos));
        Sample { nanos, at_once, cache: None, request_bytes, response_bytes }
    }

    /// Values of all sizes, those next to a bound among them.
    fn nanos() -> impl Strategy<Value = u64> {
        let beside = (0..bounds::NANOS.len(), 0..3_u64).prop_map(|(i, d)| bounds::NANOS[i] + d - 1);
        prop_oneof![beside, 0..100_000_000_u64, 0..100_000_000_000_u64]
    }

    proptest! {
        #[test]
        fn a_scrape_is_what_counting_by_its_bounds_would_give(
            values in prop::collection::vec((nanos(), any::<bool>()), 0..200)
        ) {
            let tally = Tally::default();
            for (i, (nanos, at_once)) in values.iter().enumerate() {
                tally.record(&sample(*nanos, *at_once));
                // Prometheus would take a count that goes down for a restart.
                if i == 50 {
                    tally.reset();
                }
            }
            let (all, below) = tally.durations();
            let not_above = |bound: u64| values.iter().filter(|(nanos, _)| *nanos <= bound).count();
            prop_assert_eq!(below, bounds::NANOS.map(|bound| not_above(bound) as u64));
            prop_assert_eq!(all.count(), values.len() as u64);
            let sum: u64 = values.iter().map(|(nanos, _)| nanos).sum();
            prop_assert_eq!(all.sum().as_nanos(), u128::from(sum));
            let (requests, responses) = (tally.request_sizes(), tally.response_sizes());
            prop_assert_eq!(requests.sum, sum);
            prop_assert_eq!(requests.by_bound.iter().sum::<u64>(), values.len() as u64);
            let answered = values.iter().filter(|(_, at_once)| !at_once).count() as u64;
            prop_assert_eq!(responses.by_bound.iter().sum::<u64>(), answered);
        }
    }

    #[test]
    fn after_a_reset_only_what_came_since_is_measured() {
        let tally = Tally::default();
        for nanos in [7_000_000, 9_000_000] {
            tally.record(&sample(nanos, true));
            tally.record(&sample(nanos, false));
            tally.reset();
        }
        assert_eq!(tally.measurements(), Measurements::default());
        tally.record(&sample(5_000_000, false));
        tally.record(&sample(8_000_000, true));
        let since = tally.measurements();
        assert_eq!((since.total.count(), since.first_byte.count()), (2, 1));
        assert_eq!(since.total.range(), Some((5_000_000, 8_000_000)));
        assert_eq!(since.first_byte.range(), Some((8_000_000, 8_000_000)));
        assert_eq!(since.total.sum().as_nanos(), 13_000_000);
        assert_eq!((since.request_bytes, since.response_bytes), (13_000_000, 5_000_000));
        assert_eq!(tally.durations().0.count(), 6);
    }
}
