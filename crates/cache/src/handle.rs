use std::sync::Arc;
use std::sync::atomic::Ordering;

use crate::shared::Counts;
use crate::store::Store;

/// Looks into a cache, and empties it, while it runs.
#[derive(Clone, Debug)]
pub struct CacheHandle {
    store: Arc<Store>,
    counts: Arc<Counts>,
}

/// What a cache did since it was made, and what it holds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct CacheStats {
    /// Requests answered from memory with a fresh response.
    pub hits: u64,
    /// Requests answered from memory though the response was stale: the client
    /// allowed it, or the origin failed.
    pub stale: u64,
    /// Requests answered from memory after the origin said 304.
    pub validated: u64,
    /// Requests that waited for one that was forwarded before them, and share
    /// what came of that.
    pub collapsed: u64,
    /// All other requests.
    pub forwarded: u64,
    /// Responses that were stored.
    pub stored: u64,
    /// Resources held now; each may have several variants.
    pub resources: u64,
    /// Bytes held now: bodies, fields, keys and what the table itself needs.
    pub bytes: u64,
}

impl CacheHandle {
    pub(crate) fn new(store: Arc<Store>, counts: Arc<Counts>) -> Self {
        Self { store, counts }
    }

    /// What the cache did and holds. It does pending upkeep first, so that the
    /// sizes are exact: not for every request.
    pub fn stats(&self) -> CacheStats {
        let counts = &self.counts;
        let (resources, bytes) = self.store.size();
        CacheStats {
            hits: counts.hits.load(Ordering::Relaxed),
            stale: counts.stale.load(Ordering::Relaxed),
            validated: counts.validated.load(Ordering::Relaxed),
            collapsed: counts.collapsed.load(Ordering::Relaxed),
            forwarded: counts.forwarded.load(Ordering::Relaxed),
            stored: counts.stored.load(Ordering::Relaxed),
            resources,
            bytes,
        }
    }

    /// Removes all stored responses; those on their way are not stored.
    pub fn clear(&self) {
        self.store.clear();
    }
}
