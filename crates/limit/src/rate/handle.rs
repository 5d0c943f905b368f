use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::runtime::Handle;
use tower_edge_core::Key;

use super::queue::Line;
use super::quota::Quota;
use super::rule::Verdict;
use super::shared::Shared;
use super::sharing::Sharing;

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
    /// How often a [store](crate::RateLimitLayer::store) was asked about a key.
    pub asked: u64,
    /// How often it gave no answer.
    pub failed: u64,
    /// Requests that were decided without it, as
    /// [`on_outage`](crate::RateLimitLayer::on_outage) says.
    pub unasked: u64,
    /// How many nodes share the quotas, as far as it is known; at least one.
    pub nodes: u32,
}

impl LimitHandle {
    pub(super) fn new(shared: Arc<Shared>) -> Self {
        Self { shared }
    }

    /// What the layer did.
    pub fn stats(&self) -> LimitStats {
        let (counts, sharing) = (&self.shared.counts, self.shared.sharing.as_deref());
        let shared = |count: fn(&Sharing) -> &AtomicU64| {
            sharing.map_or(0, |sharing| count(sharing).load(Ordering::Relaxed))
        };
        LimitStats {
            refused: counts.refused.load(Ordering::Relaxed),
            would_refuse: counts.would_refuse.load(Ordering::Relaxed),
            waited: counts.waited.load(Ordering::Relaxed),
            waiting: self.shared.queues.waiting() as u64,
            evicted: counts.evicted.load(Ordering::Relaxed),
            asked: shared(|sharing| &sharing.asked),
            failed: shared(|sharing| &sharing.failed),
            unasked: shared(|sharing| &sharing.unasked),
            nodes: sharing.map_or(1, |sharing| sharing.nodes.load(Ordering::Relaxed)),
        }
    }

    /// Sets the quota by this name from now on; false if there is none.
    ///
    /// Keys go on where they stand: what they have used stays used and comes back
    /// at the new rate. Only a burst that is hundreds of times as large as all before,
    /// or a change between a rate and a quota in [any window](Quota::in_any), lets
    /// all start anew. Requests meanwhile are decided by the one or the other.
    ///
    /// With a [store](crate::RateLimitLayer::store) it holds for this node; each has to
    /// be told. A quota in any window is not set then, and false is told.
    pub fn swap(&self, name: &str, quota: Quota) -> bool {
        let shared = &self.shared;
        let Some(bucket) = shared.named(name) else { return false };
        let Some(sharing) = &shared.sharing else {
            shared.set_quota(bucket, quota);
            shared.buckets[usize::from(bucket)].swap(&quota, shared.now());
            return true;
        };
        if quota.bursts().is_none() {
            return false;
        }
        shared.set_quota(bucket, quota);
        shared.set_part(bucket, sharing.nodes.load(Ordering::Relaxed));
        let backs = sharing.leases.forget(|line| line.bucket == bucket);
        if let Ok(runtime) = Handle::try_current() {
            let shared = shared.clone();
            drop(runtime.spawn(async move { shared.give_back(backs).await }));
        }
        true
    }

    /// How a key stands by the quota of this name; none if there is no such quota.
    ///
    /// [`Key::GLOBAL`] is that of a limit that everybody shares. A key that was
    /// never seen has all permits. With a [store](crate::RateLimitLayer::store) it is
    /// told what this node has of it in hand.
    pub fn read(&self, name: &str, key: &Key) -> Option<KeyState> {
        let standing = self.shared.standing_of(self.line(name, key)?, self.shared.now(), false);
        let wait = if standing.available > 0 { 0 } else { standing.within };
        let wait = Duration::from_nanos(wait);
        Some(KeyState { available: standing.available, owed: standing.owed, wait })
    }

    /// Charges a key outside of a request, if it has the permits: for what is no
    /// request, such as a message of a WebSocket. None if there is no such quota.
    ///
    /// With a [store](crate::RateLimitLayer::store) it has those that this node has in
    /// hand. What is missing is asked for, so that it may be there a moment later. None
    /// also where each charge [has to be asked for](crate::RateLimitLayer::exact).
    pub fn charge(&self, name: &str, key: &Key, permits: u32) -> Option<bool> {
        let (shared, line) = (&self.shared, self.line(name, key)?);
        match shared.sharing.is_none() && shared.charge_roughly(line, permits) {
            true => Some(true),
            false => self.charge_precisely(line, key, permits),
        }
    }

    /// Gives a key all permits of the quota by this name back; false if there is no
    /// such quota.
    ///
    /// With a [store](crate::RateLimitLayer::store) it is told so in a task. Other nodes
    /// that know that there is nothing left learn of it when there would have been
    /// something anyway.
    pub fn reset(&self, name: &str, key: &Key) -> bool {
        let Some(line) = self.line(name, key) else { return false };
        self.shared.buckets[usize::from(line.bucket)].reset(line.spot, self.shared.now());
        self.shared.reset_shared(line, *key);
        true
    }

    /// Charges a key by the time, apart from what most charges take.
    #[inline(never)]
    fn charge_precisely(&self, line: Line, key: &Key, permits: u32) -> Option<bool> {
        let shared = &self.shared;
        if let Some(sharing) = &shared.sharing {
            return shared.charge_in_hand(sharing, line, key, permits);
        }
        let bucket = &shared.buckets[usize::from(line.bucket)];
        let tried = bucket.charge(line.spot, shared.now(), permits);
        if tried.evicted {
            shared.tell_of_eviction();
        }
        Some(matches!(tried.verdict, Verdict::Admit { .. }))
    }

    fn line(&self, name: &str, key: &Key) -> Option<Line> {
        Some(Line { bucket: self.shared.named(name)?, spot: self.shared.spot(key) })
    }
}
