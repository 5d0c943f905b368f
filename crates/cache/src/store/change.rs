use std::cmp::Reverse;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Instant;

use moka::ops::compute::{CompResult, Op};

use crate::entry::Entry;
use crate::epochs::Ticket;
use crate::policy::is_reusable;
use crate::resource::{Resource, ResourceKey};
use crate::store::Store;
use crate::store::slot::Slot;
use crate::sync::lock;
use crate::variants::{Variants, merged};

impl Store {
    /// Removes what of a resource was purged for good; gives the rest.
    pub(super) fn without_purged(&self, resource: &Resource<'_>) -> Option<Variants> {
        let key = ResourceKey::of(resource)?;
        let left = self.resources.entry_by_ref(&key).and_compute_with(|stored| {
            let stored = variants(stored);
            let left = self.left(&key, &stored);
            match left.len() {
                0 => Op::Remove,
                all if all == stored.len() => Op::Nop,
                _ => self.put(left),
            }
        });
        match left {
            CompResult::Unchanged(left) | CompResult::ReplacedWith(left) => {
                Some(left.into_value().variants()).filter(|left| !left.is_empty())
            }
            _ => None,
        }
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
    ///
    /// What would put out others is stored when it is asked for again: most of what is
    /// asked for is asked for once.
    pub(crate) fn take_in(
        &self,
        key: &ResourceKey,
        ticket: Ticket,
        loaded: Vec<Arc<Entry>>,
        now: Instant,
    ) -> Vec<Arc<Entry>> {
        let is_of_use = loaded.iter().any(|entry| is_reusable(&entry.kept(now), now));
        if is_of_use
            && !self.has_room(&loaded)
            && !self.resources.contains_key(&key.resource())
            && !self.behind().is_none_or(|behind| behind.turned_away.knows(key.hash()))
        {
            let holds = self.holds(ticket);
            return if holds { merged(&[], loaded) } else { Vec::new() };
        }
        let mut all = Vec::new();
        self.alter(key, ticket, |left| {
            let merged = merged(left, loaded.into_iter().map(Entry::tidied).collect());
            all = merged.clone();
            (merged.len() > left.len()).then_some(merged)
        });
        all
    }

    /// Whether there is room for what a tier has, and what is put next.
    fn has_room(&self, loaded: &[Arc<Entry>]) -> bool {
        // What they take is found out only if that matters.
        let left = self.free().saturating_sub(self.most_unnoted);
        let least = || loaded.iter().map(|entry| entry.least_weight() as u64).sum::<u64>();
        let weight = || loaded.iter().map(|entry| entry.weight() as u64).sum::<u64>();
        left > 0 && least() <= left && weight() <= left
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
            let stored = variants(stored);
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
        let is_changing = self.epochs.end(resource.hash());
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
        self.epochs.end(key.hash());
        self.resources.entry_by_ref(key).and_compute_with(|_| Op::Remove);
    }

    /// Takes everything out of memory, and what is on its way there.
    pub(crate) fn forget_all(&self) {
        self.epochs.end_all();
        self.resources.invalidate_all();
        self.front.forget_all();
    }

    fn put(&self, variants: Variants) -> Op<Slot> {
        self.held.enter(variants.len());
        Op::Put(Slot::new(variants))
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

/// What a resource has, if it is there.
fn variants(stored: Option<moka::Entry<ResourceKey, Slot>>) -> Variants {
    stored.map(|stored| stored.into_value().variants()).unwrap_or_default()
}

/// The part of the capacity that several responses of one resource may take
/// together: one in so many.
const RESOURCE: u64 = 4;
