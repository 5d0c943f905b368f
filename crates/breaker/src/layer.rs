use std::num::{NonZeroU8, NonZeroU32};
use std::sync::{Arc, RwLock};
use std::time::Duration;

use ahash::RandomState;
use bytes::Bytes;
use http::Response;
use tokio::sync::broadcast;
use tower_edge_core::{
    Classifier, Classify, Clock, ExtractKey, Key, Observe, OnRefuse, Refusal, RequestHead,
    Stopwatch,
};
use tower_layer::Layer;

use crate::backoff::Backoff;
use crate::blame::Blame;
use crate::circuit::nanos;
use crate::jitter::Jitter;
use crate::probe::Probe;
use crate::rules::Rules;
use crate::shared::Shared;
use crate::table::{MOST, Table};
use crate::transition::KEPT;
use crate::{Breaker, BreakerHandle, Trip, Window};

/// Stops calling a service that fails, and tries from time to time whether it is
/// well again.
///
/// Put it innermost: what it judges is the service alone. By default it opens
/// when half of at least 20 calls within 10 seconds failed, refuses with 503 and
/// `Retry-After` for a time up to 5 seconds, which doubles up to a minute while
/// the service does not recover, then lets 3 requests through as probes, and
/// closes when they went well. `Retry-After` names the next probe; a second where
/// that may be any moment, while probes are under way or admission grows. There
/// is one circuit for everybody, unless [`keyed`](Self::keyed) makes one for each
/// host, route or tenant.
///
/// Each setter makes new circuits: take [handles](Self::handle) behind the last
/// one. All services made by one layer and its clones share their circuits.
///
/// ```
/// use std::time::Duration;
///
/// use tower::{ServiceBuilder, service_fn};
/// use tower_edge_breaker::{BreakerLayer, State, Trip, Window};
/// # use {bytes::Bytes, http::{Request, Response}, http_body_util::Full, std::convert::Infallible};
///
/// let breaker = BreakerLayer::new()
///     .trip_on([Trip::failure_rate(0.3, Window::time(Duration::from_secs(30)))])
///     .ramp(Duration::from_secs(10));
/// let handle = breaker.handle();
/// let service = ServiceBuilder::new()
///     .layer(breaker)
///     .service(service_fn(async |_: Request<Full<Bytes>>| {
///         Ok::<_, Infallible>(Response::new(Full::new(Bytes::from_static(b"hello"))))
///     }));
/// assert_eq!(handle.snapshot().state, State::Closed);
/// ```
#[derive(Clone, Debug)]
#[must_use]
pub struct BreakerLayer {
    plan: Plan,
    shared: Arc<Shared>,
}

impl Default for BreakerLayer {
    fn default() -> Self {
        Self::new()
    }
}

impl BreakerLayer {
    /// One circuit for everybody.
    pub fn new() -> Self {
        Self::of(Plan::default())
    }

    /// Opens for any of these reasons, in place of those so far; for none of them
    /// if there are none.
    pub fn trip_on(self, trips: impl IntoIterator<Item = Trip>) -> Self {
        self.with(|plan| plan.rules.trips = trips.into_iter().collect())
    }

    /// Calls a service slow that let its caller wait so long; a second at first.
    ///
    /// Time counts while the service is asked and has nothing to give, up to the
    /// end of the body; for upgrades, streams of events and gRPC up to the head,
    /// since silence is in order there. What a client takes to read does not
    /// count. Slow calls open a circuit by [`Trip::slow_rate`] only. But a call
    /// whose caller leaves has failed if the service was silent for so long by
    /// then; otherwise it says nothing.
    ///
    /// # Panics
    ///
    /// If it is zero.
    pub fn slow_after(self, threshold: Duration) -> Self {
        assert!(!threshold.is_zero(), "nothing takes no time");
        self.with(|plan| plan.slow_after = threshold)
    }

    /// Stays open for a random time up to `base` at first, and up to twice as long
    /// each time that it opens again before it was closed for good, up to `cap`; 5
    /// seconds and a minute at first.
    ///
    /// Longer if the response that opened it says so, in `Retry-After` or
    /// `grpc-retry-pushback-ms`; up to an hour.
    ///
    /// # Panics
    ///
    /// If `base` is zero or more than `cap`.
    pub fn open_for(self, base: Duration, cap: Duration) -> Self {
        assert!(!base.is_zero() && base <= cap, "from more than nothing up to the cap");
        self.with(|plan| plan.rules.backoff = Backoff { base, cap })
    }

    /// Lets so many probes through at once when it was open for long enough, and
    /// closes when so many went well; 3 at first. One that fails opens it again.
    pub fn probes(self, probes: NonZeroU8) -> Self {
        self.with(|plan| plan.rules.probes = probes.get())
    }

    /// Opens again when the probes have not ended after so long; 10 seconds at
    /// first. It does so when the next request comes.
    ///
    /// # Panics
    ///
    /// If it is zero.
    pub fn half_open_for(self, time: Duration) -> Self {
        assert!(!time.is_zero(), "no probe takes no time");
        self.with(|plan| plan.rules.half_open = time)
    }

    /// Admits a growing share of the requests for so long after it has closed,
    /// from a tenth to all of them; zero, which is at once, at first.
    pub fn ramp(self, time: Duration) -> Self {
        self.with(|plan| plan.rules.ramp = time)
    }

    /// Probes by `check` in place of requests: it is given the key of the circuit
    /// and says whether the service is well. So many times in a row as there
    /// are [`probes`](Self::probes) to go well.
    ///
    /// It runs in a task on the tokio runtime that the circuit opens in, and may
    /// take as long as [`half_open_for`](Self::half_open_for). Without a runtime, or
    /// when it panics, requests are the probes.
    pub fn probe<F, Check>(self, check: F) -> Self
    where
        F: Fn(Key) -> Check + Send + Sync + 'static,
        Check: Future<Output = bool> + Send + 'static,
    {
        self.with(|plan| plan.probe = Some(Arc::new(move |key| Box::pin(check(key)))))
    }

