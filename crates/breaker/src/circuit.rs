use std::sync::atomic::Ordering::{AcqRel, Acquire, Relaxed};
use std::time::Duration;

use super::hanging::Hanging;
use super::jitter::Jitter;
use super::ring::Ring;
use super::rules::Rules;
use super::streak::Streak;
use super::sync::AtomicU64;
use super::window::{Counts, Window};
use super::word::{Mode, State, Word, is_after};

/// A circuit: its state in one word, and what it counts. How requests come in
/// is in [`admission`](super::admission), how calls end in
/// [`ending`](super::ending).
///
/// Times are nanoseconds since some start. Each transition is one swap of the
/// word, and whoever makes it hears of it ([`Change`]).
#[derive(Debug)]
pub(crate) struct Circuit {
    pub(super) word: AtomicU64,
    /// When an open circuit is due to probe, a half-open one gives its probes up
    /// and a ramp ends: 16 bits of the generation that this is about, 48 of
    /// microseconds.
    pub(super) until: AtomicU64,
    /// Openings since it was closed for good.
    pub(super) openings: AtomicU64,
    pub(super) refused: AtomicU64,
    /// Requests that came while it was ramping.
    pub(super) ramped: AtomicU64,
    pub(super) streak: Streak,
    pub(super) rings: Box<[(Window, Ring)]>,
    pub(super) hanging: Option<Hanging>,
}

/// Whose end counts, and when: as long as the circuit has the same generation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Ticket {
    pub(crate) generation: u32,
    pub(crate) probe: bool,
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

    pub(super) fn load(&self) -> Word {
        Word::unpack(self.word.load(Acquire))
    }

    pub(super) fn swap(&self, from: Word, to: Word) -> Option<Word> {
        let swapped = self.word.compare_exchange(from.pack(), to.pack(), AcqRel, Relaxed);
        swapped.is_ok().then_some(to)
    }

    /// Swaps until it worked or `next` has nothing to change.
    pub(super) fn step(&self, next: impl Fn(Word) -> Option<Word>) -> Option<(Word, Word)> {
        loop {
            let word = self.load();
            let to = next(word)?;
            if self.swap(word, to).is_some() {
                return Some((word, to));
            }
        }
    }

    /// Sets the time of a generation, unless that of a later one is known.
    pub(super) fn set_until(&self, generation: u32, now: u64, wait: Duration) {
        let time = now.saturating_add(nanos(wait)).div_ceil(1_000).min(TIMES);
        let tag = generation as u16;
        let _ = self.until.fetch_update(AcqRel, Relaxed, |seen| {
            let is_later = is_after((seen >> TIME) as u16, tag);
            (!is_later).then_some(u64::from(tag) << TIME | time)
        });
    }
}

impl Change {
    pub(super) fn between((from, to): (Word, Word)) -> Option<Self> {
        let change =
            Self { from: from.state, to: to.state, generation: to.generation, checked: to.checked };
        (from.state != to.state).then_some(change)
    }
}

pub(crate) fn nanos(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

const TIME: u32 = 48;
const TIMES: u64 = (1 << TIME) - 1;
