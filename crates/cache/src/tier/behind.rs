use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Instant, SystemTime};

use tokio::sync::{self, OnceCell};

use super::figures::Figures;
use super::line::Line;
use super::note::Note;
use super::pending::{Pending, Step};
use super::record::variant;
use super::{Notes, Tier};
use crate::doorkeeper::Doorkeeper;
use crate::entry::Entry;
use crate::purges::{Purge, Purges, Scope};
use crate::resource::ResourceKey;
use crate::sync::{Mutex, lock};

/// A tier behind memory, and what it is still to be told.
#[derive(Debug)]
pub(crate) struct Behind {
    pub(crate) tier: Arc<dyn Tier>,
    pub(crate) pending: Mutex<Pending>,
    /// Held by who writes: one at a time, so that changes are made in order.
    pub(crate) pen: sync::Mutex<()>,
    /// There once the purges that the tier has noted are known here.
    pub(crate) learned: OnceCell<()>,
    pub(crate) numbers: Mutex<Numbers>,
    pub(crate) figures: Figures,
    /// Of what the tier has, and memory had no room for.
    pub(crate) turned_away: Doorkeeper,
    /// There if others write to the tier as well.
    pub(crate) line: Option<Line>,
}

impl Behind {
    /// Holds entries of up to `limit` bytes while they wait to be written.
    pub(crate) fn new(tier: Arc<dyn Tier>, limit: usize) -> Self {
        let line = tier.is_shared().then(|| Line::new(tier.silence()));
        Self {
            line,
            tier,
            pending: Mutex::new(Pending::new(limit)),
            pen: sync::Mutex::default(),
            learned: OnceCell::new(),
            numbers: Mutex::new(Numbers::default()),
            figures: Figures::default(),
            turned_away: Doorkeeper::new(limit / TURNED_AWAY),
        }
    }

    /// Whether others share the tier, and are heard.
    pub(crate) fn is_live(&self) -> bool {
        self.line.as_ref().is_some_and(Line::is_live)
    }

    /// What the tier is to be told next.
    pub(crate) fn next(&self) -> Option<Step> {
        lock(&self.pending).next()
    }

    /// The responses of a key are no longer those that were there before.
    pub(crate) fn changed(&self, key: &ResourceKey, before: &[Arc<Entry>], all: &[Arc<Entry>]) {
        let is_new = |entry: &&Arc<Entry>| !before.iter().any(|old| Arc::ptr_eq(old, entry));
        let kept: Vec<_> = all.iter().map(|entry| variant(&entry.selection)).collect();
        let gone = before.iter().map(|old| variant(&old.selection));
        let gone = gone.filter(|variant| !kept.contains(variant));
        let mut pending = lock(&self.pending);
        gone.for_each(|variant| pending.remove(key, variant));
        for (entry, &variant) in all.iter().zip(&kept).filter(|(entry, _)| is_new(entry)) {
            pending.put(key, variant, entry);
        }
    }

    /// Purges, and has the tier told of it; as [`Purges::purge`]. One at a time, so
    /// that purges are noted in the order of their numbers.
    pub(crate) fn purge(
        &self,
        purges: &Purges,
        scope: Scope<'_>,
        purge: Purge,
        (now, wall): (Instant, SystemTime),
    ) -> Option<usize> {
        let mut pending = lock(&self.pending);
        let collapsed = purges.purge(scope, purge, now);
        if let (Scope::Everything, Purge::Hard) = (scope, purge) {
            pending.clear();
        }
        let is_about_nothing = match scope {
            Scope::Target(target) | Scope::Prefix(target) => target.authority().is_none(),
            Scope::Everything | Scope::Tag(_) => false,
        };
        if !is_about_nothing {
            pending.note(purges.newest(), Note::new(scope, purge, wall));
        }
        collapsed
    }

    /// The tier has noted a purge that has a number here, and gave it one of its own.
    ///
    /// What others have purged since it was made here is noted before it: then it is
    /// made again, to be the last here as well.
    pub(crate) fn noted(
        &self,
        purges: &Purges,
        (ours, theirs): (u64, u64),
        note: &Note,
        at: (Instant, SystemTime),
    ) {
        if !lock(&self.numbers).pair(theirs, ours) {
            self.overhear(purges, theirs, note, at);
        }
        lock(&self.pending).noted(ours);
    }

    /// The newest purge here that is known to a record from the tier whose writer
    /// knew all up to `theirs`; `None` if it is of no use.
    pub(crate) fn seen(&self, theirs: u64) -> Option<u64> {
        let pending = lock(&self.pending);
        let ours = lock(&self.numbers).ours(theirs)?;
        // Those that the tier has not noted nobody else knows.
        Some(pending.first_note().map_or(ours, |first| ours.min(first.saturating_sub(1))))
    }

