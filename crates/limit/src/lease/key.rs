use super::demand::Demand;
use super::hand::{Batch, Hand};
use super::terms::Terms;
use super::{AHEAD, BEAT, IDLE, KEPT};

/// What a node knows and has of one key of one quota.
///
/// It has at most its part of 2 % of the burst in hand, or what it is asked for in
/// two beats if that is more; what it holds for a time without requests it gives
/// back.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Lease {
    hand: Hand,
    demand: Demand,
    /// Whether an answer is to come.
    is_asked: bool,
    /// Not to ask before that.
    until: u64,
    /// Whether no answer came when it was asked last.
    is_lost: bool,
    /// When the store told something last, and the time in which all comes back that
    /// was used by then.
    told: u64,
    used: u64,
    /// What is to be charged that nobody asked for.
    debt: u32,
    /// When the last request came.
    requested: u64,
}

/// What becomes of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Step {
    Admit,
    /// Earliest admitted after so many nanoseconds; never if it costs more than there
    /// can be at once.
    Refuse {
        wait: Option<u64>,
    },
    /// What the store answers decides.
    Wait,
    /// The store gave no answer a moment ago.
    Unknown,
}

/// What a store is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Ask {
    /// To be charged in any case.
    pub(crate) charge: u32,
    /// As many as there are, up to so many.
    pub(crate) permits: u32,
}

/// What it answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Answer {
    pub(crate) granted: u32,
    /// The time in which all comes back that is used, the granted permits included.
    pub(crate) used: u64,
}

impl Lease {
    /// Decides about a request.
    #[inline]
    pub(crate) fn request(&mut self, terms: &Terms, now: u64, cost: u32) -> Step {
        self.requested = now;
        self.demand.add(now, cost);
        self.decide(terms, now, cost)
    }

    /// The same for one that was counted already.
    #[inline]
    pub(crate) fn decide(&mut self, terms: &Terms, now: u64, cost: u32) -> Step {
        if self.debt == 0 && cost > 0 && self.hand.take(now, cost) {
            return Step::Admit;
        }
        if !terms.admits(cost) {
            return Step::Refuse { wait: None };
        }
        if cost == 0 && self.debt == 0 {
            return match terms.wait(self.used(now), 0) {
                0 => Step::Admit,
                wait => Step::Refuse { wait: Some(wait) },
            };
        }
        // What is to come is later than what is there.
        let due = self.hand.ready_at(now, cost).filter(|due| self.debt == 0 && *due > now);
        match due {
            Some(due) => Step::Refuse { wait: Some(due - now) },
            None if self.is_asked || now >= self.until => Step::Wait,
            None if self.is_lost => Step::Unknown,
            None => Step::Refuse { wait: Some(self.wait(terms, now, cost)) },
        }
    }

    /// What is to be asked for now; the answer, or that there is none, has to follow.
    #[inline]
    pub(crate) fn ask(&mut self, terms: &Terms, now: u64, step: Step, cost: u32) -> Option<Ask> {
        if self.is_asked || now < self.until {
            return None;
        }
        let (beat, left) = (self.demand.of_a_beat(now), self.hand.left(now));
        let is_needed = step == Step::Wait || self.debt > 0;
        if !is_needed && left >= (beat / 2).max(terms.least / 4) {
            return None;
        }
        let goal = beat.saturating_mul(2).saturating_sub(1).min(self.most(terms, now));
        let goal = goal.max(terms.least).max(cost);
        if !is_needed && left >= goal / 4 {
            return None;
        }
        self.is_asked = true;
        Some(Ask { charge: self.debt, permits: goal.saturating_sub(left) })
    }

    /// Takes what was granted.
    pub(crate) fn answered(&mut self, terms: &Terms, now: u64, ask: Ask, answer: Answer) {
        let (granted, used) = (answer.granted.min(ask.permits), answer.used);
        (self.is_asked, self.is_lost) = (false, false);
        self.debt = self.debt.saturating_sub(ask.charge);
        self.tell(now, used);
        // Beyond the burst are those that were taken before they come back.
        let later = terms.owed(used).min(granted);
        let last = terms.wait(used, 0);
        let first = last.saturating_sub(terms.time_for(later.saturating_sub(1)));
        let [first, last] = [first, last].map(|time| now.saturating_add(time));
        let until = last.saturating_add(KEPT);
        self.hand.add(now, Batch::at_once(granted - later, now, until));
        self.hand.add(now, Batch::evenly(later, first, last, until));
        if granted < ask.permits {
            let more = terms.wait(used, 1).saturating_sub(AHEAD);
            self.until = now.saturating_add(more.max(PAUSE));
        }
    }

