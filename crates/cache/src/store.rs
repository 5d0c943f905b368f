use std::cmp::Reverse;
use std::fmt;
use std::hash::{Hash, Hasher};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use ahash::RandomState;
use http::Uri;
use moka::Equivalent;
use moka::ops::compute::Op;
use moka::sync::Cache;
use tower_edge_core::Target;

use crate::entry::Entry;
use crate::variants::Variants;

/// The stored responses, bounded by the memory they take.
///
/// moka decides who stays (TinyLFU). Its expiry is not used: freshness is the
/// policy's business, and a stale response is still worth validating.
pub(crate) struct Store {
    resources: Cache<ResourceKey, Variants, RandomState>,
    epochs: Box<[AtomicU64]>,
    seed: RandomState,
}

/// The target of stored responses, with memory of its own.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ResourceKey(Uri);

/// The right to store what was asked for at this moment; an invalidation since
/// takes it away.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Ticket {
    slot: usize,
    epoch: u64,
}

impl Store {
    pub(crate) fn new(capacity: u64) -> Self {
        let weigh = |key: &ResourceKey, variants: &Variants| {
            let weight = key.weight() + variants.iter().map(|entry| entry.weight()).sum::<usize>();
            u32::try_from(weight).unwrap_or(u32::MAX)
        };
        let seed = RandomState::new();
        let resources = Cache::builder().max_capacity(capacity).weigher(weigh);
        Self {
            resources: resources.build_with_hasher(seed.clone()),
            epochs: (0..EPOCHS).map(|_| AtomicU64::new(0)).collect(),
            seed,
        }
    }

    pub(crate) fn get(&self, target: &Target<'_>) -> Option<Variants> {
        self.resources.get(target)
    }

    /// To be drawn before the request goes upstream.
    pub(crate) fn ticket(&self, key: &ResourceKey) -> Ticket {
        let slot = self.slot(key);
        Ticket { slot, epoch: self.epochs[slot].load(Ordering::SeqCst) }
    }

    /// Changes what is stored for a resource, unless there is nothing to change or
    /// the resource was invalidated since the ticket was drawn. Nothing at all is
    /// no resource.
    pub(crate) fn change(
        &self,
        key: &ResourceKey,
        ticket: Ticket,
        change: impl FnOnce(&[Arc<Entry>]) -> Option<Vec<Arc<Entry>>>,
    ) {
        let holds = || self.epochs[ticket.slot].load(Ordering::SeqCst) == ticket.epoch;
        if !holds() {
            return;
        }
        self.resources.entry_by_ref(key).and_compute_with(|stored| {
            let stored = stored.map(moka::Entry::into_value).unwrap_or_default();
            match change(&stored) {
                None => Op::Nop,
                Some(all) if all.is_empty() => Op::Remove,
                Some(mut all) => {
                    all.sort_by_key(|entry| Reverse(entry.kept.generated));
                    Op::Put(all.into())
                }
            }
        });
        // An invalidation counts first and removes then: one that came between
        // the look above and the change is seen here.
        if !holds() {
            self.resources.invalidate(key);
        }
    }

    /// Removes what is stored for a resource, and what is on its way there.
    pub(crate) fn invalidate(&self, key: &ResourceKey) -> bool {
        self.epochs[self.slot(key)].fetch_add(1, Ordering::SeqCst);
        self.resources.remove(key).is_some()
    }

    /// Removes everything.
    pub(crate) fn clear(&self) {
        for epoch in &self.epochs {
            epoch.fetch_add(1, Ordering::SeqCst);
        }
        self.resources.invalidate_all();
    }

    /// The number of resources and the bytes they take, after upkeep is done.
    pub(crate) fn size(&self) -> (u64, u64) {
        self.resources.run_pending_tasks();
        (self.resources.entry_count(), self.resources.weighted_size())
    }

    fn slot(&self, key: &ResourceKey) -> usize {
        self.seed.hash_one(key) as usize % EPOCHS
    }
}

impl fmt::Debug for Store {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Store").finish_non_exhaustive()
    }
}

impl ResourceKey {
    /// The key of a target; none if nobody knows its authority, or if it is too
    /// long for a URI.
    pub(crate) fn of(target: &Target<'_>) -> Option<Self> {
        target.authority()?;
        target.to_string().try_into().ok().map(Self)
    }

    /// The key of a URI in absolute form.
    pub(crate) fn new(uri: Uri) -> Option<Self> {
        Self::of(&Target::from_uri(&uri))
    }

    pub(crate) fn target(&self) -> Target<'_> {
        Target::from_uri(&self.0)
    }

    fn weight(&self) -> usize {
        let target = self.target();
        let text = target.path().len() + target.query().map_or(0, str::len);
        size_of::<Self>() + text + target.authority().map_or(0, str::len) + RESOURCE
    }
}

impl Hash for ResourceKey {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.target().hash(state);
    }
}

impl Equivalent<ResourceKey> for Target<'_> {
    fn equivalent(&self, key: &ResourceKey) -> bool {
        *self == key.target()
    }
}

/// Invalidations of different resources rarely share one of these; when they do,
/// a response is not stored that could have been.
const EPOCHS: usize = 1024;

/// What moka keeps for a resource beside key and value, about.
const RESOURCE: usize = 200;