    /// Purges as another has, who shares the tier and has noted it there.
    pub(crate) fn overhear(
        &self,
        purges: &Purges,
        number: u64,
        note: &Note,
        (now, wall): (Instant, SystemTime),
    ) -> Option<usize> {
        let _pending = lock(&self.pending);
        let collapsed = purges.purge(note.scope(), note.purge(), note.when(now, wall));
        lock(&self.numbers).pair(number, purges.newest());
        collapsed
    }

    /// Takes over the purges that the tier has noted. Those that came here since the
    /// start are later than all of them, and are made again, so that their numbers
    /// say so.
    pub(crate) fn take_over(&self, purges: &Purges, noted: Notes, now: Instant, wall: SystemTime) {
        let again = |note: &Note| {
            purges.purge(note.scope(), note.purge(), note.when(now, wall));
            purges.newest()
        };
        let mut pending = lock(&self.pending);
        let mut numbers = lock(&self.numbers);
        *numbers = Numbers { forgotten: noted.forgotten, ..Numbers::default() };
        for (number, note) in noted.notes {
            numbers.pair(number, again(&Note::read(&note, wall)));
        }
        pending.renumber(again);
    }
}

/// Purges by the numbers that a tier gives them, and by those that they have here.
///
/// In doubt a response is taken to be older than a purge.
#[derive(Debug, Default)]
pub(crate) struct Numbers {
    /// What is from before this one of theirs is of no use.
    forgotten: u64,
    /// Theirs and ours, both in order.
    pairs: VecDeque<(u64, u64)>,
}

impl Numbers {
    /// When the newest purge here was `ours`, all up to `theirs` were known; `false`
    /// if that does not go with what is noted of later ones.
    pub(crate) fn pair(&mut self, theirs: u64, ours: u64) -> bool {
        if self.pairs.back().is_some_and(|last| last.0 >= theirs || last.1 >= ours) {
            return false;
        }
        self.pairs.push_back((theirs, ours));
        if self.pairs.len() > MOST {
            self.pairs.pop_front();
        }
        true
    }

    /// What was the newest purge here for who knew all up to `theirs`; `None` if
    /// that cannot be told.
    pub(crate) fn ours(&self, theirs: u64) -> Option<u64> {
        let known = self.pairs.partition_point(|pair| pair.0 <= theirs);
        let ours = known.checked_sub(1).map_or(0, |at| self.pairs[at].1);
        (theirs >= self.forgotten).then_some(ours)
    }

    /// What was the newest of theirs for who knew all up to `ours`.
    pub(crate) fn theirs(&self, ours: u64) -> u64 {
        let known = self.pairs.partition_point(|pair| pair.1 <= ours);
        known.checked_sub(1).map_or(self.forgotten, |at| self.pairs[at].0)
    }
}

/// For how many bytes that may wait one is remembered of those that were turned away:
/// one for each kilobyte of the cache's memory.
const TURNED_AWAY: usize = 64;

/// As many as are told apart in memory.
const MOST: usize = 65_536;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn numbers_are_those_of_who_knew_as_much_or_less() {
        let mut numbers = Numbers::default();
        assert_eq!((numbers.ours(0), numbers.theirs(0)), (Some(0), 0));
        numbers.forgotten = 5;
        assert_eq!((numbers.ours(4), numbers.ours(5), numbers.theirs(0)), (None, Some(0), 5));
        for (theirs, ours) in [(7, 1), (9, 4)] {
            numbers.pair(theirs, ours);
        }
        let ours = [5, 6, 7, 8, 9, 99].map(|theirs| numbers.ours(theirs).unwrap());
        assert_eq!(ours, [0, 0, 1, 1, 4, 4]);
        assert_eq!([0, 1, 3, 4, 9].map(|ours| numbers.theirs(ours)), [5, 7, 7, 9, 9]);
    }

    proptest! {
        #[test]
        fn nothing_gets_younger_on_its_way_there_and_back(
            steps in prop::collection::vec((1_u64..5, 1_u64..5), 0..20), seen in 0_u64..100,
        ) {
            let mut numbers = Numbers::default();
            let (mut theirs, mut ours) = (0, 0);
            for step in steps {
                (theirs, ours) = (theirs + step.0, ours + step.1);
                numbers.pair(theirs, ours);
            }
            prop_assert!(numbers.ours(numbers.theirs(seen)).unwrap() <= seen);
        }
    }
}
