use std::sync::atomic::Ordering::{AcqRel, Acquire, Relaxed};
use std::time::Duration;

use super::hanging::{Begun, Hanging};
use super::jitter::{Jitter, STEP};
use super::ring::Ring;
use super::rules::Rules;
use super::streak::Streak;
use super::sync::AtomicU64;
use super::trip::Trip;
use super::window::{Counts, Mark, Window};
use super::word::{Mode, State, Word, is_after};

/// A circuit: its state in one word, and what it counts.
///
/// Times are nanoseconds since some start. Each transition is one swap of the
/// word, and whoever makes it hears of it ([`Change`]).
#[derive(Debug)]
pub(crate) struct Circuit {
    word: AtomicU64,
    /// When an open circuit is due to probe, a half-open one gives its probes up
    /// and a ramp ends: 16 bits of the generation that this is about, 48 of
    /// microseconds.
    until: AtomicU64,
    /// Openings since it was closed for good.
    openings: AtomicU64,
    refused: AtomicU64,
    /// Requests that came while it was ramping.
    ramped: AtomicU64,
    streak: Streak,
    rings: Box<[(Window, Ring)]>,
    hanging: Option<Hanging>,
}

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

/// Whose end counts, and when: as long as the circuit has the same generation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Ticket {
    pub(crate) generation: u32,
    pub(crate) probe: bool,
}

/// How a call ended that counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Ended {
    pub(crate) mark: Mark,
    /// When the service wants to be asked again.
    pub(crate) retry_after: Option<Duration>,
}

/// A transition.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Change {
    pub(crate) from: State,
    pub(crate) to: State,
    /// That of the new state.
    pub(crate) generation: u32,
    /// Health checks are to follow.
    pub(crate) checked: bool,
}

/// What a circuit goes by in a moment.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Env<'a> {
    pub(crate) rules: &'a Rules,
    pub(crate) jitter: &'a Jitter,
    /// Whether somebody will check the service's health when it opens.
    pub(crate) checked: bool,
}

/// What a circuit shows of itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct View {
    pub(crate) word: Word,
    pub(crate) counts: Counts,
    pub(crate) refused: u64,
    pub(crate) until: Option<u64>,
}

impl Circuit {
    /// A circuit that counts in these windows, and calls in flight by this
    /// threshold.
    pub(crate) fn new(windows: &[Window], hanging: Option<Duration>, mode: Mode) -> Self {
        Self {
            word: AtomicU64::new(Word::new(mode).pack()),
            until: AtomicU64::new(0),
            openings: AtomicU64::new(0),
            refused: AtomicU64::new(0),
            ramped: AtomicU64::new(0),
            streak: Streak::default(),
            rings: windows.iter().map(|&window| (window, Ring::new(window))).collect(),
            hanging: hanging.map(|threshold| Hanging::new(nanos(threshold))),
        }
    }

    /// The ticket of a request at a closed circuit; none if there is more to
    /// decide, by [`admit`](Self::admit).
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
    pub(crate) fn record(&self, ticket: Ticket, mark: Mark, now: u64) -> bool {
        let generation = ticket.generation;
        if self.word.load(Acquire) as u32 != generation {
            return false;
        }
        for (_, ring) in &self.rings {
            ring.record(generation as u16, now, mark);
        }
        self.streak.record(generation, mark.failure);
        true
    }

    /// Records how a call ended, and does what follows from it.
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

    /// Changes who decides. What was counted under force counts no more.
    pub(crate) fn set_mode(&self, mode: Mode) -> Option<Change> {
        let changed = self.step(|word| match word.mode.is_live() && mode.is_live() {
            true => Some(Word { mode, ..word }),
            false => (word.mode != mode).then(|| word.anew(mode)),
        });
        if changed.is_some_and(|(from, to)| from.generation != to.generation) {
            self.openings.store(0, Relaxed);
        }
        changed.and_then(Change::between)
    }

    /// Closes it and forgets what was counted; the mode stays.
    pub(crate) fn reset(&self) -> Option<Change> {
        let changed = self.step(|word| Some(word.anew(word.mode)));
        self.openings.store(0, Relaxed);
        self.refused.store(0, Relaxed);
        changed.and_then(Change::between)
    }

    /// Starts again for somebody else.
    pub(crate) fn renew(&self, mode: Mode) {
        self.step(|word| Some(word.anew(mode)));
        self.openings.store(0, Relaxed);
        self.refused.store(0, Relaxed);
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

    /// When it is due to do something by itself, as [`View::until`].
    pub(crate) fn until(&self, generation: u32) -> Option<u64> {
        let until = self.until.load(Acquire);
        ((until >> TIME) as u16 == generation as u16).then(|| (until & TIMES) * 1_000)
    }

    /// Whether nothing is lost with it: it does as all do by default, and is
    /// closed, or has been due for a while.
    pub(crate) fn is_idle(&self, default: Mode, now: u64) -> bool {
        let word = self.load();
        let due = || self.until(word.generation).is_some_and(|until| until <= now);
        word.mode == default
            && match word.state {
                _ if !default.is_live() => true,
                State::Closed => true,
                State::Open => due() && !word.checked,
                State::HalfOpen | State::Ramping => due(),
            }
    }

    /// Whether it counts in this window.
    pub(crate) fn has(&self, window: Window) -> bool {
        self.rings.iter().any(|(known, _)| *known == window)
    }

    /// Whether it counts calls in flight.
    pub(crate) fn counts_in_flight(&self) -> bool {
        self.hanging.is_some()
    }

    pub(crate) fn view(&self, now: u64) -> View {
        let word = self.load();
        let counts = self.rings.first().map(|(_, ring)| ring.counts(word.generation as u16, now));
        View {
            word,
            counts: counts.unwrap_or_default(),
            refused: self.refused.load(Relaxed),
            until: self.until(word.generation),
        }
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

    fn open(
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

    fn load(&self) -> Word {
        Word::unpack(self.word.load(Acquire))
    }

    fn swap(&self, from: Word, to: Word) -> Option<Word> {
        let swapped = self.word.compare_exchange(from.pack(), to.pack(), AcqRel, Relaxed);
        swapped.is_ok().then_some(to)
    }

    /// Swaps until it worked or `next` has nothing to change.
    fn step(&self, next: impl Fn(Word) -> Option<Word>) -> Option<(Word, Word)> {
        loop {
            let word = self.load();
            let to = next(word)?;
            if self.swap(word, to).is_some() {
                return Some((word, to));
            }
        }
    }

    /// Sets the time of a generation, unless that of a later one is known.
    fn set_until(&self, generation: u32, now: u64, wait: Duration) {
        let time = now.saturating_add(nanos(wait)).div_ceil(1_000).min(TIMES);
        let tag = generation as u16;
        let _ = self.until.fetch_update(AcqRel, Relaxed, |seen| {
            let is_later = is_after((seen >> TIME) as u16, tag);
            (!is_later).then_some(u64::from(tag) << TIME | time)
        });
    }
}

impl Change {
    fn between((from, to): (Word, Word)) -> Option<Self> {
        let change =
            Self { from: from.state, to: to.state, generation: to.generation, checked: to.checked };
        (from.state != to.state).then_some(change)
    }
}

fn count(generation: u32) -> Admission {
    Admission::Count(Ticket { generation, probe: false })
}

pub(crate) fn nanos(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

const TIME: u32 = 48;
const TIMES: u64 = (1 << TIME) - 1;
