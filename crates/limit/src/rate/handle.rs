use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use tower_edge_core::Key;

use super::quota::Quota;
use super::rule::Verdict;
use super::shared::Shared;

/// Looks into the quotas of a layer, and changes them while it runs.
///
/// Quotas are known by the names of their limits and tiers.
#[derive(Clone, Debug)]
pub struct LimitHandle {
    shared: Arc<Shared>,
}

/// How a key stands by one quota.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct KeyState {
    /// The permits that are there at once.
    pub available: u32,
    /// The permits owed beyond the burst.
    pub owed: u32,
    /// Until there is a permit; zero if there is one.
    pub wait: Duration,
}

/// What a layer did since it was made.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct LimitStats {
    /// Requests that were refused.
    pub refused: u64,
    /// Requests that would have been, by a layer that only watches.
    pub would_refuse: u64,
    /// Requests that were admitted after they had waited.
    pub waited: u64,
    /// Requests that wait now.
    pub waiting: u64,
    /// Keys in use that were forgotten for want of room.
    pub evicted: u64,
}

impl LimitHandle {
    pub(super) fn new(shared: Arc<Shared>) -> Self {
        Self { shared }
    }

    /// What the layer did.
    pub fn stats(&self) -> LimitStats {
        let counts = &self.shared.counts;
        LimitStats {
            refused: counts.refused.load(Ordering::Relaxed),
            would_refuse: counts.would_refuse.load(Ordering::Relaxed),
            waited: counts.waited.load(Ordering::Relaxed),
            waiting: self.shared.queues.waiting() as u64,
            evicted: counts.evicted.load(Ordering::Relaxed),
        }
    }

    /// Sets the quota by this name from now on; false if there is none.
    ///
    /// Keys go on where they stand: what they have used stays used and comes back
    /// at the new rate. Only a burst that is hundreds of times as large as all before,
    /// or a change between a rate and a quota in [any window](Quota::in_any), lets
    /// all start anew. Requests meanwhile are decided by the one or the other.
    pub fn swap(&self, name: &str, quota: Quota) -> bool {
        let bucket = self.shared.bucket(name);
        bucket.map(|bucket| bucket.swap(&quota, self.shared.now())).is_some()
    }

    /// How a key stands by the quota of this name; none if there is no such quota.
    ///
    /// [`Key::GLOBAL`] is that of a limit that everybody shares. A key that was
    /// never seen has all permits.
    pub fn read(&self, name: &str, key: &Key) -> Option<KeyState> {
        let bucket = self.shared.bucket(name)?;
        let standing = bucket.standing(self.shared.spot(key), self.shared.now());
        let wait = if standing.available > 0 { 0 } else { standing.within };
        let wait = Duration::from_nanos(wait);
        Some(KeyState { available: standing.available, owed: standing.owed, wait })
    }

    /// Charges a key outside of a request, if it has the permits: for what is no
    /// request, such as a message of a WebSocket. None if there is no such quota.
    pub fn charge(&self, name: &str, key: &Key, permits: u32) -> Option<bool> {
        let bucket = self.shared.bucket(name)?;
        let tried = bucket.charge(self.shared.spot(key), self.shared.now(), permits);
        if tried.evicted {
            self.shared.tell_of_eviction();
        }
        Some(matches!(tried.verdict, Verdict::Admit { .. }))
    }

    /// Gives a key all permits of the quota by this name back; false if there is no
    /// such quota.
    pub fn reset(&self, name: &str, key: &Key) -> bool {
        let bucket = self.shared.bucket(name);
        bucket.map(|bucket| bucket.reset(self.shared.spot(key), self.shared.now())).is_some()
    }
}
