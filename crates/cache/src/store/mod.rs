mod change;
mod slot;

use std::fmt;
use std::sync::atomic::AtomicU64;
use std::sync::{Arc, OnceLock};
use std::time::{Instant, SystemTime};

use ahash::RandomState;
use moka::notification::RemovalCause;
use moka::sync::Cache;

use crate::counts::Held;
use crate::entry::Entry;
use crate::epochs::{Epochs, Ticket};
use crate::front::Front;
use crate::hot::{self, Hot};
use crate::purges::{Purge, Purges, RECORD, Scope};
use crate::resource::{Resource, ResourceKey};
use crate::tier::{Behind, Note};
use crate::variants::Variants;

pub(crate) use self::slot::SLOT;
use self::slot::Slot;

/// The stored responses, bounded by the memory they take.
///
/// moka decides who stays (TinyLFU). Its expiry is not used: freshness is the
/// policy's business, and a stale response is still worth validating.
pub(crate) struct Store {
    resources: Cache<ResourceKey, Slot, RandomState>,
    epochs: Epochs,
    purges: Purges,
    held: Arc<Held>,
    /// What was put since the last upkeep, in bytes; moka notes it then.
    unnoted: AtomicU64,
    /// How much of that there may be.
    most_unnoted: u64,
    front: Arc<Front<Hot>>,
    behind: OnceLock<Arc<Behind>>,
    capacity: u64,
    /// What of that responses may take.
    responses: u64,
}

/// What a store holds, and what it could not.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Size {
    pub(crate) evicted: u64,
    pub(crate) entries: u64,
    pub(crate) resources: u64,
    pub(crate) bytes: u64,
}

impl Store {
    pub(crate) fn new(capacity: u64) -> Self {
        let most_purges = (capacity as usize / PURGES / RECORD).clamp(1, MOST_PURGES);
        let weigh = |key: &ResourceKey, slot: &Slot| {
            let stored = slot.variants();
            let weight = key.weight() + stored.iter().map(|entry| entry.weight()).sum::<usize>();
            u32::try_from(weight).unwrap_or(u32::MAX)
        };
        let front = Arc::new(hot::front(capacity));
        let aside = (most_purges * RECORD) as u64 + front.budget();
        // A table for nothing at all would not tell of what it turns away.
        let responses = capacity.saturating_sub(aside).max(1);
        let resources = Cache::builder().max_capacity(responses).weigher(weigh);
        let held = Arc::new(Held::default());
        let (counted, fronted) = (held.clone(), front.clone());
        // It is told of all that changes or goes, before those who change it return.
        let resources = resources.eviction_listener(move |key, slot: Slot, cause| {
            counted.leave(slot.take().len(), cause == RemovalCause::Size);
            fronted.forget(key.hash());
        });
        Self {
            resources: resources.build_with_hasher(RandomState::new()),
            epochs: Epochs::new(EPOCHS),
            purges: Purges::new(most_purges),
            held,
            unnoted: AtomicU64::new(0),
            most_unnoted: capacity / UNNOTED,
            front,
            behind: OnceLock::new(),
            capacity,
            responses,
        }
    }

    /// The bytes that it may take.
    pub(crate) fn capacity(&self) -> u64 {
        self.capacity
    }

    /// Puts a tier behind it; whether there was none yet.
    pub(crate) fn back(&self, behind: Behind) -> bool {
        self.behind.set(Arc::new(behind)).is_ok()
    }

    pub(crate) fn behind(&self) -> Option<&Arc<Behind>> {
        self.behind.get()
    }

    /// What is held in front of it.
    pub(crate) fn front(&self) -> &Front<Hot> {
        &self.front
    }

    /// Tells who decides what stays that a resource was asked for.
    pub(crate) fn touch(&self, resource: &Resource<'_>) {
        drop(self.resources.get(resource));
    }

    /// What is stored for a resource, and has not been purged for good.
    pub(crate) fn get(&self, resource: &Resource<'_>) -> Option<Variants> {
        let found = self.stored(resource)?;
        let is_gone = |entry: &Arc<Entry>| self.purges.judge(&resource.target, entry.mark());
        match found.iter().any(is_gone) {
            true => self.without_purged(resource),
            false => Some(found),
        }
    }

