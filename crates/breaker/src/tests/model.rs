//! The circuit as it ships, its source compiled once more over loom's atomics:
//! every interleaving of its threads is run that switches between them up to
//! twice at will; three times, for `--long`, has found no more.

#![expect(clippy::duplicate_mod, reason = "the same source over other atomics is the point")]
#![expect(dead_code, reason = "a model uses what it checks")]

#[path = "../admission.rs"]
mod admission;
#[path = "../call_ring.rs"]
mod call_ring;
#[path = "../circuit.rs"]
mod circuit;
#[path = "../ending.rs"]
mod ending;
#[path = "../hanging.rs"]
mod hanging;
#[path = "../jitter.rs"]
mod jitter;
#[path = "../ring.rs"]
mod ring;
#[path = "../streak.rs"]
mod streak;
#[path = "../table.rs"]
mod table;
#[path = "../time_ring.rs"]
mod time_ring;

/// Stands in for the module of this name beside the circuit.
mod sync {
    pub(super) use loom::sync::Mutex;
    pub(super) use loom::sync::atomic::AtomicU64;
}

use std::num::{NonZeroU16, NonZeroU32};
use std::time::Duration;

use loom::sync::Arc;
use loom::thread;
use tower_edge_core::Key;

use self::admission::Admission;
use self::call_ring::CallRing;
use self::circuit::{Circuit, Env, Ticket};
use self::ending::Ended;
use self::hanging::Hanging;
use self::jitter::Jitter;
use self::table::Table;
use self::time_ring::TimeRing;
use crate::backoff::Backoff;
use crate::rules::Rules;
use crate::tests::is_long;
use crate::trip::Trip;
use crate::window::{Counts, Mark, Window};
use crate::word::{Mode, State, Word};
use crate::{rules, trip, window, word};

fn interleaved(run: impl Fn() + Send + Sync + 'static) {
    let mut model = loom::model::Builder::new();
    model.preemption_bound = Some(if is_long() { 3 } else { 2 });
    model.check(run);
}

/// What a thread does with a circuit, at a time.
type Act = fn(&Sample, u64);

/// A circuit that opens at the second failure of two calls, and its rules.
struct Sample {
    circuit: Circuit,
    rules: Rules,
    jitter: Jitter,
}

impl Sample {
    fn new() -> Self {
        let window = Window::calls(NonZeroU16::new(2).unwrap());
        let rules = Rules {
            trips: [Trip::failure_rate(1.0, window)].into(),
            backoff: Backoff { base: Duration::from_secs(1), cap: Duration::from_secs(1) },
            probes: 2,
            half_open: Duration::from_secs(5),
            ramp: Duration::ZERO,
        };
        Self {
            circuit: Circuit::new(&[window], None, Mode::Automatic),
            rules,
            jitter: Jitter::new(1),
        }
    }

    /// Open since the time 0.
    fn open() -> Self {
        let sample = Self::new();
        for _ in 0..2 {
            sample.end(sample.circuit.admit_closed().unwrap(), true, 0);
        }
        assert_eq!(sample.word().state, State::Open);
        sample
    }

    /// Half-open since the time [`DUE`], with so many probes in flight.
    fn probing(probes: u8) -> (Self, Ticket) {
        let sample = Self::open();
        let ticket = sample.admit(DUE).unwrap();
        (1..probes).for_each(|_| assert!(sample.admit(DUE).unwrap().probe));
        (sample, ticket)
    }

    fn env(&self) -> Env<'_> {
        Env { rules: &self.rules, jitter: &self.jitter, checked: false }
    }

    fn admit(&self, now: u64) -> Option<Ticket> {
        match self.circuit.admit(now, &self.env()).0 {
            Admission::Count(ticket) => Some(ticket),
            _ => None,
        }
    }

    fn end(&self, ticket: Ticket, failure: bool, now: u64) {
        let ended = Ended { mark: Mark { failure, slow: false }, retry_after: None };
        self.circuit.end(ticket, &ended, now, &self.env());
    }

    fn word(&self) -> Word {
        self.circuit.view(0).word
    }

    /// What holds whatever happened before: it is closed, or it knows when to go
    /// on; and good probes close it.
    fn check(&self) {
        let view = self.circuit.view(0);
        assert!(view.word.probes <= 2, "{view:?}");
        if view.word.mode != Mode::Automatic {
            return;
        }
        assert!(view.word.state == State::Closed || view.until.is_some(), "{view:?}");
        for round in 1..4 {
            let now = round * 100_000_000_000;
            let tickets = [self.admit(now), self.admit(now)];
            tickets.into_iter().flatten().for_each(|ticket| self.end(ticket, false, now));
        }
        assert_eq!(self.word().state, State::Closed, "{view:?}");
    }
}

