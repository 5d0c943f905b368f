//! What a quota makes of the state of a key.

use super::gcra::Gcra;
use super::quota::Quota;
use super::window::Window;

/// What becomes of a request, by one quota.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// This is the state after it.
    Admit { state: u64 },
    /// Earliest admitted after so many nanoseconds; never if it costs more than
    /// there can be at once.
    Refuse { wait: Option<u64> },
}

/// A quota, ready to decide.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Rule {
    Gcra(Gcra),
    Window(Window),
}

/// A reading of the clock, as the rule has it.
pub(crate) type Moment = u64;

impl Rule {
    pub(crate) fn new(quota: &Quota) -> Self {
        match Gcra::new(quota) {
            Some(gcra) => Self::Gcra(gcra),
            None => Self::Window(Window::new(quota)),
        }
    }

    /// Goes on with another quota; none where the states mean nothing to it.
    pub(crate) fn swapped(&self, quota: &Quota, nanos: u64) -> Option<Self> {
        match self {
            Self::Gcra(gcra) => gcra.swapped(quota, nanos).map(Self::Gcra),
            Self::Window(window) if quota.bursts().is_none() => {
                let swapped = Window::new(quota);
                (swapped == *window).then_some(Self::Window(swapped))
            }
            Self::Window(_) => None,
        }
    }

    #[inline]
    pub(crate) fn moment(&self, nanos: u64) -> Moment {
        match self {
            Self::Gcra(gcra) => gcra.moment(nanos),
            Self::Window(_) => nanos,
        }
    }

    /// The state of a key that never came.
    #[inline]
    pub(crate) fn fresh(&self, moment: Moment) -> u64 {
        match self {
            Self::Gcra(_) => moment,
            Self::Window(_) => 0,
        }
    }

    #[inline]
    pub(crate) fn decide(&self, state: u64, moment: Moment, cost: u32) -> Verdict {
        match self {
            Self::Gcra(gcra) => gcra.decide(state, moment, cost),
            Self::Window(window) => window.decide(state, moment, cost),
        }
    }

    /// The state after a cost that nobody asked for.
    pub(crate) fn charged(&self, state: u64, moment: Moment, cost: u32) -> u64 {
        match self {
            Self::Gcra(gcra) => gcra.charged(state, moment, cost),
            Self::Window(window) => window.charged(state, moment, cost),
        }
    }

    /// The state as if a cost had not been charged at that moment.
    pub(crate) fn refunded(&self, state: u64, moment: Moment, cost: u32) -> u64 {
        match self {
            Self::Gcra(gcra) => gcra.refunded(state, moment, cost),
            Self::Window(window) => window.refunded(state, moment, cost),
        }
    }

    /// How far a key is from being at rest, to compare keys by; 0 for one that is,
    /// which is worth no more than one that never came.
    pub(crate) fn used(&self, state: u64, moment: Moment) -> u64 {
        match self {
            Self::Gcra(gcra) => gcra.used(state, moment),
            Self::Window(window) => window.used(state, moment),
        }
    }

    /// The permits that are there at once.
    pub(crate) fn available(&self, state: u64, moment: Moment) -> u32 {
        match self {
            Self::Gcra(gcra) => gcra.available(state, moment),
            Self::Window(window) => window.available(state, moment),
        }
    }

    /// The permits owed beyond that.
    pub(crate) fn owed(&self, state: u64, moment: Moment) -> u32 {
        match self {
            Self::Gcra(gcra) => gcra.owed(state, moment),
            Self::Window(window) => window.owed(state, moment),
        }
    }

    /// The nanoseconds in which so many permits come back, at the set rate.
    pub(crate) fn time_for(&self, permits: u64) -> u64 {
        match self {
            Self::Gcra(gcra) => gcra.time_for(permits),
            Self::Window(window) => window.time_for(permits),
        }
    }

    /// The permits of a period, and its length in nanoseconds.
    pub(crate) fn rate(&self) -> (u32, u64) {
        match self {
            Self::Gcra(gcra) => (gcra.permits, gcra.nanos),
            Self::Window(window) => (window.permits, window.nanos),
        }
    }

    /// The rule as numbers, for [`from_words`](Self::from_words).
    pub(crate) fn to_words(self) -> [u64; WORDS] {
        match self {
            Self::Gcra(gcra) => gcra.to_words(),
            Self::Window(window) => window.to_words(),
        }
    }

    #[inline]
    pub(crate) fn from_words(words: [u64; WORDS]) -> Self {
        // A GCRA has a multiplier.
        match words[0] {
            0 => Self::Window(Window::from_words(words)),
            _ => Self::Gcra(Gcra::from_words(words)),
        }
    }
}

/// How many numbers make a rule.
pub(crate) const WORDS: usize = 8;

/// The bits of a state; the rest of a word tells whose it is.
pub(crate) const STATE_BITS: u32 = 40;
pub(crate) const STATE: u64 = (1 << STATE_BITS) - 1;

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::nonzero;

    #[test]
    fn a_rule_is_made_of_its_numbers_again() {
        let fast = Quota::per_second(nonzero!(100)).burst(nonzero!(20)).debt(7);
        let strict = Quota::in_any(nonzero!(30), Duration::from_secs(60));
        for quota in [fast, Quota::per_day(nonzero!(1)), strict] {
            let rule = Rule::new(&quota);
            assert_eq!(Rule::from_words(rule.to_words()), rule);
            let swapped = rule.swapped(&quota, 12_345).unwrap();
            assert_eq!(Rule::from_words(swapped.to_words()), swapped);
        }
    }
}