    /// Makes a circuit for each key, for up to `room` of them at a time; requests
    /// without a key are not judged.
    ///
    /// A new key takes the circuit of one that is idle, which is closed, or has
    /// been due to probe, and was not used lately. Where none is found the requests
    /// of the new key pass without being judged. A circuit takes about half a
    /// KiB, and the bytes of windows of calls. Keys whose seeded hashes of 64 bits are the
    /// same share one.
    ///
    /// # Panics
    ///
    /// If there is room for more than 16 million.
    pub fn keyed(self, key: impl ExtractKey + 'static, room: NonZeroU32) -> Self {
        assert!(room.get() as usize <= MOST, "up to 16 million keys");
        self.with(|plan| plan.key = Some((Arc::new(key), room)))
    }

    /// As [`keyed`](Self::keyed), by a closure.
    pub fn keyed_by<F>(self, key: F, room: NonZeroU32) -> Self
    where
        F: Fn(&RequestHead<'_>) -> Option<Key> + Send + Sync + 'static,
    {
        self.keyed(key, room)
    }

    /// Judges responses by `classify`.
    ///
    /// By default 5xx, but for 501, 505 and 508, which any client gets who asks for
    /// them, and gRPC statuses that blame the server are failures. Refusals of the
    /// layers inside are ignored whatever it says; errors and broken bodies are
    /// failures.
    pub fn classify(self, classify: impl Classify + 'static) -> Self {
        self.with(|plan| plan.classify.replace(classify))
    }

    /// Builds the responses to refused requests.
    pub fn on_refuse<F>(self, response: F) -> Self
    where
        F: Fn(&Refusal, &RequestHead<'_>) -> Response<Bytes> + Send + Sync + 'static,
    {
        self.with(|plan| plan.on_refuse = Some(Arc::new(response)))
    }

    /// Tells `observe` every refusal and transition.
    pub fn observe(self, observe: Arc<dyn Observe>) -> Self {
        self.with(|plan| plan.observe = Some(observe))
    }

    /// Takes the time from `clock`.
    pub fn clock(self, clock: Clock) -> Self {
        self.with(|plan| plan.clock = clock)
    }

    /// Draws the open times from this seed, so that a test knows them; a random one
    /// at first.
    pub fn seed(self, seed: u64) -> Self {
        self.with(|plan| plan.seed = seed)
    }

    /// A handle on the circuits as they are set up by now.
    pub fn handle(&self) -> BreakerHandle {
        BreakerHandle::new(self.shared.clone())
    }

    fn of(plan: Plan) -> Self {
        let shared = Arc::new(plan.shared());
        Self { plan, shared }
    }

    fn with(mut self, set: impl FnOnce(&mut Plan)) -> Self {
        set(&mut self.plan);
        Self::of(self.plan)
    }
}

impl<S> Layer<S> for BreakerLayer {
    type Service = Breaker<S>;

    fn layer(&self, inner: S) -> Breaker<S> {
        Breaker::new(inner, self.shared.clone())
    }
}

/// What circuits are made of.
#[derive(Clone)]
struct Plan {
    clock: Clock,
    classify: Classifier<Blame>,
    slow_after: Duration,
    key: Option<(Arc<dyn ExtractKey>, NonZeroU32)>,
    probe: Option<Probe>,
    observe: Option<Arc<dyn Observe>>,
    on_refuse: Option<OnRefuse>,
    rules: Rules,
    seed: u64,
}

impl Default for Plan {
    fn default() -> Self {
        let trips = [Trip::failure_rate(0.5, Window::time(Duration::from_secs(10)))];
        Self {
            clock: Clock::system(),
            classify: Classifier::new(Blame),
            slow_after: Duration::from_secs(1),
            key: None,
            probe: None,
            observe: None,
            on_refuse: None,
            rules: Rules {
                trips: trips.into(),
                backoff: Backoff { base: Duration::from_secs(5), cap: Duration::from_secs(60) },
                probes: 3,
                half_open: Duration::from_secs(10),
                ramp: Duration::ZERO,
            },
            seed: RandomState::new().hash_one(0),
        }
    }
}

impl Plan {
    fn shared(&self) -> Shared {
        let trips = &self.rules.trips;
        let mut windows: Vec<Window> = Vec::new();
        for window in trips.iter().filter_map(Trip::window) {
            if !windows.contains(&window) {
                windows.push(window);
            }
        }
        let hanging = trips.iter().any(Trip::counts_in_flight).then_some(self.slow_after);
        let room = self.key.as_ref().map_or(1, |(_, room)| room.get() as usize);
        Shared {
            clock: self.clock,
            watch: Stopwatch::start(self.clock),
            rough: windows.iter().all(|window| window.is_long()),
            classify: self.classify.clone(),
            slow_after: nanos(self.slow_after),
            times: self.rules.minds_slowness(),
            plain: self.key.is_none() && !self.rules.minds_slowness(),
            key: self.key.as_ref().map(|(key, _)| key.clone()),
            probe: self.probe.clone(),
            observe: self.observe.clone(),
            on_refuse: self.on_refuse.clone(),
            table: Table::new(room, self.key.is_some(), &windows, hanging),
            hasher: RandomState::new(),
            rules: RwLock::new(Arc::new(self.rules.clone())),
            jitter: Jitter::new(self.seed),
            transitions: broadcast::Sender::new(KEPT),
        }
    }
}

impl std::fmt::Debug for Plan {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Plan").field("rules", &self.rules).finish_non_exhaustive()
    }
}