    /// What was to be charged while the answer was under way.
    pub(crate) fn ask_more(&mut self) -> Option<Ask> {
        self.is_asked = self.debt > 0;
        self.is_asked.then_some(Ask { charge: self.debt, permits: 0 })
    }

    /// Takes note that no answer came.
    pub(crate) fn failed(&mut self, now: u64) {
        (self.is_asked, self.is_lost) = (false, true);
        self.until = self.until.max(now.saturating_add(BEAT));
    }

    /// Takes note of what a store told.
    pub(crate) fn tell(&mut self, now: u64, used: u64) {
        (self.told, self.used) = (now, used);
    }

    /// Takes nothing for known that was told.
    pub(crate) fn doubt(&mut self, now: u64) {
        (self.until, self.is_lost, self.used) = (now, false, 0);
    }

    /// Puts back what a request took that another quota refuses.
    pub(crate) fn put_back(&mut self, now: u64, permits: u32) {
        self.hand.put_back(now, permits, now.saturating_add(KEPT));
    }

    /// Charges what nobody asked for: first what is in hand, then in the store.
    pub(crate) fn charge(&mut self, now: u64, permits: u32) {
        let ready = self.hand.ready(now).min(permits);
        self.hand.take(now, ready);
        self.debt = self.debt.saturating_add(permits - ready);
        if self.debt > 0 {
            self.until = now;
        }
    }

    /// What is to go back; from now on it is not in hand any more. To be called as
    /// long as there is something, several times in [`KEPT`].
    pub(crate) fn tend(&mut self, terms: &Terms, now: u64) -> u32 {
        let left = self.hand.left(now);
        let goal = match self.is_idle(now) {
            true => 0,
            false => self.demand.of_a_beat(now).saturating_mul(2).max(terms.least),
        };
        let back = if left > goal.saturating_mul(2) { left - goal } else { 0 };
        self.hand.extend(now, now.saturating_add(KEPT));
        self.hand.give(now, back)
    }

    /// Whether it holds nothing and knows nothing that is of use.
    pub(crate) fn is_at_rest(&self, now: u64) -> bool {
        let knows = self.is_asked || self.debt > 0 || now < self.until;
        !knows && self.is_idle(now) && self.hand.left(now) == 0
    }

    /// How many are worth to be in hand: what comes back while they are used, and a part
    /// of what there is, so that something is left for others.
    fn most(&self, terms: &Terms, now: u64) -> u32 {
        let there = terms.available(self.used(now)) / PART;
        there.saturating_add(terms.permits_in(AHEAD))
    }

    /// Whether nobody came lately.
    fn is_idle(&self, now: u64) -> bool {
        now.saturating_sub(self.requested) >= IDLE
    }

    /// What the store would say, by what it told within the last second.
    pub(crate) fn foresee(&self, terms: &Terms, now: u64, cost: u32) -> Step {
        let wait = terms.wait(self.used(now), cost);
        match now.saturating_sub(self.told) < 10 * BEAT {
            _ if !terms.admits(cost) => Step::Refuse { wait: None },
            true if wait > 0 => Step::Refuse { wait: Some(wait) },
            _ => Step::Wait,
        }
    }

    /// The permits that are usable here and now.
    pub(crate) fn ready(&self, now: u64) -> u32 {
        if self.debt > 0 { 0 } else { self.hand.ready(now) }
    }

    /// All that it has.
    pub(crate) fn left(&self, now: u64) -> u32 {
        self.hand.left(now)
    }

    /// The time in which all comes back that was used, as the store told, if nobody
    /// has used more since.
    pub(crate) fn used(&self, now: u64) -> u64 {
        self.used.saturating_sub(now.saturating_sub(self.told))
    }

    /// Until a retry may succeed, where nothing is usable.
    pub(crate) fn wait(&self, terms: &Terms, now: u64, cost: u32) -> u64 {
        let own = self.hand.ready_at(now, cost).map(|at| at.saturating_sub(now));
        own.unwrap_or_else(|| terms.wait(self.used(now), cost).max(self.until.saturating_sub(now)))
    }
}

/// Who got less than it asked for does not ask again before that.
const PAUSE: u64 = BEAT * 3 / 2;

/// A node takes one of so many parts of what there is.
const PART: u32 = 8;
