use std::error::Error;
use std::fmt;
use std::num::NonZeroU8;
use std::sync::Arc;
use std::time::Duration;

use http::Method;
use tower_edge_core::{Key, Outcome, Refusal};

use crate::backoff::Backoff;
use crate::call::Call;
use crate::shared::{Decision, Shared};
use crate::table::Place;
use crate::{Mode, State, Transitions, Trip};

/// Looks into the circuits of a breaker and changes them while it runs; from
/// [`BreakerLayer::handle`](crate::BreakerLayer::handle).
///
/// ```
/// use tower_edge_breaker::{BreakerLayer, Mode, State};
///
/// let breaker = BreakerLayer::new();
/// let handle = breaker.handle();
/// handle.set_mode(Mode::ForcedOpen); // maintenance
/// assert_eq!(handle.snapshot().state, State::Open);
/// handle.set_mode(Mode::Automatic);
/// assert_eq!(handle.snapshot().state, State::Closed);
/// ```
#[derive(Clone, Debug)]
pub struct BreakerHandle {
    shared: Arc<Shared>,
}

impl BreakerHandle {
    pub(crate) fn new(shared: Arc<Shared>) -> Self {
        Self { shared }
    }

    /// All circuits together: the sums of their counts, and the state and mode of
    /// the one that is worst off.
    pub fn snapshot(&self) -> CircuitSnapshot {
        let circuits = self.circuits();
        let each = circuits.iter().filter_map(CircuitHandle::snapshot);
        each.reduce(CircuitSnapshot::merge).unwrap_or_default()
    }

    /// The circuits that there are.
    pub fn circuits(&self) -> Vec<CircuitHandle> {
        let shared = &self.shared;
        let handle = |(key, _)| CircuitHandle { shared: shared.clone(), key };
        shared.table.all().into_iter().map(handle).collect()
    }

    /// The circuit of a key, whether it was ever used or not; that of everybody
    /// if there are no keys.
    pub fn circuit(&self, key: &Key) -> CircuitHandle {
        CircuitHandle { shared: self.shared.clone(), key: *key }
    }

    /// Says who decides, for all circuits and those to come.
    ///
    /// [`Mode::Automatic`] and [`Mode::Shadow`] pass into each other as they are;
    /// any other change begins with a closed circuit without counts, or with an
    /// open one.
    pub fn set_mode(&self, mode: Mode) {
        self.shared.table.set_mode(mode);
        self.circuits().iter().for_each(|circuit| _ = circuit.set_mode(mode));
    }

    /// Closes all circuits and forgets what they counted; modes stay.
    pub fn reset(&self) {
        self.circuits().iter().for_each(CircuitHandle::reset);
    }

    /// Tells transitions from now on.
    pub fn subscribe(&self) -> Transitions {
        Transitions::new(self.shared.transitions.subscribe())
    }

    /// Opens for these reasons from now on, as
    /// [`BreakerLayer::trip_on`](crate::BreakerLayer::trip_on).
    ///
    /// # Errors
    ///
    /// If one of them has a window that the layer was not made with, or counts
    /// slow calls where the layer timed none.
    pub fn trip_on(&self, trips: impl IntoIterator<Item = Trip>) -> Result<(), TripError> {
        let trips: Box<[Trip]> = trips.into_iter().collect();
        let known = self.shared.table.circuit(Place::ONLY);
        let fits = |trip: &Trip| {
            (!trip.is_slow() || self.shared.times)
                && (!trip.counts_in_flight() || known.counts_in_flight())
                && trip.window().is_none_or(|window| known.has(window))
        };
        if !trips.iter().all(fits) {
            return Err(TripError(()));
        }
        self.shared.change_rules(|rules| rules.trips = trips);
        Ok(())
    }

    /// As [`BreakerLayer::open_for`](crate::BreakerLayer::open_for), from the next
    /// time on that a circuit opens.
    ///
    /// # Panics
    ///
    /// If `base` is zero or more than `cap`.
    pub fn open_for(&self, base: Duration, cap: Duration) {
        assert!(!base.is_zero() && base <= cap, "from more than nothing up to the cap");
        self.shared.change_rules(|rules| rules.backoff = Backoff { base, cap });
    }

    /// As [`BreakerLayer::probes`](crate::BreakerLayer::probes).
    pub fn probes(&self, probes: NonZeroU8) {
        self.shared.change_rules(|rules| rules.probes = probes.get());
    }

    /// As [`BreakerLayer::ramp`](crate::BreakerLayer::ramp), from the next time on
    /// that a circuit closes.
    pub fn ramp(&self, time: Duration) {
        self.shared.change_rules(|rules| rules.ramp = time);
    }
}

/// One circuit of a breaker.
#[derive(Clone, Debug)]
pub struct CircuitHandle {
    shared: Arc<Shared>,
    key: Key,
}

