use std::fmt;
use std::hint;
use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::Duration;

use http::{HeaderMap, HeaderName, HeaderValue};
use tower_edge_core::{
    Classifier, Classify, Clock, Event, Observe, RequestHead, Route, ServerErrors, Stopwatch,
};
use tower_layer::Layer;

use crate::labels::RouteId;
use crate::records::Records;
use crate::slow::SlowLog;
use crate::{LatencyHandle, LatencyService};

/// Measures requests: time to the first byte, time to the end of the body,
/// outcome, bytes, and how many are in flight.
///
/// Put it outermost: it sees what clients see. Requests are told apart by
/// method, scheme, status and route; [`with_max_series`](Self::with_max_series)
/// says how that is bounded. A request whose future or body is dropped is
/// measured up to that moment, as abandoned.
///
/// The first byte is there when the head of the response is, with what there is of
/// its body by then: a server sends both at once. A request whose first byte is its
/// last one costs two readings of the clock, any other three.
///
/// Upgrades, tunnels and streams of events last as long as somebody listens:
/// they have series of their own ([`is_long_lived`](crate::SeriesSnapshot::is_long_lived)).
///
/// By default 5xx and failed gRPC statuses are failures, nothing is slow,
/// `Server-Timing` is off and nothing is logged. The layer passes all errors on
/// and never answers by itself. Request bodies are counted by the length that
/// they announce.
///
/// ```
/// use std::convert::Infallible;
///
/// use http::{Request, Response};
/// use http_body_util::BodyExt;
/// use tower::{Layer, ServiceExt};
/// use tower_edge_metrics::LatencyLayer;
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() {
/// let latency = LatencyLayer::new();
/// let service = latency.layer(tower::service_fn(async |_: Request<String>| {
///     Ok::<_, Infallible>(Response::new(String::from("hello")))
/// }));
/// let response = service.oneshot(Request::new(String::new())).await.unwrap();
/// response.into_body().collect().await.unwrap();
///
/// let measured = latency.handle().snapshot().merged();
/// assert_eq!(measured.outcomes.success, 1);
/// assert_eq!(measured.response_bytes, 5);
/// assert!(measured.first_byte.quantile(0.99) <= measured.total.max());
/// # }
/// ```
#[derive(Clone, Debug)]
#[must_use]
pub struct LatencyLayer {
    settings: Arc<Settings>,
}

impl Default for LatencyLayer {
    fn default() -> Self {
        Self::new()
    }
}

impl LatencyLayer {
    /// Makes the layer, with up to 1,000 series.
    pub fn new() -> Self {
        Self::with_max_series(1_000)
    }

    /// Makes the layer with up to `max` series; a series is a method, a scheme,
    /// a status and a route.
    ///
    /// Methods outside of RFC 9110 and PATCH are `_OTHER`, a scheme is `https`
    /// or `http`, a status that is not registered counts as the x00 of its
    /// class, and requests without a route share one label, so that clients
    /// cannot make up series. What comes after `max` goes into one overflow
    /// series. A series takes about 2 KiB, 2.5 KiB for each thread that serves it,
    /// up to 16, the same for each other way in which its requests ended, and up to
    /// 1 KiB for each 5 seconds of the last 5 minutes in which it was busy.
    pub fn with_max_series(max: usize) -> Self {
        let settings = Settings {
            watch: Stopwatch::start(Clock::system()),
            classify: Classifier::new(ServerErrors),
            route_by: None,
            slow_after: None,
            slow_log: SlowLog::default(),
            server_timing: false,
            server_timing_for: None,
            observe: None,
            records: Arc::new(Records::new(max)),
        };
        Self { settings: Arc::new(settings) }
    }

    /// Takes the time from `clock`; [`Clock::system`] is the default.
    pub fn clock(self, clock: Clock) -> Self {
        self.with(|settings| settings.watch = Stopwatch::start(clock))
    }

    /// Judges responses by `classify`; [`ServerErrors`] is the default.
    pub fn classify(self, classify: impl Classify + 'static) -> Self {
        self.with(|settings| settings.classify.replace(classify))
    }

    /// Takes the route of a request from `route`; where that gives none, as without
    /// it: a [`Route`] in the extensions, or axum's `MatchedPath`.
    ///
    /// It has to give patterns, never paths: each route is a series and counts
    /// towards the limit.
    ///
    /// ```
    /// use tower_edge_core::Route;
    /// use tower_edge_metrics::LatencyLayer;
    ///
    /// let latency = LatencyLayer::new().route_by(|head| {
    ///     let is_user = head.target().path().starts_with("/users/");
    ///     is_user.then_some(Route::from_static("/users/{id}"))
    /// });
    /// ```
    pub fn route_by<F>(self, route: F) -> Self
    where
        F: Fn(&RequestHead<'_>) -> Option<Route> + Send + Sync + 'static,
    {
        self.with(|settings| settings.route_by = Some(Arc::new(route)))
    }

    /// Counts successes that took longer than `threshold`, to the end of the
    /// body, as slow.
    pub fn slow_after(self, threshold: Duration) -> Self {
        self.with(|settings| settings.slow_after = Some(threshold))
    }

    /// Logs requests that took longer than `threshold`: a `tracing` event at the
    /// level WARN and target `tower_edge::slow`, with labels, times, outcome and
    /// the steps of the request's [`Trace`](tower_edge_core::Trace).
    ///
    /// At most ten a second; each says how many were left out before it.
    /// Long-lived responses are never slow. While it is on, each request has a
    /// trace, which takes one allocation.
    pub fn log_slower_than(self, threshold: Duration) -> Self {
        self.with(|settings| settings.slow_log.after = Some(threshold))
    }

    /// As [`log_slower_than`](Self::log_slower_than), for requests that took more
    /// than so many times the p99 of their series: the same method, scheme, status
    /// and route. It is taken every 5 seconds, of the last 5 minutes, if at least 100
    /// requests came in them.
    pub fn log_slower_than_p99(self, times: NonZeroU32) -> Self {
        self.with(|settings| settings.slow_log.times_p99 = Some(times))
    }

    /// Tells `observe` once when requests have more labels than there may be
    /// series: [`Event::SeriesLimitReached`].
    pub fn observe(self, observe: impl Observe + 'static) -> Self {
        self.with(|settings| settings.observe = Some(Arc::new(observe)))
    }

    /// Tells clients where the time went, in a `Server-Timing` field:
    /// `cache;desc="hit";dur=0.02, total;dur=12.6`, in milliseconds and up to
    /// the head of the response.
    ///
    /// Off by default, because it tells everybody: whether an answer came from
    /// the cache says what others asked for, and times without the network's
    /// noise make a lookup or a comparison of secrets measurable. It also costs
    /// some allocations a request.
    ///
    /// While it is on, each request has a [`Trace`](tower_edge_core::Trace), so
    /// that a [`RouteLayer`](tower_edge_core::RouteLayer) inside a router can
    /// tell the route.
    pub fn server_timing(self, on: bool) -> Self {
        self.with(|settings| settings.server_timing = on)
    }

    /// As [`server_timing`](Self::server_timing), for requests that have the field
    /// `name` with the value `secret` only.
    ///
    /// The field is taken off, so that the service does not learn the secret. The
    /// time that a comparison takes does not tell how much of a guess was right.
    ///
    /// # Panics
    ///
    /// If the secret is empty.
    pub fn server_timing_for(self, name: HeaderName, secret: &HeaderValue) -> Self {
        assert!(!secret.is_empty(), "a secret is not empty");
        let mut secret = secret.clone();
        secret.set_sensitive(true);
        self.with(|settings| settings.server_timing_for = Some((name, secret)))
    }

    /// Reads what was measured, also after the layer was moved into a service; by
    /// the clock that is set by now.
    pub fn handle(&self) -> LatencyHandle {
        LatencyHandle::new(self.settings.records.clone(), self.settings.watch)
    }

    fn with(mut self, set: impl FnOnce(&mut Settings)) -> Self {
        set(Arc::make_mut(&mut self.settings));
        self
    }
}

impl<S> Layer<S> for LatencyLayer {
    type Service = LatencyService<S>;

    fn layer(&self, inner: S) -> LatencyService<S> {
        LatencyService::new(inner, self.settings.clone())
    }
}

/// What the layer and all its services and requests share. The records stay
/// the same when a setting changes.
#[derive(Clone)]
pub(crate) struct Settings {
    pub(crate) watch: Stopwatch,
    pub(crate) classify: Classifier<ServerErrors>,
    pub(crate) route_by: Option<RouteBy>,
    pub(crate) slow_after: Option<Duration>,
    pub(crate) slow_log: SlowLog,
    pub(crate) server_timing: bool,
    pub(crate) server_timing_for: Option<(HeaderName, HeaderValue)>,
    pub(crate) observe: Option<Arc<dyn Observe>>,
    pub(crate) records: Arc<Records>,
}

impl Settings {
    /// Whether this request is to be told its times; takes the secret off it.
    #[inline]
    pub(crate) fn times(&self, fields: &mut HeaderMap) -> bool {
        self.server_timing_for.as_ref().map_or(self.server_timing, |(name, secret)| {
            let given = fields.remove(name);
            self.server_timing || given.is_some_and(|given| is_same(&given, secret))
        })
    }

    /// The route of a request, as far as it is known when it comes.
    pub(crate) fn route(&self, head: &RequestHead<'_>) -> RouteId {
        let number = |pattern: &str| self.records.route(pattern);
        match self.route_by.as_ref().and_then(|by| by(head)) {
            Some(route) => number(route.as_str()),
            None => Route::pattern(head).map_or(RouteId::NONE, number),
        }
    }

    pub(crate) fn tell(&self, event: &Event<'_>) {
        if let Some(observe) = &self.observe {
            observe.event(event);
        }
    }
}

impl fmt::Debug for Settings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Settings")
            .field("watch", &self.watch)
            .field("slow_after", &self.slow_after)
            .field("slow_log", &self.slow_log)
            .field("server_timing", &self.server_timing)
            .finish_non_exhaustive()
    }
}

type RouteBy = Arc<dyn Fn(&RequestHead<'_>) -> Option<Route> + Send + Sync>;

/// Compares without stopping at the first difference.
fn is_same(given: &HeaderValue, secret: &HeaderValue) -> bool {
    let pairs = given.as_bytes().iter().zip(secret.as_bytes());
    let difference = pairs.fold(0, |difference, (a, b)| difference | (a ^ b));
    given.len() == secret.len() && hint::black_box(difference) == 0
}
