use std::cmp::Reverse;
use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::{Instant, SystemTime};

use ahash::RandomState;
use moka::notification::RemovalCause;
use moka::ops::compute::{CompResult, Op};
use moka::sync::Cache;

use crate::counts::Held;
use crate::entry::Entry;
use crate::epochs::{Epochs, Ticket};
use crate::front::Front;
use crate::hot::{self, Hot};
use crate::purges::{Purge, Purges, RECORD, Scope};
use crate::resource::{Resource, ResourceKey};
use crate::sync::lock;
use crate::tier::{Behind, Line, Note};
use crate::variants::{Variants, merged};

/// The stored responses, bounded by the memory they take.
///
/// moka decides who stays (TinyLFU). Its expiry is not used: freshness is the
/// policy's business, and a stale response is still worth validating.
pub(crate) struct Store {
    resources: Cache<ResourceKey, Variants, RandomState>,
    epochs: Epochs,
    purges: Purges,
    held: Arc<Held>,
    /// What was put since the last upkeep, in bytes; moka notes it then.
    unnoted: AtomicU64,
    /// How much of that there may be.
    most_unnoted: u64,
    front: Arc<Front<Hot>>,
    seed: RandomState,
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
        let weigh = |key: &ResourceKey, variants: &Variants| {
            let weight = key.weight() + variants.iter().map(|entry| entry.weight()).sum::<usize>();
            u32::try_from(weight).unwrap_or(u32::MAX)
        };
        let seed = RandomState::new();
        let front = Arc::new(hot::front(capacity));
        let aside = (most_purges * RECORD) as u64 + front.budget();
        // A table for nothing at all would not tell of what it turns away.
        let responses = capacity.saturating_sub(aside).max(1);
        let resources = Cache::builder().max_capacity(responses).weigher(weigh);
        let held = Arc::new(Held::default());
        let (counted, fronted, hasher) = (held.clone(), front.clone(), seed.clone());
        // It is told of all that changes or goes, before those who change it return.
        let resources = resources.eviction_listener(move |key, variants: Variants, cause| {
            counted.leave(variants.len(), cause == RemovalCause::Size);
            fronted.forget(hasher.hash_one(&*key));
        });
        Self {
            resources: resources.build_with_hasher(seed.clone()),
            epochs: Epochs::new(EPOCHS),
            purges: Purges::new(most_purges),
            held,
            unnoted: AtomicU64::new(0),
            most_unnoted: capacity / UNNOTED,
            front,
            seed,
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

    /// By which the front knows a resource.
    pub(crate) fn hash(&self, resource: &Resource<'_>) -> u64 {
        self.seed.hash_one(resource)
    }

    /// Tells who decides what stays that a resource was asked for.
    pub(crate) fn touch(&self, resource: &Resource<'_>) {
        drop(self.resources.get(resource));
    }

    /// What is stored for a resource, and has not been purged for good.
    pub(crate) fn get(&self, resource: &Resource<'_>) -> Option<Variants> {
        let found = self.resources.get(resource)?;
        let is_gone = |entry: &Arc<Entry>| self.purges.judge(&resource.target, entry.mark());
        if !found.iter().any(is_gone) {
            return Some(found);
        }
        let key = ResourceKey::of(resource)?;
        let left = self.resources.entry_by_ref(&key).and_compute_with(|stored| {
            let stored = stored.map(moka::Entry::into_value).unwrap_or_default();
            let left = self.left(&key, &stored);
            match left.len() {
                0 => Op::Remove,
                all if all == stored.len() => Op::Nop,
                _ => self.put(left),
            }
        });
        match left {
            CompResult::Unchanged(left) | CompResult::ReplacedWith(left) => Some(left.into_value()),
            _ => None,
        }
    }

    /// To be drawn before the request goes upstream.
    pub(crate) fn ticket(&self, resource: &Resource<'_>) -> Ticket {
        let hash = self.hash(resource);
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
                drop(self.resources.remove(&Resource { target, user: None }))
            }
            _ => {}
        }
    }

    pub(crate) fn purges(&self) -> &Purges {
        &self.purges
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
        self.alter(key, ticket, |left| {
            let all = change(left)?;
            if let Some(behind) = self.behind() {
                behind.changed(key, left, &all);
            }
            Some(all)
        });
    }

    /// Takes in what the tier behind has of a resource, unless the resource was
    /// invalidated since the ticket was drawn; gives it with what is stored already.
    pub(crate) fn take_in(
        &self,
        key: &ResourceKey,
        ticket: Ticket,
        loaded: Vec<Arc<Entry>>,
    ) -> Variants {
        let mut all = Variants::default();
        self.alter(key, ticket, |left| {
            let merged = merged(left, loaded);
            all = merged.clone().into();
            (merged.len() > left.len()).then_some(merged)
        });
        all
    }

    fn alter(
        &self,
        key: &ResourceKey,
        ticket: Ticket,
        change: impl FnOnce(&[Arc<Entry>]) -> Option<Vec<Arc<Entry>>>,
    ) {
        let mut put = 0;
        let changing = self.epochs.change(ticket.hash);
        self.resources.entry_by_ref(key).and_compute_with(|stored| {
            // Not before: an invalidation counts first and then waits for its turn
            // here, so either it is seen or it finds what is put.
            if !self.holds(ticket) {
                return Op::Nop;
            }
            let stored = stored.map(moka::Entry::into_value).unwrap_or_default();
            match change(&self.left(key, &stored)) {
                None => Op::Nop,
                Some(all) if all.is_empty() => Op::Remove,
                Some(mut all) => {
                    all.sort_by_key(|entry| Reverse(entry.came().generated));
                    put = self.fit(&mut all);
                    self.put(all.into())
                }
            }
        });
        drop(changing);
        self.note(put);
    }

    /// Leaves out the oldest responses of a resource that together would take too
    /// much of the store: who asks for one in every language would put out all
    /// others. Gives what the rest takes, in bytes.
    fn fit(&self, all: &mut Vec<Arc<Entry>>) -> u64 {
        let mut taken = 0;
        let fitting = all.iter().take_while(|entry| {
            let weight = entry.weight() as u64;
            let fits = taken == 0 || taken + weight <= self.responses / RESOURCE;
            taken += if fits { weight } else { 0 };
            fits
        });
        let fitting = fitting.count();
        all.truncate(fitting);
        taken
    }

    /// Counts what was put, and lets moka make room for it in time: by itself it
    /// would wait for 64 changes, however large.
    fn note(&self, put: u64) {
        let unnoted = self.unnoted.fetch_add(put, Ordering::Relaxed) + put;
        if unnoted > self.most_unnoted {
            self.unnoted.store(0, Ordering::Relaxed);
            self.resources.run_pending_tasks();
        }
    }

    /// Removes what is stored for a resource, and what is on its way there.
    pub(crate) fn invalidate(&self, resource: &Resource<'_>) -> bool {
        let is_changing = self.epochs.end(self.hash(resource));
        // Most unsafe requests are about what was never stored.
        if !is_changing && self.behind().is_none() && !self.resources.contains_key(resource) {
            return false;
        }
        let Some(key) = ResourceKey::of(resource) else { return false };
        let removed = self.resources.entry_by_ref(&key).and_compute_with(|_| {
            if let Some(behind) = self.behind() {
                lock(&behind.pending).remove_all(&key);
            }
            Op::Remove
        });
        matches!(removed, CompResult::Removed(_))
    }

    /// Takes out of memory what is stored for a resource, and what is on its way
    /// there: another has put or removed it in the tier behind.
    pub(crate) fn forget(&self, key: &ResourceKey) {
        self.epochs.end(self.hash(&key.resource()));
        self.resources.entry_by_ref(key).and_compute_with(|_| Op::Remove);
    }

    /// Takes everything out of memory, and what is on its way there.
    pub(crate) fn forget_all(&self) {
        self.epochs.end_all();
        self.resources.invalidate_all();
        self.front.forget_all();
    }

    /// Whether what others have purged is known, who share the tier behind.
    pub(crate) fn is_current(&self) -> bool {
        let line = self.behind().and_then(|behind| behind.line.as_ref());
        line.is_none_or(Line::is_live)
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

    fn put(&self, variants: Variants) -> Op<Variants> {
        self.held.enter(variants.len());
        Op::Put(variants)
    }

    /// Those that were not purged for good.
    fn left(&self, key: &ResourceKey, stored: &Variants) -> Variants {
        let is_left = |entry: &&Arc<Entry>| !self.is_gone(key, entry);
        match stored.iter().all(|entry| is_left(&entry)) {
            true => stored.clone(),
            false => stored.iter().filter(is_left).cloned().collect(),
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

/// The part of the capacity that several responses of one resource may take
/// together: one in so many.
const RESOURCE: u64 = 4;

/// The most purges that are told apart.
const MOST_PURGES: usize = 65_536;
