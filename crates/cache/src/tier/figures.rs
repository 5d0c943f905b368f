use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// What a [`Tier`](super::Tier) was asked for, and how long that took.
///
/// Looks whose futures were dropped do not count.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct TierStats {
    /// What it is called.
    pub name: &'static str,
    /// Looks that found records.
    pub hits: u64,
    /// Looks that found none.
    pub misses: u64,
    /// Looks that failed.
    pub errors: u64,
    /// What all looks took together.
    pub time: Duration,
    /// What the longest of them took.
    pub longest: Duration,
}

impl TierStats {
    /// What a look takes on average; zero before the first one.
    pub fn mean(&self) -> Duration {
        let looks = self.hits + self.misses + self.errors;
        let nanos = self.time.as_nanos().checked_div(looks.into()).unwrap_or_default();
        Duration::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX))
    }
}

/// Counts looks.
#[derive(Debug, Default)]
pub(crate) struct Figures {
    hits: AtomicU64,
    misses: AtomicU64,
    errors: AtomicU64,
    /// In nanoseconds, as the next.
    time: AtomicU64,
    longest: AtomicU64,
}

impl Figures {
    /// Counts a look that took so long and found so many records; `None` if it
    /// failed.
    pub(crate) fn count(&self, took: Duration, found: Option<usize>) {
        let counter = match found {
            Some(0) => &self.misses,
            Some(_) => &self.hits,
            None => &self.errors,
        };
        counter.fetch_add(1, Ordering::Relaxed);
        let nanos = u64::try_from(took.as_nanos()).unwrap_or(u64::MAX);
        self.time.fetch_add(nanos, Ordering::Relaxed);
        self.longest.fetch_max(nanos, Ordering::Relaxed);
    }

    /// What was counted so far, for a tier of this name.
    pub(crate) fn stats(&self, name: &'static str) -> TierStats {
        let load = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        TierStats {
            name,
            hits: load(&self.hits),
            misses: load(&self.misses),
            errors: load(&self.errors),
            time: Duration::from_nanos(load(&self.time)),
            longest: Duration::from_nanos(load(&self.longest)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn looks_are_counted_by_what_they_found() {
        let figures = Figures::default();
        assert_eq!(figures.stats("t").mean(), Duration::ZERO);
        let millis = Duration::from_millis;
        for (took, found) in [(3, Some(2)), (1, Some(0)), (1, Some(0)), (7, None)] {
            figures.count(millis(took), found);
        }
        let stats = figures.stats("t");
        assert_eq!((stats.name, stats.hits, stats.misses, stats.errors), ("t", 1, 2, 1));
        assert_eq!((stats.time, stats.longest, stats.mean()), (millis(12), millis(7), millis(3)));
    }
}
