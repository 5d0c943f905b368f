use std::sync::atomic::Ordering::{Acquire, Relaxed};
use std::time::Duration;

use super::circuit::{Change, Circuit, Env, Ticket};
use super::hanging::Begun;
use super::ring::Ring;
use super::trip::Trip;
use super::window::Mark;
use super::word::{State, Word};

/// How a call ended that counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Ended {
    pub(crate) mark: Mark,
    /// When the service wants to be asked again.
    pub(crate) retry_after: Option<Duration>,
}

impl Circuit {
    /// Notes that an admitted call begins, where calls in flight count; also says
    /// whether it is time to look at them, by [`look`](Self::look).
    pub(crate) fn begin(&self, ticket: Ticket, now: u64) -> Option<(Begun, bool)> {
        let hanging = self.hanging.as_ref().filter(|_| !ticket.probe)?;
        Some(hanging.begin(ticket.generation as u16, now))
    }

    /// Opens it if too many calls in flight are slow.
    pub(crate) fn look(&self, ticket: Ticket, now: u64, env: &Env<'_>) -> Option<Change> {
        self.trip(ticket.generation, now, None, env)
    }

    /// Takes a call out of flight.
    pub(crate) fn land(&self, begun: Begun) {
        if let Some(hanging) = &self.hanging {
            hanging.end(begun);
        }
    }

    /// Records how a call ended that is no probe, which is all that a good one
    /// takes; false if it counts no more.
    #[inline(always)]
    pub(crate) fn record(&self, ticket: Ticket, mark: Mark, now: u64) -> bool {
        let generation = ticket.generation;
        if self.word.load(Acquire) as u32 != generation {
            return false;
        }
        match &*self.rings {
            [(_, Ring::Time(ring))] => ring.record(generation as u16, now, mark),
            rings => rings.iter().for_each(|(_, ring)| ring.record(generation as u16, now, mark)),
        }
        self.streak.record(generation, mark.failure);
        true
    }

    /// Records how a call ended, and does what follows from it.
    #[inline(never)]
    pub(crate) fn end(
        &self,
        ticket: Ticket,
        ended: &Ended,
        now: u64,
        env: &Env<'_>,
    ) -> Option<Change> {
        let Mark { failure, slow } = ended.mark;
        if ticket.probe {
            let bad = failure || slow && env.rules.minds_slowness();
            return self.end_probe(ticket.generation, bad, ended.retry_after, now, env);
        }
        let counts = self.record(ticket, ended.mark, now) && (failure || slow);
        if counts { self.trip(ticket.generation, now, ended.retry_after, env) } else { None }
    }

    /// Takes note that a call ended in a way that says nothing: a probe gives its
    /// place back.
    pub(crate) fn give_back(&self, ticket: Ticket) {
        self.step(|word| {
            let is_probe = ticket.probe && word.is_probing(ticket.generation) && word.probes > 0;
            is_probe.then(|| Word { probes: word.probes - 1, ..word })
        });
    }

    /// Opens it if there is a reason.
    fn trip(
        &self,
        generation: u32,
        now: u64,
        retry_after: Option<Duration>,
        env: &Env<'_>,
    ) -> Option<Change> {
        let tag = generation as u16;
        let hanging = || self.hanging.as_ref().map_or(0, |hanging| hanging.count(tag, now));
        let is_reason = |trip: &Trip| {
            let ring = self.rings.iter().find(|(window, _)| trip.window() == Some(*window));
            let counts = ring.map(|(_, ring)| ring.counts(tag, now)).unwrap_or_default();
            let hanging = if trip.counts_in_flight() { hanging() } else { 0 };
            trip.holds(counts, self.streak.length(generation), hanging)
        };
        if !env.rules.trips.iter().any(is_reason) {
            return None;
        }
        loop {
            let word = self.load();
            let is_current = word.generation == generation && word.mode.is_live();
            if !is_current || !matches!(word.state, State::Closed | State::Ramping) {
                return None;
            }
            if let Some(change) = self.open(word, now, retry_after, env) {
                return Some(change);
            }
        }
    }

    fn end_probe(
        &self,
        generation: u32,
        bad: bool,
        retry_after: Option<Duration>,
        now: u64,
        env: &Env<'_>,
    ) -> Option<Change> {
        loop {
            let word = self.load();
            if !word.is_probing(generation) {
                return None;
            }
            if bad {
                match self.open(word, now, retry_after, env) {
                    Some(change) => return Some(change),
                    None => continue,
                }
            }
            let passed = word.passed.saturating_add(1);
            if passed < env.rules.probes {
                let probes = word.probes.saturating_sub(1);
                if self.swap(word, Word { probes, passed, ..word }).is_some() {
                    return None;
                }
            } else if let Some(change) = self.close(word, now, env) {
                return Some(change);
            }
        }
    }

    /// Opens it, unless somebody has changed the word.
    pub(super) fn open(
        &self,
        word: Word,
        now: u64,
        retry_after: Option<Duration>,
        env: &Env<'_>,
    ) -> Option<Change> {
        let opened = Word { checked: env.checked, ..word.turned(State::Open) };
        let change = self.swap(word, opened)?;
        let opening = self.openings.fetch_add(1, Relaxed);
        let opening = u32::try_from(opening).unwrap_or(u32::MAX);
        let wait = env.rules.backoff.wait(opening, env.jitter.draw());
        self.set_until(opened.generation, now, wait.max(retry_after.unwrap_or_default()));
        Change::between((word, change))
    }

    fn close(&self, word: Word, now: u64, env: &Env<'_>) -> Option<Change> {
        let ramp = env.rules.ramp;
        let state = if ramp.is_zero() { State::Closed } else { State::Ramping };
        let closed = self.swap(word, word.turned(state))?;
        match state {
            State::Closed => self.openings.store(0, Relaxed),
            _ => self.set_until(closed.generation, now, ramp),
        }
        Change::between((word, closed))
    }
}
