use std::sync::PoisonError;
use std::sync::atomic::Ordering::Relaxed;

use super::rule::{Moment, Rule, STATE, STATE_BITS, Verdict};
use super::sync::{AtomicU64, Mutex, Set, Sets, TURNS, WAYS};

/// The states of many keys, in memory that is taken at once and never grows.
///
/// A word holds 24 bits of a key's hash and its state; a key has 16 places where
/// its word can be. There are two places for each key that the table is for, so
/// 16 bytes, and at that fill 1 key in 1,300 finds its places taken. Two keys
/// share a word with odds of less than 2^-20.
///
/// A key at rest is worth nothing, so its place is taken without loss. Only where
/// all are in use the one goes that would be at rest the soonest.
#[derive(Debug)]
pub(crate) struct Table {
    sets: Sets,
    /// Whoever takes a place does so alone, or one key might take two.
    turns: [Mutex<()>; TURNS],
}

/// Where a key's word can be, and how it is told from others.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Spot(u64);

/// What became of an attempt to charge a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Tried {
    pub(crate) verdict: Verdict,
    /// Whether a key in use lost its place.
    pub(crate) evicted: bool,
}

impl Spot {
    /// Of a key with this hash, all of whose bits count.
    pub(crate) const fn new(hash: u64) -> Self {
        Self(hash)
    }

    /// One of so many parts.
    pub(crate) fn stripe(self, parts: usize) -> usize {
        ((u128::from(self.0) * parts as u128) >> u64::BITS) as usize
    }

    fn word(self, state: u64) -> u64 {
        (self.tag() << STATE_BITS) | state
    }

    /// Never 0, which is nobody's.
    fn tag(self) -> u64 {
        (self.0 & (u64::MAX >> STATE_BITS)).max(1)
    }

    /// The order in which the places are looked at: one half of them first, which
    /// is a cache line. Each key begins at a place of its own, so that three of four
    /// are where they are looked for first, and a processor that guesses so is right.
    fn order(self) -> impl Iterator<Item = usize> {
        let first = (self.0 >> (u64::BITS - STATE_BITS)) as usize % WAYS;
        (0..WAYS).map(move |way| way ^ first)
    }
}

impl Table {
    /// Room for so many keys in use at a time.
    pub(crate) fn new(keys: usize) -> Self {
        let sets = Sets::new(keys.div_ceil(WAYS / 2).max(1));
        Self { sets, turns: std::array::from_fn(|_| Mutex::default()) }
    }

    /// Charges a key if it has the permits; writes nothing if not.
    pub(crate) fn charge(&self, rule: &Rule, spot: Spot, moment: Moment, cost: u32) -> Tried {
        self.update(rule, spot, moment, |state| rule.decide(state, moment, cost))
    }

    /// Replaces the state of a key by the `next` one; none if it has no place, there
    /// is no next one or somebody was faster.
    #[inline]
    pub(crate) fn replace(&self, spot: Spot, next: impl Fn(u64) -> Option<u64>) -> Option<u64> {
        let (slot, word) = self.find(spot)?;
        let state = next(word & STATE)?;
        let swapped = slot.compare_exchange(word, spot.word(state), Relaxed, Relaxed);
        swapped.is_ok().then_some(state)
    }

    /// Charges a key whatever it has; tells whether one in use lost its place.
    pub(crate) fn force(&self, rule: &Rule, spot: Spot, moment: Moment, cost: u32) -> bool {
        let charged = |state| Verdict::Admit { state: rule.charged(state, moment, cost) };
        self.update(rule, spot, moment, charged).evicted
    }

    /// Takes back what was charged at that moment.
    pub(crate) fn refund(&self, rule: &Rule, spot: Spot, moment: Moment, cost: u32) {
        self.update_known(spot, |state| rule.refunded(state, moment, cost));
    }

    /// Makes a key as if it had never come.
    pub(crate) fn reset(&self, rule: &Rule, spot: Spot, moment: Moment) {
        // The word stays: places are passed over only up to one never taken.
        self.update_known(spot, |_| rule.fresh(moment));
    }

