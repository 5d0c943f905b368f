//! The circuit once more, in the plainest way: lists, no packing, no threads. A
//! property test plays the same calls to both.

use std::num::{NonZeroU16, NonZeroU32};
use std::time::Duration;

use proptest::prelude::*;

use crate::admission::Admission;
use crate::backoff::Backoff;
use crate::circuit::{Change, Circuit, Env, Ticket};
use crate::ending::Ended;
use crate::jitter::Jitter;
use crate::rules::Rules;
use crate::tests::is_long;
use crate::trip::Trip;
use crate::window::{Counts, Mark, Window};
use crate::word::{Mode, State};

/// What can happen to a circuit. Calls in flight are named by a number, modulo
/// how many there are.
#[derive(Clone, Copy, Debug)]
enum Step {
    Call,
    Good(usize),
    Fail(usize),
    Slow(usize),
    /// Dropped so late that it counts as a failure.
    AbandonLate(usize),
    /// Dropped before the head or in the body, so early that it says nothing; or
    /// refused by a layer inside.
    AbandonEarly(usize),
    Advance(u64),
    SetMode(Mode),
    Reset,
    Configure {
        probes: u8,
        ramp: bool,
    },
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let which = 0_usize..64;
    let mode = prop::sample::select(vec![
        Mode::Automatic,
        Mode::Automatic,
        Mode::Shadow,
        Mode::ForcedOpen,
        Mode::ForcedClosed,
        Mode::Disabled,
    ]);
    let step = prop_oneof![
        30 => Just(Step::Call),
        12 => which.clone().prop_map(Step::Good),
        12 => which.clone().prop_map(Step::Fail),
        3 => which.clone().prop_map(Step::Slow),
        3 => which.clone().prop_map(Step::AbandonLate),
        5 => which.prop_map(Step::AbandonEarly),
        12 => (0_u64..400).prop_map(Step::Advance),
        2 => (400_u64..20_000).prop_map(Step::Advance),
        1 => mode.prop_map(Step::SetMode),
        1 => Just(Step::Reset),
        1 => (1_u8..5, any::<bool>()).prop_map(|(probes, ramp)| Step::Configure { probes, ramp }),
    ];
    prop::collection::vec(step, 1..400)
}

fn trips() -> impl Strategy<Value = Vec<Trip>> {
    let three = NonZeroU32::new(3).unwrap();
    prop::sample::subsequence(
        vec![
            Trip::consecutive(three),
            Trip::failure_rate(0.5, CALLS).minimum(three),
            Trip::failure_rate(0.4, TIME).minimum(three),
            Trip::slow_rate(0.3, TIME).minimum(three),
        ],
        0..=4,
    )
}

fn rules(trips: &[Trip], probes: u8, ramp: bool) -> Rules {
    Rules {
        trips: trips.into(),
        backoff: Backoff { base: Duration::from_millis(500), cap: Duration::from_secs(4) },
        probes,
        half_open: Duration::from_secs(2),
        ramp: if ramp { Duration::from_secs(3) } else { Duration::ZERO },
    }
}

struct Reference {
    mode: Mode,
    state: State,
    /// Counts transitions.
    generation: u64,
    /// The generations of probes in flight.
    probes: Vec<u64>,
    passed: u8,
    until: u64,
    openings: u32,
    /// Ends in this generation, with their milliseconds.
    ends: Vec<(u64, Mark)>,
    jitter: Jitter,
    rules: Rules,
}

#[derive(Clone, Copy, Debug, PartialEq)]
struct Call {
    generation: u64,
    probe: bool,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Decision {
    Count(Call),
    Pass,
    Refuse,
    /// Left to the lottery of the ramp.
    Either(Call),
}

impl Reference {
    fn turn(&mut self, state: State) {
        self.generation += 1;
        self.state = state;
        self.probes.clear();
        self.ends.clear();
        if state != State::HalfOpen {
            self.passed = 0;
        }
    }

    fn open(&mut self, now: u64) {
        self.turn(State::Open);
        let wait = self.rules.backoff.wait(self.openings, self.jitter.draw());
        self.until = now * 1_000 + (wait.as_nanos() as u64).div_ceil(1_000);
        self.openings += 1;
    }