const DUE: u64 = 2_000_000_000;
const LATE: u64 = DUE + 6_000_000_000;

/// Every act with every other one, from the states that they start from.
#[test]
fn every_pair_of_transitions_leaves_a_circuit_that_goes_on() {
    let call: Act = |sample, now| {
        if let Some(ticket) = sample.admit(now) {
            sample.end(ticket, false, now);
        }
    };
    let fail: Act = |sample, now| {
        if let Some(ticket) = sample.admit(now) {
            sample.end(ticket, true, now);
        }
    };
    let drop: Act = |sample, now| {
        if let Some(ticket) = sample.admit(now) {
            sample.circuit.give_back(ticket);
        }
    };
    let force: Act = |sample, _| _ = sample.circuit.set_mode(Mode::ForcedOpen);
    let shadow: Act = |sample, _| _ = sample.circuit.set_mode(Mode::Shadow);
    let reset: Act = |sample, _| _ = sample.circuit.reset();
    let acts = [call, fail, drop, force, shadow, reset];
    let starts: [(fn() -> Sample, u64); 5] = [
        (Sample::new, 0),
        (Sample::open, 0),
        (Sample::open, DUE),
        (|| Sample::probing(1).0, DUE),
        (|| Sample::probing(2).0, LATE),
    ];
    for (start, now) in starts {
        for (at, one) in acts.into_iter().enumerate() {
            for other in acts.into_iter().skip(at) {
                interleaved(move || {
                    let sample = Arc::new(start());
                    let shared = sample.clone();
                    let thread = thread::spawn(move || one(&shared, now));
                    other(&sample, now);
                    thread.join().unwrap();
                    sample.check();
                });
            }
        }
    }
}

#[test]
fn one_transition_is_told_once() {
    interleaved(|| {
        let sample = Arc::new(Sample::new());
        let tickets = [(); 2].map(|()| sample.circuit.admit_closed().unwrap());
        let end = |sample: &Sample, ticket| {
            let ended = Ended { mark: Mark { failure: true, slow: false }, retry_after: None };
            u32::from(sample.circuit.end(ticket, &ended, 0, &sample.env()).is_some())
        };
        let shared = sample.clone();
        let thread = thread::spawn(move || end(&shared, tickets[0]));
        let told = end(&sample, tickets[1]);
        assert_eq!(told + thread.join().unwrap(), 1);
        assert_eq!(sample.word().state, State::Open);
        sample.check();
    });
}

#[test]
fn there_are_never_more_probes_than_places() {
    interleaved(|| {
        let sample = Arc::new(Sample::open());
        let threads = [(); 2].map(|()| {
            let shared = sample.clone();
            thread::spawn(move || u32::from(shared.admit(DUE).is_some()))
        });
        let mut admitted = u32::from(sample.admit(DUE).is_some());
        admitted += threads.map(|thread| thread.join().unwrap()).iter().sum::<u32>();
        assert_eq!((admitted, sample.word().probes), (2, 2));
        sample.check();
    });
}

#[test]
fn an_end_of_before_a_transition_counts_nowhere() {
    interleaved(|| {
        let sample = Arc::new(Sample::new());
        let old = sample.circuit.admit_closed().unwrap();
        let shared = sample.clone();
        let thread = thread::spawn(move || shared.end(old, true, 0));
        sample.circuit.reset();
        let new = sample.circuit.admit_closed().unwrap();
        sample.end(new, false, 0);
        thread.join().unwrap();
        assert_eq!(sample.circuit.view(0).counts, Counts { calls: 1, failures: 0, slow: 0 });
    });
}