    /// The state of a key, unless it has none.
    pub(crate) fn state(&self, spot: Spot) -> Option<u64> {
        self.find(spot).map(|(_, word)| word & STATE)
    }

    /// The bytes that the words take.
    #[cfg(test)]
    pub(crate) fn memory(&self) -> usize {
        size_of_val(&*self.sets)
    }

    /// Forgets all keys, one after the other.
    pub(crate) fn clear(&self) {
        self.sets.iter().flatten().for_each(|slot| slot.store(0, Relaxed));
    }

    fn update(
        &self,
        rule: &Rule,
        spot: Spot,
        moment: Moment,
        decide: impl Fn(u64) -> Verdict,
    ) -> Tried {
        loop {
            let Some((slot, word)) = self.find(spot) else {
                match decide(rule.fresh(moment)) {
                    Verdict::Admit { state } => {
                        if let Some(tried) = self.insert(rule, spot, moment, state) {
                            return tried;
                        }
                    }
                    verdict => return Tried { verdict, evicted: false },
                }
                continue;
            };
            let verdict = decide(word & STATE);
            let Verdict::Admit { state } = verdict else {
                return Tried { verdict, evicted: false };
            };
            if slot.compare_exchange(word, spot.word(state), Relaxed, Relaxed).is_ok() {
                return Tried { verdict, evicted: false };
            }
        }
    }

    fn update_known(&self, spot: Spot, next: impl Fn(u64) -> u64) {
        while let Some((slot, word)) = self.find(spot) {
            let next = spot.word(next(word & STATE));
            if slot.compare_exchange(word, next, Relaxed, Relaxed).is_ok() {
                return;
            }
        }
    }

    /// Takes a place for a key; none if somebody else just did for the same key.
    #[cold]
    fn insert(&self, rule: &Rule, spot: Spot, moment: Moment, state: u64) -> Option<Tried> {
        let turn = &self.turns[self.set_of(spot) % TURNS];
        let _turn = turn.lock().unwrap_or_else(PoisonError::into_inner);
        loop {
            if self.find(spot).is_some() {
                return None;
            }
            let (slot, word, used) = self.cheapest(rule, spot, moment);
            if slot.compare_exchange(word, spot.word(state), Relaxed, Relaxed).is_ok() {
                return Some(Tried { verdict: Verdict::Admit { state }, evicted: used > 0 });
            }
        }
    }

    /// The first place that nobody uses, or that of the key which is the soonest
    /// at rest, with what it has used.
    fn cheapest(&self, rule: &Rule, spot: Spot, moment: Moment) -> (&AtomicU64, u64, u64) {
        let set = self.set(spot);
        let mut cheapest: Option<(&AtomicU64, u64, u64)> = None;
        for way in spot.order() {
            let slot = &set[way];
            let word = slot.load(Relaxed);
            let used = match word {
                0 => 0,
                word => rule.used(word & STATE, moment),
            };
            if cheapest.is_none_or(|(_, _, least)| used < least) {
                cheapest = Some((slot, word, used));
            }
            if used == 0 {
                break;
            }
        }
        cheapest.expect("a set has places")
    }

    /// Looks up to a place that was never taken: nobody takes one behind it.
    #[inline(always)]
    fn find(&self, spot: Spot) -> Option<(&AtomicU64, u64)> {
        let (set, tag) = (self.set(spot), spot.tag());
        for way in spot.order() {
            let word = set[way].load(Relaxed);
            if word >> STATE_BITS == tag {
                return Some((&set[way], word));
            }
            if word == 0 {
                return None;
            }
        }
        None
    }

    fn set(&self, spot: Spot) -> &Set {
        &self.sets[self.set_of(spot)]
    }

    /// By the upper bits, which the tag has not.
    fn set_of(&self, spot: Spot) -> usize {
        spot.stripe(self.sets.len())
    }
}