    fn probe(&mut self) -> Decision {
        self.probes.push(self.generation);
        Decision::Count(Call { generation: self.generation, probe: true })
    }

    fn probe_first(&mut self, now: u64) -> Decision {
        self.turn(State::HalfOpen);
        self.until = now * 1_000 + self.rules.half_open.as_micros() as u64;
        self.probe()
    }

    fn call(&mut self, now: u64) -> Decision {
        let refused = if self.mode == Mode::Shadow { Decision::Pass } else { Decision::Refuse };
        let counted = Call { generation: self.generation, probe: false };
        let due = self.until <= now * 1_000;
        match (self.mode, self.state) {
            (Mode::Disabled, _) => Decision::Pass,
            (Mode::ForcedOpen, _) => Decision::Refuse,
            (_, State::Closed) => Decision::Count(counted),
            (_, State::Ramping) if due => {
                self.state = State::Closed;
                self.openings = 0;
                Decision::Count(counted)
            }
            (_, State::Ramping) => Decision::Either(counted),
            (_, State::Open) if due => self.probe_first(now),
            (_, State::Open) => refused,
            (_, State::HalfOpen) if due && self.probes.is_empty() => self.probe_first(now),
            (_, State::HalfOpen) if due => {
                self.open(now);
                refused
            }
            (_, State::HalfOpen) => {
                let taken = self.probes.len() + usize::from(self.passed);
                if taken < usize::from(self.rules.probes) { self.probe() } else { refused }
            }
        }
    }

    fn counts(&self, window: Option<Window>, now: u64) -> Counts {
        let ends: Vec<_> = match window {
            Some(CALLS) => self.ends.iter().rev().take(8).collect(),
            _ => self.ends.iter().filter(|(at, _)| at / 100 + 16 > now / 100).collect(),
        };
        let count = |of: fn(&Mark) -> bool| ends.iter().filter(|(_, mark)| of(mark)).count();
        Counts {
            calls: ends.len() as u32,
            failures: count(|mark| mark.failure) as u32,
            slow: count(|mark| mark.slow) as u32,
        }
    }

    fn end(&mut self, call: Call, mark: Mark, now: u64) {
        if call.generation != self.generation {
            return;
        }
        let minds_slowness = self.rules.trips.iter().any(Trip::is_slow);
        if call.probe {
            if mark.failure || mark.slow && minds_slowness {
                self.open(now);
                return;
            }
            self.probes.pop();
            self.passed += 1;
            if self.passed >= self.rules.probes {
                self.close(now);
            }
            return;
        }
        self.ends.push((now, mark));
        if !(mark.failure || mark.slow) || !matches!(self.mode, Mode::Automatic | Mode::Shadow) {
            return;
        }
        let streak = self.ends.iter().rev().take_while(|(_, mark)| mark.failure).count() as u32;
        let trips = self.rules.trips.clone();
        if trips.iter().any(|trip| trip.holds(self.counts(trip.window(), now), streak, 0)) {
            self.open(now);
        }
    }

    fn close(&mut self, now: u64) {
        if self.rules.ramp.is_zero() {
            self.turn(State::Closed);
            self.openings = 0;
        } else {
            self.turn(State::Ramping);
            self.until = now * 1_000 + self.rules.ramp.as_micros() as u64;
        }
    }

    fn set_mode(&mut self, mode: Mode) {
        let live = |mode| matches!(mode, Mode::Automatic | Mode::Shadow);
        if mode != self.mode && !(live(mode) && live(self.mode)) {
            self.restart(mode);
        }
        self.mode = mode;
    }

    fn restart(&mut self, mode: Mode) {
        self.turn(if mode == Mode::ForcedOpen { State::Open } else { State::Closed });
        self.openings = 0;
    }
}

/// Both, side by side.
struct Pair {
    circuit: Circuit,
    reference: Reference,
    jitter: Jitter,
    rules: Rules,
    now: u64,
    in_flight: Vec<(Ticket, Call)>,
}

impl Pair {
    fn new(trips: &[Trip], probes: u8, ramp: bool) -> Self {
        let rules = rules(trips, probes, ramp);
        let reference = Reference {
            mode: Mode::Automatic,
            state: State::Closed,
            generation: 1,
            probes: Vec::new(),
            passed: 0,
            until: 0,
            openings: 0,
            ends: Vec::new(),
            jitter: Jitter::new(9),
            rules: rules.clone(),
        };
        let circuit = Circuit::new(&[CALLS, TIME], None, Mode::Automatic);
        let (jitter, in_flight) = (Jitter::new(9), Vec::new());
        Self { circuit, reference, jitter, rules, now: 0, in_flight }
    }

