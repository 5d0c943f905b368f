use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use ahash::RandomState;
use tokio::sync::Notify;
use tower_edge_core::Key;

use super::queue::Line;
use crate::lease::{Lease, Terms};

/// What a node has in hand of the keys that were asked about lately.
///
/// A shard holds what was used since it was half full last, and what was used in the
/// time before that: what is older goes, so that it is bounded and needs no list.
pub(crate) struct Leases {
    shards: Box<[Mutex<Shard>]>,
}

/// One key of one quota.
#[derive(Debug)]
pub(crate) struct Entry {
    pub(crate) lease: Lease,
    pub(crate) terms: Terms,
    pub(crate) key: Key,
    /// Who waits for an answer; made when somebody does.
    answered: Option<Arc<Notify>>,
}

/// Permits that go back.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Back {
    pub(crate) line: Line,
    pub(crate) key: Key,
    pub(crate) permits: u32,
}

impl Leases {
    pub(crate) fn new() -> Self {
        Self { shards: (0..SHARDS).map(|_| Mutex::default()).collect() }
    }

    /// Looks at a key that is known.
    #[inline]
    pub(crate) fn known<R>(&self, line: Line, look: impl FnOnce(&mut Entry) -> R) -> Option<R> {
        let mut shard = self.shard(line);
        if let Some(entry) = shard.young.get_mut(&line) {
            return Some(look(entry));
        }
        let mut entry = shard.old.remove(&line)?;
        let looked = look(&mut entry);
        // It takes the place of what it was before.
        shard.young.insert(line, entry);
        Some(looked)
    }

    /// Looks at a key, which is known from now on; tells how many lost what they had
    /// in hand for want of room.
    pub(crate) fn any<R>(
        &self,
        line: Line,
        (room, now): (usize, u64),
        make: impl FnOnce() -> (Key, Terms),
        look: impl FnOnce(&mut Entry, bool) -> R,
    ) -> (R, usize) {
        let mut shard = self.shard(line);
        let lost = shard.make_room(room.div_ceil(2 * SHARDS), now);
        let found = shard.young.remove(&line).or_else(|| shard.old.remove(&line));
        let is_new = found.is_none();
        let entry = found.unwrap_or_else(|| {
            let (key, terms) = make();
            Entry { lease: Lease::default(), terms, key, answered: None }
        });
        let entry = shard.young.entry(line).or_insert(entry);
        (look(entry, is_new), lost)
    }

    /// Forgets a key, or all keys of a quota; tells what they had in hand.
    pub(crate) fn forget(&self, is_it: impl Fn(&Line) -> bool) -> Vec<Back> {
        let mut backs = Vec::new();
        for shard in &self.shards {
            let mut shard = lock(shard);
            let Shard { young, old } = &mut *shard;
            for keys in [young, old] {
                keys.retain(|line, entry| {
                    let goes = is_it(line);
                    if goes {
                        entry.answer();
                        let permits = entry.lease.left(0);
                        backs.push(Back { line: *line, key: entry.key, permits });
                    }
                    !goes
                });
            }
        }
        backs
    }

    /// Forgets what the store has told, but not what is in hand.
    pub(crate) fn doubt(&self, now: u64) {
        for shard in &self.shards {
            let mut shard = lock(shard);
            let Shard { young, old } = &mut *shard;
            young.values_mut().chain(old.values_mut()).for_each(|entry| entry.lease.doubt(now));
        }
    }

    /// Takes what is to go back, up to so many keys, and forgets those at rest.
    pub(crate) fn tend(&self, now: u64, most: usize) -> Vec<Back> {
        let mut backs = Vec::new();
        for shard in &self.shards {
            let mut shard = lock(shard);
            let Shard { young, old } = &mut *shard;
            for keys in [young, old] {
                keys.retain(|line, entry| {
                    if backs.len() < most {
                        let permits = entry.lease.tend(&entry.terms, now);
                        if permits > 0 {
                            backs.push(Back { line: *line, key: entry.key, permits });
                        }
                    }
                    !entry.lease.is_at_rest(now)
                });
            }
        }
        backs
    }

    /// How many keys are known.
    #[cfg(test)]
    pub(crate) fn len(&self) -> usize {
        let len = |shard: &Mutex<Shard>| {
            let shard = lock(shard);
            shard.young.len() + shard.old.len()
        };
        self.shards.iter().map(len).sum()
    }

    fn shard(&self, line: Line) -> MutexGuard<'_, Shard> {
        lock(&self.shards[line.spot.stripe(SHARDS)])
    }
}

impl Entry {
    /// What is told when the answer is there that is waited for.
    pub(crate) fn answered(&mut self) -> Arc<Notify> {
        self.answered.get_or_insert_default().clone()
    }

    /// Wakes all who wait for the answer.
    pub(crate) fn answer(&mut self) {
        if let Some(answered) = self.answered.take() {
            answered.notify_waiters();
        }
    }
}

#[derive(Debug, Default)]
struct Shard {
    young: HashMap<Line, Entry, RandomState>,
    old: HashMap<Line, Entry, RandomState>,
}

impl Shard {
    /// Tells how many lost what they had.
    fn make_room(&mut self, most: usize, now: u64) -> usize {
        if self.young.len() < most.max(1) {
            return 0;
        }
        let mut gone = std::mem::replace(&mut self.old, std::mem::take(&mut self.young));
        gone.values_mut()
            .map(|entry| {
                entry.answer();
                usize::from(entry.lease.left(now) > 0)
            })
            .sum()
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

const SHARDS: usize = 64;

#[cfg(test)]
mod tests {
    use super::super::table::Spot;
    use super::*;
    use crate::{Quota, nonzero};

    fn line(key: u64) -> Line {
        Line { bucket: 0, spot: Spot::new(key.wrapping_mul(0x9e37_79b9_7f4a_7c15)) }
    }

    #[test]
    fn there_are_never_more_keys_than_there_is_room_for() {
        let leases = Leases::new();
        let terms = Terms::new(&Quota::per_second(nonzero!(10)), 1).unwrap();
        for key in 0..100_000 {
            let make = || (Key::GLOBAL, terms);
            let (is_new, _) = leases.any(line(key), (6_400, 0), make, |_, is_new| is_new);
            assert!(is_new);
            // Who is used goes on being known.
            let (is_new, _) = leases.any(line(0), (6_400, 0), make, |_, is_new| is_new);
            assert!(!is_new && leases.known(line(key), |_| ()).is_some());
        }
        assert!((3_200..=6_400).contains(&leases.len()), "{}", leases.len());
        assert_eq!(leases.forget(|known| *known == line(0)).len(), 1);
        assert!(leases.known(line(0), |_| ()).is_none());
    }
}
