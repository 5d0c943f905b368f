use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::Arc;

use ahash::RandomState;

use super::note::Note;
use crate::entry::Entry;
use crate::resource::ResourceKey;

/// What a tier is still to be told, of a bounded size.
///
/// A change stays until it is made, so that who looks meanwhile does not find what
/// it replaces.
#[derive(Debug)]
pub(crate) struct Pending {
    changes: HashMap<ResourceKey, Changes, RandomState>,
    /// The keys that have changes, those first that have waited longest.
    order: BTreeMap<u64, ResourceKey>,
    /// The keys that this node has the right to fetch, with the fences of its leases.
    held: HashMap<ResourceKey, u64, RandomState>,
    /// Purges, each with its number here.
    notes: VecDeque<(u64, Note)>,
    /// There if all is to go that was there before the changes.
    clear: Option<u64>,
    /// What the entries take that are to be put, in bytes.
    bytes: usize,
    limit: usize,
    last: u64,
    /// Whether somebody is at it.
    pub(crate) scheduled: bool,
}

/// What is to become of the records of a key.
#[derive(Clone, Debug, Default)]
pub(crate) struct Changes {
    /// Whether all that are there go first.
    pub(crate) all_gone: bool,
    /// By variant; `None` where a record is to go.
    pub(crate) variants: Vec<(u128, Option<Arc<Entry>>)>,
    /// The lease that ends with them.
    pub(crate) release: Option<u64>,
    turn: u64,
}

/// What a tier is told at once.
#[derive(Debug)]
pub(crate) enum Step {
    Note(u64, Note),
    Write(Batch),
}

/// Some of the changes, to be made together.
#[derive(Debug)]
pub(crate) struct Batch {
    pub(crate) clear: Option<u64>,
    pub(crate) changes: Vec<(ResourceKey, Changes)>,
}

impl Pending {
    /// Holds entries of up to `limit` bytes.
    pub(crate) fn new(limit: usize) -> Self {
        Self {
            changes: HashMap::default(),
            held: HashMap::default(),
            order: BTreeMap::new(),
            notes: VecDeque::new(),
            clear: None,
            bytes: 0,
            limit,
            last: 0,
            scheduled: false,
        }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.changes.is_empty() && self.notes.is_empty() && self.clear.is_none()
    }

    /// What is to become of the records of a key; `None` if they stay as they are.
    pub(crate) fn of(&self, key: &ResourceKey) -> Option<Changes> {
        let cleared = || Changes { all_gone: true, ..Changes::default() };
        match self.changes.get(key) {
            Some(changes) => Some(Changes {
                all_gone: changes.all_gone || self.clear.is_some(),
                ..changes.clone()
            }),
            None => self.clear.map(|_| cleared()),
        }
    }

    /// A response is to be stored; whether there is room for it. If not, what it
    /// would have replaced is to go.
    pub(crate) fn put(&mut self, key: &ResourceKey, variant: u128, entry: &Arc<Entry>) -> bool {
        let fits = self.bytes + entry.weight() <= self.limit;
        self.change(key, |changes| changes.set(variant, fits.then(|| entry.clone())));
        fits
    }

    /// The record of a variant is to go.
    pub(crate) fn remove(&mut self, key: &ResourceKey, variant: u128) {
        self.change(key, |changes| changes.set(variant, None));
    }

    /// All records of a key are to go.
    pub(crate) fn remove_all(&mut self, key: &ResourceKey) {
        self.change(key, |changes| {
            changes.all_gone = true;
            changes.variants.clear();
        });
    }

    /// A lease is held from now on.
    pub(crate) fn hold(&mut self, key: &ResourceKey, fence: u64) {
        self.held.insert(key.clone(), fence);
    }

    /// A lease is to end.
    pub(crate) fn release(&mut self, key: &ResourceKey, fence: u64) {
        self.held.remove(key);
        self.change(key, |changes| changes.release = Some(fence));
    }

    /// The fence for what is put under a key.
    pub(crate) fn fence(&self, key: &ResourceKey) -> Option<u64> {
        self.held.get(key).copied()
    }

    /// All records are to go.
    pub(crate) fn clear(&mut self) {
        self.changes.clear();
        self.order.clear();
        self.bytes = 0;
        self.last += 1;
        self.clear = Some(self.last);
    }

    /// A purge is to be noted.
    pub(crate) fn note(&mut self, number: u64, note: Note) {
        self.notes.push_back((number, note));
        // What is forgotten of it is known to nobody after a restart.
        if self.notes.len() > MOST {
            self.notes.pop_front();
            self.clear();
        }
    }

    /// The number of the first purge that is still to be noted.
    pub(crate) fn first_note(&self) -> Option<u64> {
        self.notes.front().map(|(number, _)| *number)
    }

    /// Gives the purges other numbers.
    pub(crate) fn renumber(&mut self, number: impl Fn(&Note) -> u64) {
        self.notes.iter_mut().for_each(|(known, note)| *known = number(note));
    }

