use std::sync::Arc;

use http::Uri;
use tower_edge_core::{BoxError, Target};

use crate::counts::Count;
use crate::memo::Memo;
use crate::purges::{Purge, Scope};
use crate::shared::Shared;
use crate::tier::TierStats;
use crate::top::TopKey;

/// Looks into a cache, and purges it, while it runs.
///
/// Purges cost the same however much is stored. They hold for what is on its way
/// into the cache too, and who asks after a purge never waits for a request from
/// before it.
///
/// ```
/// use tower_edge_cache::{CacheLayer, Purge};
///
/// let handle = CacheLayer::new(256 << 20).handle();
/// handle.purge_tag("product-7", Purge::Soft);
/// handle.purge_prefix(&"https://shop.example/products".parse()?, Purge::Hard);
/// # Ok::<(), http::uri::InvalidUri>(())
/// ```
///
/// # Limits
///
/// What was purged is noted, up to 65,536 tags, prefixes and targets, and up to a
/// 64th of the capacity, which is set aside for it. When there are more, the oldest
/// becomes a soft purge of all that was not asked for since, which after a hard one
/// is served only when the origin has validated it;
/// [`CachePurgesCollapsed`](tower_edge_core::Event::CachePurgesCollapsed) tells.
#[derive(Clone, Debug)]
pub struct CacheHandle {
    shared: Arc<Shared>,
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
    /// Requests that went upstream because nothing that is stored could answer.
    pub misses: u64,
    /// All others: those that are not for a cache, unsafe ones among them, and
    /// those that wanted only what is stored, and in vain.
    pub passed: u64,
    /// Responses that were stored.
    pub stored: u64,
    /// Responses that had to go because the cache was full, or that were not let
    /// in for others that are asked for more often.
    pub evicted: u64,
    /// Responses held now.
    pub entries: u64,
    /// Resources held now; each may have several responses.
    pub resources: u64,
    /// Bytes held now: bodies, fields, keys, purges and what the table itself needs.
    pub bytes: u64,
    /// Bytes of bodies on their way into the cache, which come on top of that.
    pub arriving: u64,
}

impl CacheStats {
    /// The part of the requests for what may be stored that was answered from
    /// memory without the origin, fresh or stale; 0 before the first one.
    ///
    /// Those that shared the answer to another, and those that the origin was asked
    /// about, are no hits.
    pub fn hit_ratio(&self) -> f64 {
        let hits = self.hits + self.stale;
        let all = hits + self.validated + self.collapsed + self.misses;
        if all == 0 { 0.0 } else { hits as f64 / all as f64 }
    }
}

impl CacheHandle {
    pub(crate) fn new(shared: Arc<Shared>) -> Self {
        Self { shared }
    }

    /// What the cache did and holds. It does pending upkeep first, so that the
    /// sizes are exact: not for every request.
    pub fn stats(&self) -> CacheStats {
        let counts = &self.shared.counts;
        let size = self.shared.store.size();
        CacheStats {
            hits: counts.of(Count::Hit),
            stale: counts.of(Count::Stale),
            validated: counts.of(Count::Validated),
            collapsed: counts.of(Count::Collapsed),
            misses: counts.of(Count::Missed),
            passed: counts.of(Count::Passed),
            stored: counts.of(Count::Stored),
            evicted: size.evicted,
            entries: size.entries,
            resources: size.resources,
            bytes: size.bytes,
            arriving: self.shared.room.taken(),
        }
    }

    /// What the tier behind memory was asked for; `None` without one.
    pub fn tier(&self) -> Option<TierStats> {
        let behind = self.shared.store.behind()?;
        Some(behind.figures.stats(behind.tier.name()))
    }

    /// Up to `most` of the URIs that were asked for most in the last five to ten
    /// minutes, those first, whoever asked for them and whatever was the answer.
    ///
    /// The counts are estimates. One request in 16 is looked at, by chance: of what was
    /// asked for `n` times, the count is mostly within `8 * sqrt(n)` of that. What of
    /// it is counted, and what is forgotten, is decided by Space-Saving (Metwally and
    /// others, ICDT 2005) with 64 counters for each fourth of the threads, so that it
    /// takes up to 300 KiB however many URIs there are: [`TopKey::error`] says by how
    /// much a count may be wrong for that. What was asked for more often than one in
    /// 64 times is there. URIs of more than 512 bytes are not.
    pub fn top_keys(&self, most: usize) -> Vec<TopKey> {
        self.shared.top.keys(self.shared.clock.now(), most)
    }

    /// Purges all responses of one URI, whoever's they are and whatever they vary
    /// on.
    ///
    /// The URI is to be absolute: another one is that of nothing. Its query is read
    /// as that of a request.
    pub fn purge(&self, uri: &Uri, purge: Purge) {
        let named = self.shared.keys.shared(Target::from_uri(uri));
        self.shared.purge(Scope::Target(named.resource().target), purge);
    }

    /// Purges the responses that have a tag, exactly as it is written, in one of
    /// the [`tag_fields`](crate::CacheLayer::tag_fields).
    pub fn purge_tag(&self, tag: &str, purge: Purge) {
        self.shared.purge(Scope::Tag(tag), purge);
    }

    /// Purges the responses below an absolute URI.
    ///
    /// The path ends with a segment: `/a` covers `/a`, `/a?b` and `/a/b`, but not
    /// `/ab`; `/a/` covers `/a/b`, but not `/a`. Scheme and authority are those
    /// of the [effective target](Target); a query is not looked at.
    pub fn purge_prefix(&self, uri: &Uri, purge: Purge) {
        self.shared.purge(Scope::Prefix(Target::from_uri(uri)), purge);
    }

    /// The cache for functions: what it stores shares the memory of this cache, and
    /// the tier behind it. Memos of one name are one.
    ///
    /// # Panics
    ///
    /// If there is a slash in the name.
    pub fn memo(&self, name: &str) -> Memo {
        Memo::new(self.shared.clone(), name)
    }

    /// Tells the tier behind memory what it does not know yet; at once if there is
    /// none. To be awaited before the end of the process.
    ///
    /// Dropping the future loses nothing: what was not told is told later.
    ///
    /// # Errors
    ///
    /// If the tier fails; the rest is then kept for the next time.
    pub async fn flush(&self) -> Result<(), BoxError> {
        match self.shared.store.behind() {
            Some(behind) => self.shared.flush(behind).await,
            None => Ok(()),
        }
    }

    /// Purges all responses.
    pub fn purge_all(&self, purge: Purge) {
        self.shared.purge(Scope::Everything, purge);
    }
}
