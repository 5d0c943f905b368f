use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

/// Counts what became of requests, each thread in a stripe that it rarely shares:
/// one counter for all would cost more than the rest of a hit.
#[derive(Debug)]
pub(crate) struct Counts(Box<[Stripe]>);

/// What is counted.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Count {
    Hit,
    Stale,
    Validated,
    Collapsed,
    Missed,
    Passed,
    Stored,
}

impl Counts {
    pub(crate) fn add(&self, count: Count) {
        let Stripe(counters) = &self.0[thread_slot() % STRIPES];
        counters[count as usize].fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn of(&self, count: Count) -> u64 {
        let counters = self.0.iter().map(|Stripe(counters)| &counters[count as usize]);
        counters.map(|counter| counter.load(Ordering::Relaxed)).sum()
    }
}

impl Default for Counts {
    fn default() -> Self {
        Self((0..STRIPES).map(|_| Stripe::default()).collect())
    }
}

/// Counts the responses that come and go.
#[derive(Debug, Default)]
pub(crate) struct Held {
    entries: AtomicU64,
    evicted: AtomicU64,
}

impl Held {
    pub(crate) fn enter(&self, count: usize) {
        self.entries.fetch_add(count as u64, Ordering::Relaxed);
    }

    pub(crate) fn leave(&self, count: usize, evicted: bool) {
        self.entries.fetch_sub(count as u64, Ordering::Relaxed);
        if evicted {
            self.evicted.fetch_add(count as u64, Ordering::Relaxed);
        }
    }

    pub(crate) fn entries(&self) -> u64 {
        self.entries.load(Ordering::Relaxed)
    }

    pub(crate) fn evicted(&self) -> u64 {
        self.evicted.load(Ordering::Relaxed)
    }
}

/// A number for this thread: those that come one after another have different ones.
pub(crate) fn thread_slot() -> usize {
    static NEXT: AtomicUsize = AtomicUsize::new(0);
    thread_local!(static SLOT: usize = NEXT.fetch_add(1, Ordering::Relaxed));
    SLOT.with(|slot| *slot)
}

/// Two lines of 64 bytes, because processors fetch them in pairs.
#[derive(Debug, Default)]
#[repr(align(128))]
struct Stripe([AtomicU64; Count::Stored as usize + 1]);

const STRIPES: usize = 16;
