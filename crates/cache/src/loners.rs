use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use crate::resource::ResourceKey;

/// The resources of which it was found lately that a response is of no use to
/// others: whoever asks for one goes upstream at once, and waits for nobody.
///
/// Bounded: resources that share a place are taken for each other at times, and
/// only go upstream more often for that.
#[derive(Debug)]
pub(crate) struct Loners {
    /// Milliseconds since `start` until which a resource is known for that, and, in
    /// the lowest bit, whether something is stored for it.
    until: Box<[AtomicU64]>,
    start: Instant,
}

impl Loners {
    pub(crate) fn new(start: Instant) -> Self {
        let until = (0..PLACES).map(|_| AtomicU64::new(0)).collect();
        Self { until, start }
    }

    pub(crate) fn note(&self, key: &ResourceKey, now: Instant, is_stored: bool) {
        let until = self.millis(now + MEMORY) << 1 | u64::from(is_stored);
        self.place(key).store(until, Ordering::Relaxed);
    }

    /// Something is stored for a resource.
    pub(crate) fn stored(&self, key: &ResourceKey) {
        self.place(key).fetch_or(1, Ordering::Relaxed);
    }

    pub(crate) fn forget(&self, key: &ResourceKey) {
        self.place(key).store(0, Ordering::Relaxed);
    }

    /// Whether it is one, and, if so, whether something is stored for it.
    pub(crate) fn knows(&self, key: &ResourceKey, now: Instant) -> Option<bool> {
        let noted = self.place(key).load(Ordering::Relaxed);
        (self.millis(now) < noted >> 1).then_some(noted & 1 == 1)
    }

    fn place(&self, key: &ResourceKey) -> &AtomicU64 {
        &self.until[key.hash() as usize % PLACES]
    }

    fn millis(&self, moment: Instant) -> u64 {
        moment.saturating_duration_since(self.start).as_millis() as u64
    }
}

/// How long a resource is known for a loner.
const MEMORY: Duration = Duration::from_secs(60);

const PLACES: usize = 4096;
