use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use tower_edge_core::{Classify, Clock, ServerErrors};
use tower_layer::Layer;

use crate::records::Records;
use crate::{LatencyHandle, LatencyService};

/// Measures requests: time to the first byte, time to the end of the body,
/// outcome, bytes, and how many are in flight.
///
/// Put it outermost: it sees what clients see. Requests are told apart by
/// method, scheme, status and route; [`with_max_series`](Self::with_max_series)
/// says how that is bounded. A request whose future or body is dropped is
/// measured up to that moment, as abandoned.
///
/// By default 5xx and failed gRPC statuses are failures, nothing is slow, and
/// `Server-Timing` is off. The layer passes all errors on and never answers by
/// itself. It does not log.
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
/// let service = latency.layer(tower::service_fn(async |_: Request<()>| {
///     Ok::<_, Infallible>(Response::new(String::from("hello")))
/// }));
/// let response = service.oneshot(Request::new(())).await.unwrap();
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
    /// series. A series takes about 1 KiB, and 5 KiB for each thread that serves
    /// it, up to 8.
    pub fn with_max_series(max: usize) -> Self {
        let settings = Settings {
            clock: Clock::system(),
            classify: Arc::new(ServerErrors),
            slow_after: None,
            server_timing: false,
            records: Arc::new(Records::new(max)),
        };
        Self { settings: Arc::new(settings) }
    }

    /// Takes the time from `clock`; [`Clock::system`] is the default.
    pub fn clock(self, clock: Clock) -> Self {
        self.with(|settings| settings.clock = clock)
    }

    /// Judges responses by `classify`; [`ServerErrors`] is the default.
    pub fn classify(self, classify: impl Classify + 'static) -> Self {
        self.with(|settings| settings.classify = Arc::new(classify))
    }

    /// Counts successes that took longer than `threshold`, to the end of the
    /// body, as slow.
    pub fn slow_after(self, threshold: Duration) -> Self {
        self.with(|settings| settings.slow_after = Some(threshold))
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

    /// Reads what was measured, also after the layer was moved into a service.
    pub fn handle(&self) -> LatencyHandle {
        LatencyHandle::new(self.settings.records.clone())
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
    pub(crate) clock: Clock,
    pub(crate) classify: Arc<dyn Classify>,
    pub(crate) slow_after: Option<Duration>,
    pub(crate) server_timing: bool,
    pub(crate) records: Arc<Records>,
}

impl fmt::Debug for Settings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Settings")
            .field("clock", &self.clock)
            .field("slow_after", &self.slow_after)
            .field("server_timing", &self.server_timing)
            .finish_non_exhaustive()
    }
}