impl CircuitHandle {
    /// The key that it is for.
    pub fn key(&self) -> &Key {
        &self.key
    }

    /// What it does and has counted; none if it has never been used, or not for so
    /// long that another key has got its place.
    pub fn snapshot(&self) -> Option<CircuitSnapshot> {
        let (place, now) = (self.known()?, self.shared.now());
        let view = self.shared.table.circuit(place).view(now);
        let retry_in = view.until.filter(|_| view.word.state == State::Open);
        Some(CircuitSnapshot {
            state: view.word.state,
            mode: view.word.mode,
            calls: view.counts.calls.into(),
            failures: view.counts.failures.into(),
            slow: view.counts.slow.into(),
            probes: view.word.probes.into(),
            refused: view.refused,
            retry_in: retry_in.map(|until| Duration::from_nanos(until.saturating_sub(now))),
        })
    }

    /// Asks whether a call may go on that is no request through the layer: one to
    /// a store, a queue, or what else there is. It goes on uncounted where there is
    /// no room for a circuit of this key.
    ///
    /// ```
    /// use tower_edge_breaker::BreakerLayer;
    /// use tower_edge_core::{Key, Outcome};
    ///
    /// let circuit = BreakerLayer::new().handle().circuit(&Key::GLOBAL);
    /// let admitted = circuit.admit().expect("it is closed at first");
    /// admitted.end(Outcome::Success);
    /// assert_eq!(circuit.snapshot().unwrap().calls, 1);
    /// ```
    ///
    /// # Errors
    ///
    /// The refusal of an open circuit.
    pub fn admit(&self) -> Result<Admitted, Refusal> {
        let Some(place) = self.place() else { return Ok(Admitted { call: None }) };
        match self.shared.decide_at(place, None, &Method::GET) {
            Decision::Forward(call) => Ok(Admitted { call }),
            Decision::Refuse(refusal, _) => Err(refusal),
        }
    }

    /// Says who decides; false if there is no room for a circuit of this key.
    pub fn set_mode(&self, mode: Mode) -> bool {
        let Some(place) = self.place() else { return false };
        if let Some(change) = self.shared.table.circuit(place).set_mode(mode) {
            self.shared.tell(place.cell, change);
        }
        true
    }

    /// Closes it and forgets what it counted; the mode stays.
    pub fn reset(&self) {
        if let Some(place) = self.known()
            && let Some(change) = self.shared.table.circuit(place).reset()
        {
            self.shared.tell(place.cell, change);
        }
    }

    fn known(&self) -> Option<Place> {
        match self.shared.key {
            Some(_) => self.shared.table.find(self.shared.hasher.hash_one(self.key)),
            None => Some(Place::ONLY),
        }
    }

    fn place(&self) -> Option<Place> {
        match self.shared.key {
            Some(_) => self.shared.place_of(&self.key).ok(),
            None => Some(Place::ONLY),
        }
    }
}

/// A call that a circuit has admitted, from [`CircuitHandle::admit`].
///
/// Dropping it says nothing about who was called, as when whoever called has left;
/// a probe gives its place back.
#[derive(Debug)]
#[must_use = "it is abandoned at once"]
pub struct Admitted {
    /// None where it does not count.
    call: Option<Call>,
}

impl Admitted {
    /// Counts how it ended.
    pub fn end(mut self, outcome: Outcome) {
        if let Some(call) = &mut self.call {
            call.end_with(outcome);
        }
    }
}

/// What a circuit does and has counted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct CircuitSnapshot {
    /// What it does with requests.
    pub state: State,
    /// Who decides.
    pub mode: Mode,
    /// Calls in the window of the first reason that has one.
    pub calls: u64,
    /// The failures among them.
    pub failures: u64,
    /// The slow ones among them.
    pub slow: u64,
    /// Probes in flight.
    pub probes: u64,
    /// Requests refused so far; in shadow, those that would have been.
    pub refused: u64,
    /// The time until it probes, if it is open.
    pub retry_in: Option<Duration>,
}

impl CircuitSnapshot {
    fn merge(self, other: Self) -> Self {
        let rank = |one: &Self| match one.state {
            State::Closed => 0,
            State::Ramping => 1,
            State::HalfOpen => 2,
            State::Open => 3,
        };
        let worst = if rank(&other) > rank(&self) { other } else { self };
        Self {
            calls: self.calls + other.calls,
            failures: self.failures + other.failures,
            slow: self.slow + other.slow,
            probes: self.probes + other.probes,
            refused: self.refused + other.refused,
            retry_in: match (self.retry_in, other.retry_in) {
                (Some(one), Some(other)) => Some(one.min(other)),
                (one, other) => one.or(other),
            },
            ..worst
        }
    }
}

/// A reason to open that asks for what is not counted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TripError(());

impl fmt::Display for TripError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the breaker was not made to count this")
    }
}

impl Error for TripError {}