    fn nanos(&self) -> u64 {
        self.now * 1_000_000
    }

    fn call(&mut self) -> (Option<Change>, bool) {
        let env = Env { rules: &self.rules, jitter: &self.jitter, checked: false };
        let at_once = self.circuit.admit_closed().map(Admission::Count);
        let (admission, change) = match at_once {
            Some(admission) => (admission, None),
            None => self.circuit.admit(self.nanos(), &env),
        };
        let decision = self.reference.call(self.now);
        match (admission, decision) {
            (Admission::Count(ticket), Decision::Count(call) | Decision::Either(call)) => {
                assert_eq!(ticket.probe, call.probe);
                assert_eq!(u64::from(ticket.generation), call.generation);
                self.in_flight.push((ticket, call));
            }
            (Admission::Pass, Decision::Pass) => {}
            (Admission::Pass, Decision::Either(_)) => assert_eq!(self.reference.mode, Mode::Shadow),
            (Admission::Refuse(_), Decision::Refuse | Decision::Either(_)) => {}
            differ => panic!("{differ:?}"),
        }
        (change, matches!(admission, Admission::Count(_)))
    }

    fn end(&mut self, which: usize, mark: Option<Mark>) {
        if self.in_flight.is_empty() {
            return;
        }
        let (ticket, call) = self.in_flight.remove(which % self.in_flight.len());
        let is_stale = call.generation != self.reference.generation;
        let before = self.circuit.view(self.nanos());
        match mark {
            Some(mark) => {
                let env = Env { rules: &self.rules, jitter: &self.jitter, checked: false };
                let ended = Ended { mark, retry_after: None };
                self.circuit.end(ticket, &ended, self.nanos(), &env);
                self.reference.end(call, mark, self.now);
            }
            None => {
                self.circuit.give_back(ticket);
                if call.probe && !is_stale && self.reference.state == State::HalfOpen {
                    self.reference.probes.pop();
                }
            }
        }
        if is_stale {
            assert_eq!(self.circuit.view(self.nanos()), before, "a stale end changes nothing");
        }
    }

    fn play(&mut self, step: Step, trips: &[Trip]) {
        let mark = |failure, slow| Some(Mark { failure, slow });
        match step {
            Step::Call => _ = self.call(),
            Step::Good(which) => self.end(which, mark(false, false)),
            Step::Fail(which) => self.end(which, mark(true, false)),
            Step::Slow(which) => self.end(which, mark(false, true)),
            Step::AbandonLate(which) => self.end(which, mark(true, true)),
            Step::AbandonEarly(which) => self.end(which, None),
            Step::Advance(millis) => self.now += millis,
            Step::SetMode(mode) => {
                self.circuit.set_mode(mode);
                self.reference.set_mode(mode);
            }
            Step::Reset => {
                self.circuit.reset();
                self.reference.restart(self.reference.mode);
            }
            Step::Configure { probes, ramp } => {
                self.rules = rules(trips, probes, ramp);
                self.reference.rules = self.rules.clone();
            }
        }
    }

    fn check(&self) {
        let view = self.circuit.view(self.nanos());
        let reference = &self.reference;
        assert_eq!((view.word.state, view.word.mode), (reference.state, reference.mode));
        assert_eq!(u64::from(view.word.generation), reference.generation);
        assert_eq!(usize::from(view.word.probes), reference.probes.len());
        assert_eq!(view.word.passed, reference.passed);
        assert_eq!(view.counts, reference.counts(Some(CALLS), self.now));
        let moves = matches!(reference.mode, Mode::Automatic | Mode::Shadow)
            && reference.state != State::Closed;
        if moves {
            assert_eq!(view.until, Some(reference.until * 1_000), "a timer is due");
        }
        let probes = self
            .in_flight
            .iter()
            .filter(|(ticket, _)| ticket.probe && ticket.generation == view.word.generation);
        assert!(probes.count() <= 4, "more probes in flight than there ever may be");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(if is_long() { 100_000 } else { 300 }))]

