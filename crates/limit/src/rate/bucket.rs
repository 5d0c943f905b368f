use std::sync::PoisonError;
use std::sync::atomic::Ordering::{Acquire, Relaxed, Release};

use super::quota::Quota;
use super::rule::{Moment, Rule, Verdict, WORDS};
use super::sync::{AtomicU64, Mutex, fence, spin_loop};
use super::table::{Spot, Table, Tried};

/// One quota, and what its keys have used of it.
#[derive(Debug)]
pub(crate) struct Bucket {
    rule: Shown,
    table: Table,
}

/// How a key stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Standing {
    /// The permits that are there at once.
    pub(crate) available: u32,
    /// Those owed beyond the burst.
    pub(crate) owed: u32,
    /// The nanoseconds within which no more than the available ones can be used
    /// at the set rate; until the next one, if there is none.
    pub(crate) within: u64,
}

impl Bucket {
    /// For so many keys in use at a time.
    pub(crate) fn new(quota: &Quota, keys: usize) -> Self {
        Self { rule: Shown::new(Rule::new(quota)), table: Table::new(keys) }
    }

    /// Decides without charging.
    pub(crate) fn check(&self, spot: Spot, nanos: u64, cost: u32) -> Verdict {
        let rule = self.rule.load();
        let moment = rule.moment(nanos);
        let state = self.table.state(spot).unwrap_or_else(|| rule.fresh(moment));
        rule.decide(state, moment, cost)
    }

    /// Charges a key if it has the permits.
    #[inline]
    pub(crate) fn charge(&self, spot: Spot, nanos: u64, cost: u32) -> Tried {
        match self.charge_known(spot, nanos, cost) {
            Some(state) => Tried { verdict: Verdict::Admit { state }, evicted: false },
            None => self.charge_any(spot, nanos, cost),
        }
    }

    /// Charges a key by a reading of the clock that is up to a second late, where a precise
    /// one would lead to the same state; none where it might not, and nothing is written.
    #[inline]
    pub(crate) fn charge_roughly(
        &self,
        spot: Spot,
        roughly: impl FnOnce() -> u64,
        cost: u32,
    ) -> Option<u64> {
        let Rule::Gcra(gcra) = self.rule.load() else { return None };
        if !gcra.is_slow() {
            return None;
        }
        let moment = gcra.moment(roughly());
        self.table.replace(spot, |state| gcra.settled(state, moment, cost))
    }

    /// Charges a key whatever it has; tells whether one in use lost its place.
    pub(crate) fn force(&self, spot: Spot, nanos: u64, cost: u32) -> bool {
        let (rule, moment) = self.now(nanos);
        self.table.force(&rule, spot, moment, cost)
    }

    /// Takes back what was charged at that time.
    pub(crate) fn refund(&self, spot: Spot, nanos: u64, cost: u32) {
        let (rule, moment) = self.now(nanos);
        self.table.refund(&rule, spot, moment, cost);
    }

    /// Makes a key as if it had never come.
    pub(crate) fn reset(&self, spot: Spot, nanos: u64) {
        let (rule, moment) = self.now(nanos);
        self.table.reset(&rule, spot, moment);
    }

    pub(crate) fn standing(&self, spot: Spot, nanos: u64) -> Standing {
        let (rule, moment) = self.now(nanos);
        let state = self.table.state(spot).unwrap_or_else(|| rule.fresh(moment));
        let available = rule.available(state, moment);
        let within = match (available, rule.decide(state, moment, 1)) {
            (0, Verdict::Refuse { wait }) => wait.unwrap_or(u64::MAX),
            _ => rule.time_for(available.into()),
        };
        Standing { available, owed: rule.owed(state, moment), within }
    }

    /// The nanoseconds in which so many permits come back, at the set rate.
    pub(crate) fn time_for(&self, permits: u64) -> u64 {
        self.rule.load().time_for(permits)
    }

    /// The permits of a period, and its length in nanoseconds.
    pub(crate) fn rate(&self) -> (u32, u64) {
        self.rule.load().rate()
    }

    /// Goes on with another quota; tells whether what was used is still known.
    pub(crate) fn swap(&self, quota: &Quota, nanos: u64) -> bool {
        self.rule.swap(|rule| match rule.swapped(quota, nanos) {
            Some(swapped) => (swapped, true),
            None => {
                self.table.clear();
                (Rule::new(quota), false)
            }
        })
    }

    /// What nearly all requests take: a key with a place, by a rate, that has the
    /// permits; none if there is more to decide.
    #[inline]
    fn charge_known(&self, spot: Spot, nanos: u64, cost: u32) -> Option<u64> {
        let Rule::Gcra(gcra) = self.rule.load() else { return None };
        let moment = gcra.moment(nanos);
        self.table.replace(spot, |state| match gcra.decide(state, moment, cost) {
            Verdict::Admit { state } => Some(state),
            Verdict::Refuse { .. } => None,
        })
    }

    fn charge_any(&self, spot: Spot, nanos: u64, cost: u32) -> Tried {
        let (rule, moment) = self.now(nanos);
        self.table.charge(&rule, spot, moment, cost)
    }

    fn now(&self, nanos: u64) -> (Rule, Moment) {
        let rule = self.rule.load();
        (rule, rule.moment(nanos))
    }
}

/// A rule that is read all the time and seldom changed: readers write nothing,
/// and read again what was changed meanwhile.
#[derive(Debug)]
struct Shown {
    /// Odd while the words are changed.
    version: AtomicU64,
    words: [AtomicU64; WORDS],
    turn: Mutex<()>,
}

impl Shown {
    fn new(rule: Rule) -> Self {
        let words = rule.to_words().map(AtomicU64::new);
        Self { version: AtomicU64::new(0), words, turn: Mutex::default() }
    }

    #[inline]
    fn load(&self) -> Rule {
        loop {
            let version = self.version.load(Acquire);
            let words = self.words();
            fence(Acquire);
            if version.is_multiple_of(2) && self.version.load(Relaxed) == version {
                return Rule::from_words(words);
            }
            spin_loop();
        }
    }

    fn swap<R>(&self, next: impl FnOnce(Rule) -> (Rule, R)) -> R {
        let _turn = self.turn.lock().unwrap_or_else(PoisonError::into_inner);
        let (rule, told) = next(Rule::from_words(self.words()));
        let version = self.version.load(Relaxed);
        self.version.store(version + 1, Relaxed);
        fence(Release);
        for (word, next) in self.words.iter().zip(rule.to_words()) {
            word.store(next, Relaxed);
        }
        self.version.store(version + 2, Release);
        told
    }

    fn words(&self) -> [u64; WORDS] {
        std::array::from_fn(|word| self.words[word].load(Relaxed))
    }
}