#[test]
fn a_probe_that_ends_beside_the_time_limit_moves_it_once() {
    for failure in [false, true] {
        interleaved(move || {
            let (sample, ticket) = Sample::probing(1);
            let sample = Arc::new(sample);
            let shared = sample.clone();
            let thread = thread::spawn(move || shared.end(ticket, failure, LATE));
            assert!(sample.admit(LATE).is_none_or(|ticket| ticket.probe));
            thread.join().unwrap();
            assert!(matches!(sample.word().state, State::Open | State::HalfOpen));
            sample.check();
        });
    }
}

#[test]
fn no_end_is_lost_in_a_window() {
    let bad = Mark { failure: true, slow: true };
    interleaved(move || {
        let rings = Arc::new((TimeRing::new(1_600), CallRing::new(2)));
        let shared = rings.clone();
        let thread = thread::spawn(move || {
            shared.0.record(1, 0, bad);
            shared.1.record(1, bad);
        });
        rings.0.record(1, 100, bad);
        rings.1.record(1, Mark { failure: false, slow: true });
        thread.join().unwrap();
        assert_eq!(rings.0.counts(1, 100), Counts { calls: 2, failures: 2, slow: 2 });
        assert_eq!(rings.1.counts(1), Counts { calls: 2, failures: 1, slow: 2 });
    });
}

#[test]
fn sums_are_those_of_the_last_calls_also_when_writers_overtake_each_other() {
    interleaved(|| {
        let ring = Arc::new(CallRing::new(1));
        let shared = ring.clone();
        let mark = |failure| Mark { failure, slow: false };
        let thread = thread::spawn(move || {
            shared.record(1, mark(true));
            shared.record(1, mark(false));
        });
        ring.record(1, mark(true));
        thread.join().unwrap();
        assert!(ring.counts(1).failures <= 1);
        ring.record(1, mark(false));
        assert_eq!(ring.counts(1), Counts { calls: 1, failures: 0, slow: 0 });
    });
}

#[test]
fn calls_in_flight_are_neither_lost_nor_counted_twice() {
    interleaved(|| {
        let hanging = Arc::new(Hanging::new(400));
        let (old, _) = hanging.begin(1, 0);
        let shared = hanging.clone();
        // Takes the slot of the old call while that ends.
        let thread = thread::spawn(move || shared.begin(1, 800).0);
        hanging.end(old);
        let new = thread.join().unwrap();
        assert_eq!((hanging.count(1, 800), hanging.count(1, 1_300)), (0, 1));
        hanging.end(new);
        assert_eq!(hanging.count(1, 1_300), 0);
    });
}

/// Trips on consecutive failures go by a number of their own.
#[test]
fn a_streak_is_counted_by_all_threads_together() {
    interleaved(|| {
        let mut sample = Sample::new();
        sample.rules.trips = [Trip::consecutive(NonZeroU32::new(2).unwrap())].into();
        let sample = Arc::new(sample);
        let tickets = [(); 2].map(|()| sample.circuit.admit_closed().unwrap());
        let shared = sample.clone();
        let thread = thread::spawn(move || shared.end(tickets[0], true, 0));
        sample.end(tickets[1], true, 0);
        thread.join().unwrap();
        assert_eq!(sample.word().state, State::Open);
    });
}

#[test]
fn nothing_of_one_key_counts_for_another_that_gets_its_circuit() {
    interleaved(|| {
        let window = Window::calls(NonZeroU16::new(2).unwrap());
        let table = Arc::new(Table::new(1, true, &[window], None));
        let old = table.take(&Key::new("old"), 1 << 40, 0).unwrap();
        let shared = table.clone();
        let thread = thread::spawn(move || {
            if let Some(ticket) = shared.admit_closed(old) {
                let mark = Mark { failure: true, slow: false };
                shared.circuit(old).record(ticket, mark, 0);
            }
        });
        let new = table.take(&Key::new("new"), 2 << 40, 0).unwrap();
        assert_eq!(table.find(2 << 40), Some(new));
        thread.join().unwrap();
        let counts = table.circuit(new).view(0).counts;
        assert_eq!(counts.calls, 0, "{counts:?}");
    });
}
