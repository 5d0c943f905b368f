use std::sync::atomic::Ordering::{Acquire, Relaxed};
use std::time::Duration;

use super::circuit::{Change, Circuit, Env, Ticket};
use super::jitter::STEP;
use super::word::{Mode, State, Word};

/// What becomes of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Admission {
    /// It goes on, and its end counts.
    Count(Ticket),
    /// It goes on, and nobody cares how it ends.
    Pass,
    /// It does not go on; it may come back after so long, where that is known.
    Refuse(Option<Duration>),
}

impl Circuit {
    /// The ticket of a request at a closed circuit; none if there is more to
    /// decide, by [`admit`](Self::admit).
    #[inline]
    pub(crate) fn admit_closed(&self) -> Option<Ticket> {
        let generation = Word::counting(self.word.load(Acquire))?;
        Some(Ticket { generation, probe: false })
    }

    /// Decides about a request.
    pub(crate) fn admit(&self, now: u64, env: &Env<'_>) -> (Admission, Option<Change>) {
        loop {
            let word = self.load();
            match word.mode {
                Mode::Disabled => return (Admission::Pass, None),
                Mode::ForcedOpen => return (self.refuse(word, None), None),
                _ => {}
            }
            let until = self.until(word.generation);
            if until.is_none() && self.load() != word {
                continue;
            }
            let due = until.is_some_and(|until| until <= now);
            let wait = until.map(|until| Duration::from_nanos(until.saturating_sub(now)));
            let step = match word.state {
                State::Closed => return (count(word.generation), None),
                State::Ramping if due => self.end_ramp(word),
                State::Ramping if self.is_lucky(wait, env.rules.ramp) => {
                    return (count(word.generation), None);
                }
                State::Ramping => return (self.refuse(word, Some(Duration::ZERO)), None),
                State::Open if due && !word.checked => self.probe_first(word, now, env),
                State::Open => return (self.refuse(word, wait), None),
                // All probes were given back, and nobody came since.
                State::HalfOpen if due && word.probes == 0 => self.probe_first(word, now, env),
                State::HalfOpen if due => self.open(word, now, None, env).map(|change| {
                    let wait = self.until(change.generation).map(|until| until.saturating_sub(now));
                    let wait = Duration::from_nanos(wait.unwrap_or_default());
                    (self.refuse(word, Some(wait)), Some(change))
                }),
                State::HalfOpen if word.has_place(env.rules.probes) => self.probe_next(word),
                State::HalfOpen => return (self.refuse(word, Some(Duration::ZERO)), None),
            };
            if let Some(decided) = step {
                return decided;
            }
        }
    }

    /// Begins a health check, when it is due; gives the generation that its result
    /// counts in.
    pub(crate) fn check(
        &self,
        generation: u32,
        now: u64,
        env: &Env<'_>,
    ) -> Option<(Ticket, Change)> {
        let word = self.load();
        let is_open = word.state == State::Open && word.generation == generation && word.checked;
        if !is_open {
            return None;
        }
        let (admission, change) = self.probe_first(word, now, env)?;
        match admission {
            Admission::Count(ticket) => Some((ticket, change?)),
            _ => None,
        }
    }

    /// One more check of a half-open circuit.
    pub(crate) fn check_again(&self, generation: u32) -> Option<Ticket> {
        let word = self.load();
        let next = word.is_probing(generation).then(|| self.probe_next(word))??;
        match next.0 {
            Admission::Count(ticket) => Some(ticket),
            _ => None,
        }
    }

    /// Leaves the probing to requests, if nobody checks any more.
    pub(crate) fn uncheck(&self, generation: u32) {
        self.step(|word| {
            let checks = word.checked && word.generation == generation;
            checks.then_some(Word { checked: false, probes: 0, ..word })
        });
    }

    /// Goes on without a new generation: what was counted while ramping counts.
    fn end_ramp(&self, word: Word) -> Option<(Admission, Option<Change>)> {
        let closed = self.swap(word, Word { state: State::Closed, ..word })?;
        self.openings.store(0, Relaxed);
        Some((count(word.generation), Change::between((word, closed))))
    }

    /// Becomes half-open, or so once more, with this request as the first probe.
    fn probe_first(
        &self,
        word: Word,
        now: u64,
        env: &Env<'_>,
    ) -> Option<(Admission, Option<Change>)> {
        let (passed, checked) = (word.passed, word.checked);
        let probing = Word { probes: 1, passed, checked, ..word.turned(State::HalfOpen) };
        self.swap(word, probing)?;
        self.set_until(probing.generation, now, env.rules.half_open);
        let ticket = Ticket { generation: probing.generation, probe: true };
        Some((Admission::Count(ticket), Change::between((word, probing))))
    }

    fn probe_next(&self, word: Word) -> Option<(Admission, Option<Change>)> {
        self.swap(word, Word { probes: word.probes + 1, ..word })?;
        let ticket = Ticket { generation: word.generation, probe: true };
        Some((Admission::Count(ticket), None))
    }

    fn refuse(&self, word: Word, wait: Option<Duration>) -> Admission {
        self.refused.fetch_add(1, Relaxed);
        match word.mode {
            Mode::Shadow => Admission::Pass,
            _ => Admission::Refuse(wait),
        }
    }

    /// Whether a request is among those that a ramp admits, `left` before its
    /// end: a share that grows from a tenth, spread evenly (a Weyl sequence).
    fn is_lucky(&self, left: Option<Duration>, ramp: Duration) -> bool {
        let left = left.unwrap_or(ramp).as_secs_f64();
        let share = (1.0 - left / ramp.as_secs_f64()).max(0.1);
        let number = self.ramped.fetch_add(STEP, Relaxed).wrapping_add(STEP);
        (number as f64) < share * 2.0_f64.powi(64)
    }
}

fn count(generation: u32) -> Admission {
    Admission::Count(Ticket { generation, probe: false })
}