    /// What a tier is to be told next; with nothing left, somebody is to be called
    /// for the next change.
    pub(crate) fn next(&mut self) -> Option<Step> {
        if let Some((number, note)) = self.notes.front() {
            return Some(Step::Note(*number, note.clone()));
        }
        self.scheduled = !self.is_empty();
        self.scheduled.then(|| Step::Write(self.batch()))
    }

    /// A purge was noted.
    pub(crate) fn noted(&mut self, number: u64) {
        self.notes.pop_front_if(|(noted, _)| *noted == number);
    }

    /// The changes of a batch are made, or may be made or not. What it would have
    /// put is to go then: what cannot be written does not stand in the way of the
    /// rest.
    pub(crate) fn ended(&mut self, batch: &Batch, made: bool) {
        if made && self.clear == batch.clear {
            self.clear = None;
        }
        for (key, changes) in &batch.changes {
            if !self.order.contains_key(&changes.turn) {
                continue;
            }
            self.bytes -= changes.weight();
            if made {
                self.order.remove(&changes.turn);
                self.changes.remove(key);
            } else if let Some(changes) = self.changes.get_mut(key) {
                changes.variants.iter_mut().for_each(|(_, entry)| *entry = None);
            }
        }
    }

    /// The changes that have waited longest.
    fn batch(&self) -> Batch {
        let mut bytes = 0;
        let next = self.order.values().filter_map(|key| Some((key, self.changes.get(key)?)));
        let within = next.take_while(|(_, changes)| {
            let fits = bytes < BATCH_BYTES;
            bytes += changes.weight();
            fits
        });
        let changes = within.take(BATCH).map(|(key, changes)| (key.clone(), changes.clone()));
        Batch { clear: self.clear, changes: changes.collect() }
    }

    fn change(&mut self, key: &ResourceKey, change: impl FnOnce(&mut Changes)) {
        if self.changes.len() >= MOST && !self.changes.contains_key(key) {
            self.clear();
        }
        let changes = self.changes.entry(key.clone()).or_default();
        self.order.remove(&changes.turn);
        self.bytes -= changes.weight();
        change(changes);
        self.bytes += changes.weight();
        self.last += 1;
        changes.turn = self.last;
        self.order.insert(self.last, key.clone());
    }
}

impl Changes {
    fn set(&mut self, variant: u128, entry: Option<Arc<Entry>>) {
        match self.variants.iter_mut().find(|(known, _)| *known == variant) {
            Some((_, known)) => *known = entry,
            None => self.variants.push((variant, entry)),
        }
    }

    fn weight(&self) -> usize {
        self.variants.iter().flat_map(|(_, entry)| entry).map(|entry| entry.weight()).sum()
    }
}

/// The most keys that have changes, and the most purges that are noted: beyond
/// that a tier is told to forget everything.
const MOST: usize = 65_536;

/// How many keys are written at once, and about how many bytes.
const BATCH: usize = 256;
const BATCH_BYTES: usize = 4 << 20;

#[cfg(test)]
mod tests {
    use std::time::SystemTime;

    use bytes::Bytes;
    use http::{HeaderMap, StatusCode, Uri};
    use proptest::prelude::*;
    use tower_edge_core::{Clock, Target};

    use super::*;
    use crate::policy::{Content, Freshness, Kept, Selection, Stale};
    use crate::purges::{Purge, Scope};
    use crate::resource::Resource;

    fn key(number: u64) -> ResourceKey {
        let uri: Uri = format!("http://h/{number}").parse().unwrap();
        ResourceKey::of(&Resource::new(Target::from_uri(&uri), None)).unwrap()
    }

    fn entry(length: usize) -> Arc<Entry> {
        let stale = Stale {
            forbidden: false,
            while_revalidate: Default::default(),
            if_error: Default::default(),
        };
        let kept = Kept {
            freshness: Freshness::aged(
                Default::default(),
                Default::default(),
                Clock::system().now(),
            ),
            generated: SystemTime::UNIX_EPOCH,
            no_cache: false,
            immutable: false,
            stale,
        };
        let content = Content::Whole(Bytes::from(vec![0; length]));
        let (fields, selection) = (HeaderMap::new(), Selection::default());
        Arc::new(Entry::new(StatusCode::OK, &fields, content, None, selection, kept, None))
    }

    fn write(pending: &mut Pending) -> Option<Batch> {
        match pending.next() {
            Some(Step::Write(batch)) => Some(batch),
            Some(Step::Note(..)) => panic!("there is no note"),
            None => None,
        }
    }

    #[derive(Clone, Debug)]
    enum Act {
        Put(u64, u128),
        Remove(u64, u128),
        RemoveAll(u64),
        Clear,
        Begin,
        End(bool),
    }

    fn acts() -> impl Strategy<Value = Vec<Act>> {
        let act = prop_oneof![
            6 => (0_u64..4, 0_u128..3).prop_map(|(key, variant)| Act::Put(key, variant)),
            2 => (0_u64..4, 0_u128..3).prop_map(|(key, variant)| Act::Remove(key, variant)),
            2 => (0_u64..4).prop_map(Act::RemoveAll),
            1 => Just(Act::Clear),
            3 => Just(Act::Begin),
            3 => any::<bool>().prop_map(Act::End),
        ];
        prop::collection::vec(act, 1..60)
    }