    /// Whether anything is stored for a resource, purged or not; who decides what stays is
    /// not told that it was asked for.
    pub(crate) fn has(&self, resource: &Resource<'_>) -> bool {
        self.resources.contains_key(resource)
    }

    /// What is stored for a resource.
    fn stored(&self, resource: &Resource<'_>) -> Option<Variants> {
        // One that is taken was replaced or removed since it was found.
        loop {
            let found = self.resources.get(resource)?.variants();
            if !found.is_empty() {
                return Some(found);
            }
        }
    }

    /// To be drawn before the request goes upstream.
    pub(crate) fn ticket(&self, resource: &Resource<'_>) -> Ticket {
        let hash = resource.hash();
        Ticket { hash, epoch: self.epochs.of(hash), purge: self.purges.newest() }
    }

    /// A ticket that an invalidation before now has not taken away, for what was
    /// asked for when `ticket` was drawn.
    pub(crate) fn renewed(&self, resource: &Resource<'_>, ticket: Ticket) -> Ticket {
        Ticket { purge: ticket.purge, ..self.ticket(resource) }
    }

    pub(crate) fn holds(&self, ticket: Ticket) -> bool {
        self.epochs.of(ticket.hash) == ticket.epoch
    }

    /// Whether an entry was purged for good.
    pub(crate) fn is_gone(&self, key: &ResourceKey, entry: &Entry) -> bool {
        self.purges.judge(&key.target(), entry.mark())
    }

    /// Purges what is in the scope, and on its way there; gives the number of
    /// purges that can be told apart, if the oldest no longer can.
    pub(crate) fn purge(
        &self,
        scope: Scope<'_>,
        purge: Purge,
        (now, wall): (Instant, SystemTime),
    ) -> Option<usize> {
        self.sweep(scope, purge);
        match self.behind() {
            Some(behind) => behind.purge(&self.purges, scope, purge, (now, wall)),
            None => self.purges.purge(scope, purge, now),
        }
    }

    /// As [`purge`](Self::purge), for another who shares the tier behind.
    pub(crate) fn overhear(
        &self,
        behind: &Behind,
        number: u64,
        note: &Note,
        at: (Instant, SystemTime),
    ) -> Option<usize> {
        self.sweep(note.scope(), note.purge());
        behind.overhear(&self.purges, number, note, at)
    }

    /// Frees the memory of what is purged for good, where that is soon done: the
    /// rest is found out at the next look.
    fn sweep(&self, scope: Scope<'_>, purge: Purge) {
        match (scope, purge) {
            (Scope::Everything, Purge::Hard) => self.resources.invalidate_all(),
            (Scope::Target(target), Purge::Hard) => {
                drop(self.resources.remove(&Resource::new(target, None)))
            }
            _ => {}
        }
    }

    pub(crate) fn purges(&self) -> &Purges {
        &self.purges
    }

    /// Whether what others have purged is known, who share the tier behind.
    pub(crate) fn is_current(&self, now: Instant) -> bool {
        let line = self.behind().and_then(|behind| behind.line.as_ref());
        line.is_none_or(|line| line.is_live_at(now))
    }

    /// What is free, as of the last upkeep, in bytes.
    pub(crate) fn free(&self) -> u64 {
        self.responses.saturating_sub(self.resources.weighted_size())
    }

    /// What it holds, after upkeep is done.
    pub(crate) fn size(&self) -> Size {
        self.resources.run_pending_tasks();
        let bytes = self.resources.weighted_size() + self.purges.weight() + self.front.weight();
        Size {
            evicted: self.held.evicted(),
            entries: self.held.entries(),
            resources: self.resources.entry_count(),
            bytes,
        }
    }
}

impl fmt::Debug for Store {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Store").finish_non_exhaustive()
    }
}

const EPOCHS: usize = 1024;

/// The part of the capacity that notes of purges may take: one in so many.
const PURGES: usize = 64;

/// The part of the capacity that may be put before room is made for it: one in so
/// many.
const UNNOTED: u64 = 64;

/// The most purges that are told apart.
const MOST_PURGES: usize = 65_536;