    #[test]
    fn the_circuit_is_the_reference(
        steps in steps(), trips in trips(), probes in 1_u8..5, ramp: bool,
    ) {
        let mut pair = Pair::new(&trips, probes, ramp);
        for step in steps {
            pair.play(step, &trips);
            pair.check();
        }
    }

    #[test]
    fn good_probes_close_it_whatever_came_before(
        steps in steps(), trips in trips(), probes in 1_u8..5,
    ) {
        let mut pair = Pair::new(&trips, probes, false);
        steps.into_iter().for_each(|step| pair.play(step, &trips));
        pair.play(Step::SetMode(Mode::Automatic), &trips);
        pair.play(Step::Configure { probes, ramp: false }, &trips);
        // Whoever is still in flight never ends. An open circuit probes after the
        // cap at the latest; a half-open one opens first if its probes hang.
        for _ in 0..2 {
            pair.now += 4_001;
            if pair.reference.state != State::Closed {
                pair.call();
            }
            for _ in 0..probes {
                if pair.reference.state == State::HalfOpen && pair.reference.probes.is_empty() {
                    pair.call();
                }
                if pair.in_flight.last().is_some_and(|(ticket, _)| ticket.probe) {
                    pair.end(pair.in_flight.len() - 1, Some(GOOD));
                }
            }
        }
        pair.check();
        prop_assert_eq!(pair.reference.state, State::Closed);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(if is_long() { 1_000 } else { 40 }))]

    #[test]
    fn a_hard_outage_opens_a_window_of_calls_in_time(
        size in 1_u16..200, percent in 1_u32..=100, minimum in 1_u32..200,
        successes in prop::sample::select(vec![0, 1, 10, 199, 1_000, 100_000]),
    ) {
        let window = Window::calls(NonZeroU16::new(size).unwrap());
        let minimum = minimum.min(size.into());
        let trip = Trip::failure_rate(f64::from(percent) / 100.0, window);
        let trip = trip.minimum(NonZeroU32::new(minimum).unwrap());
        let failures = outage(trip, window, successes, |_| 0);
        let bound = minimum.max((u32::from(size) * percent).div_ceil(100));
        prop_assert!(failures <= bound, "{} failures, not {}", failures, bound);
    }

    #[test]
    fn a_hard_outage_opens_a_window_of_time_within_its_length(
        percent in 1_u32..=100, minimum in 1_u32..100, gap in 1_u64..1_000,
        successes in prop::sample::select(vec![0, 1, 1_000, 100_000]),
    ) {
        let window = Window::time(Duration::from_secs(10));
        let trip = Trip::failure_rate(f64::from(percent) / 100.0, window);
        let per_window = u32::try_from(9_000 / gap).unwrap().max(1);
        let trip = trip.minimum(NonZeroU32::new(minimum.min(per_window)).unwrap());
        let failures = outage(trip, window, successes, |number| u64::from(number) * gap);
        prop_assert!(u64::from(failures) * gap <= 10_000 + gap, "{} times {} ms", failures, gap);
    }
}

/// How many failures it takes to open a circuit after so many successes, at these
/// milliseconds after them.
fn outage(trip: Trip, window: Window, successes: u32, at: impl Fn(u32) -> u64) -> u32 {
    let (rules, jitter) = (rules(&[trip], 1, false), Jitter::new(0));
    let env = Env { rules: &rules, jitter: &jitter, checked: false };
    let circuit = Circuit::new(&[window], None, Mode::Automatic);
    let start = 3_600_000_000_000;
    let ticket = circuit.admit_closed().unwrap();
    let good = Ended { mark: GOOD, retry_after: None };
    for _ in 0..successes {
        circuit.end(ticket, &good, start, &env);
    }
    let bad = Ended { mark: Mark { failure: true, slow: false }, retry_after: None };
    let opens =
        |number: &u32| circuit.end(ticket, &bad, start + at(*number) * 1_000_000, &env).is_some();
    (1..100_000).find(opens).expect("an outage opens it")
}

const GOOD: Mark = Mark { failure: false, slow: false };
const CALLS: Window = Window::calls(NonZeroU16::new(8).unwrap());
const TIME: Window = Window::time(Duration::from_millis(1_600));