    type Shelf = HashMap<(u64, u128), Arc<Entry>>;

    /// Makes the changes of a batch.
    fn make(shelf: &mut Shelf, batch: &Batch) {
        if batch.clear.is_some() {
            shelf.clear();
        }
        for (at, changes) in &batch.changes {
            let number = (0..4).find(|number| key(*number) == *at).unwrap();
            if changes.all_gone {
                shelf.retain(|(known, _), _| *known != number);
            }
            for (variant, entry) in &changes.variants {
                match entry {
                    Some(entry) => drop(shelf.insert((number, *variant), entry.clone())),
                    None => drop(shelf.remove(&(number, *variant))),
                }
            }
        }
    }

    proptest! {
        /// Whatever fails and is made meanwhile, who looks at the shelf and at what
        /// is pending sees what was put last, or nothing; and so it is in the end on
        /// the shelf alone.
        #[test]
        fn who_looks_sees_the_last_change_or_nothing(acts in acts()) {
            let (mut pending, mut shelf, mut meant) = (Pending::new(1 << 20), Shelf::new(), Shelf::new());
            let mut aloft = None;
            for act in acts.into_iter().chain([Act::End(true), Act::Begin, Act::End(true)]) {
                match act {
                    Act::Put(at, variant) => {
                        let entry = entry(10);
                        prop_assert!(pending.put(&key(at), variant, &entry));
                        meant.insert((at, variant), entry);
                    }
                    Act::Remove(at, variant) => {
                        pending.remove(&key(at), variant);
                        meant.remove(&(at, variant));
                    }
                    Act::RemoveAll(at) => {
                        pending.remove_all(&key(at));
                        meant.retain(|(known, _), _| *known != at);
                    }
                    Act::Clear => {
                        pending.clear();
                        meant.clear();
                    }
                    Act::Begin if aloft.is_none() => aloft = write(&mut pending),
                    Act::Begin => {}
                    Act::End(made) => {
                        if let Some(batch) = aloft.take() {
                            // One that failed may have been made all the same.
                            make(&mut shelf, &batch);
                            pending.ended(&batch, made);
                        }
                    }
                }
                for at in 0..4 {
                    let changes = pending.of(&key(at)).unwrap_or_default();
                    for variant in 0..3 {
                        let changed = changes.variants.iter().find(|(known, _)| *known == variant);
                        let seen = match changed {
                            Some((_, entry)) => entry.as_ref(),
                            None if changes.all_gone => None,
                            None => shelf.get(&(at, variant)),
                        };
                        let last = meant.get(&(at, variant));
                        let is_last = seen.is_none_or(|seen| last.is_some_and(|last| Arc::ptr_eq(seen, last)));
                        prop_assert!(is_last, "{at} {variant}");
                    }
                }
            }
            while let Some(batch) = write(&mut pending) {
                make(&mut shelf, &batch);
                pending.ended(&batch, true);
            }
            prop_assert!(pending.is_empty() && pending.bytes == 0 && pending.order.is_empty());
            for (at, entry) in &shelf {
                prop_assert!(meant.get(at).is_some_and(|last| Arc::ptr_eq(last, entry)));
            }
        }
    }

    #[test]
    fn entries_wait_within_their_bound_and_what_finds_no_room_is_removed() {
        let mut pending = Pending::new(3 * entry(1_000).weight());
        let put: Vec<_> =
            (0..5).map(|number| pending.put(&key(number), 0, &entry(1_000))).collect();
        assert_eq!(put, [true, true, true, false, false]);
        let batch = write(&mut pending).unwrap();
        let removed = |changes: &Changes| changes.variants[0].1.is_none();
        assert_eq!(batch.changes.iter().filter(|(_, changes)| removed(changes)).count(), 2);
        pending.ended(&batch, true);
        assert!(pending.put(&key(9), 0, &entry(1_000)));
    }

    #[test]
    fn with_too_many_changes_all_is_to_go() {
        let mut pending = Pending::new(1 << 20);
        for number in 0..MOST as u64 {
            pending.remove_all(&key(number));
        }
        assert!(pending.of(&key(u64::MAX)).is_none());
        pending.remove_all(&key(u64::MAX - 1));
        assert!(pending.of(&key(u64::MAX)).unwrap().all_gone);
        let batch = write(&mut pending).unwrap();
        assert_eq!((batch.clear.is_some(), batch.changes.len()), (true, 1));
    }

    #[test]
    fn with_too_many_notes_all_records_are_to_go() {
        let mut pending = Pending::new(1 << 20);
        for number in 0..=MOST as u64 {
            let note = Note::new(Scope::Tag("t"), Purge::Hard, SystemTime::UNIX_EPOCH);
            pending.note(number, note);
        }
        assert_eq!((pending.notes.len(), pending.clear.is_some()), (MOST, true));
        assert!(matches!(pending.next(), Some(Step::Note(1, _))));
    }
}
