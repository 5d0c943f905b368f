use std::borrow::Cow;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Instant;

use crate::heap::allocated;
use crate::policy::Kept;

/// What an entry knows of purges.
///
/// Made by default, it is older than all of them.
#[derive(Debug, Default)]
pub(crate) struct Mark {
    /// The newest purge that it was compared with, or that was before it.
    seen: AtomicU64,
    /// Digests of its tags.
    tags: Box<[u64]>,
    /// There if a soft purge was about it.
    since: OnceLock<Instant>,
    /// Whether it may be one that a hard purge was about.
    doubtful: AtomicBool,
}

impl Mark {
    /// The mark of an entry that was asked for when the purge `seen` was the
    /// newest.
    pub(crate) fn new(seen: u64, tags: Box<[u64]>) -> Self {
        Self { seen: seen.into(), tags, ..Self::default() }
    }

    /// A mark that knows the same purges, for other tags as well.
    pub(crate) fn with_tags(&self, tags: Box<[u64]>) -> Self {
        let tags = self.tags.iter().chain(&tags).copied().collect();
        Self { tags, ..self.clone() }
    }

    pub(crate) fn seen(&self) -> u64 {
        self.seen.load(Ordering::Acquire)
    }

    /// Says that the entry was compared with all purges up to this one.
    pub(crate) fn see(&self, number: u64) {
        self.seen.fetch_max(number, Ordering::AcqRel);
    }

    pub(crate) fn tags(&self) -> &[u64] {
        &self.tags
    }

    /// Notes a soft purge; the first one counts.
    pub(crate) fn stale(&self, since: Instant, doubtful: bool) {
        if doubtful {
            self.doubtful.store(true, Ordering::Release);
        }
        self.since.get_or_init(|| since);
    }

    /// Since when the entry is stale by a purge.
    pub(crate) fn since(&self) -> Option<Instant> {
        self.since.get().copied()
    }

    pub(crate) fn is_stale(&self) -> bool {
        self.since().is_some()
    }

    /// Whether only the origin can say if the entry is good.
    pub(crate) fn is_doubtful(&self) -> bool {
        self.doubtful.load(Ordering::Acquire)
    }

    /// What is left of this by purges: nothing of its freshness, even if `now` was
    /// read before the last of them.
    pub(crate) fn purged<'a>(&self, kept: &'a Kept, now: Instant) -> Cow<'a, Kept> {
        match self.since.get() {
            None => Cow::Borrowed(kept),
            Some(&since) => Cow::Owned(Kept {
                freshness: kept.freshness.ended(since.min(now)),
                no_cache: kept.no_cache || self.is_doubtful(),
                ..*kept
            }),
        }
    }

    /// What it takes of memory beside itself, in bytes.
    pub(crate) fn weight(&self) -> usize {
        allocated(size_of_val(&*self.tags))
    }
}

impl Clone for Mark {
    fn clone(&self) -> Self {
        // What was noted of the purges up to that one is there then.
        let seen = self.seen().into();
        let doubtful = self.is_doubtful().into();
        Self { seen, doubtful, since: self.since.clone(), tags: self.tags.clone() }
    }
}
