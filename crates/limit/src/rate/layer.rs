use std::num::NonZeroUsize;
use std::sync::Arc;
use std::time::Duration;

use ahash::RandomState;
use bytes::Bytes;
use http::Response;
use tower_edge_core::{Clock, Observe, Refusal, RequestHead, Stopwatch};
use tower_layer::Layer;

use super::handle::LimitHandle;
use super::limit::Limit;
use super::outage::OnOutage;
use super::service::RateLimit;
use super::shared::{Mode, Shared};
use super::sharing::Sharing;
use crate::QuotaStore;

/// Admits requests as often as quotas allow, and answers the others with 429.
///
/// A request is charged by all limits that apply to it, or by none. The state is
/// shared by all services that one layer and its clones make, and takes the memory
/// that [`Limit::keys`] says, whoever comes. Responses carry `RateLimit` and
/// `RateLimit-Policy`; a refusal also `Retry-After`, and the problem type
/// `quota-exceeded`. gRPC clients get RESOURCE_EXHAUSTED.
///
/// ```
/// use std::time::Duration;
///
/// use tower_edge_core::ClientIp;
/// use tower_edge_limit::{Limit, Quota, RateLimitLayer, nonzero};
///
/// let clients = Limit::new("client", Quota::per_second(nonzero!(10))).keyed(ClientIp::peer());
/// let hourly = Limit::new("hour", Quota::per_hour(nonzero!(1_000))).keyed(ClientIp::peer());
/// let layer = RateLimitLayer::new(clients)
///     .limit(hourly)
///     .limit(Limit::new("all", Quota::per_second(nonzero!(5_000))))
///     .wait(Duration::from_millis(500), nonzero!(10));
/// let handle = layer.handle();
/// assert_eq!(handle.stats().refused, 0);
/// ```
#[derive(Clone, Debug)]
#[must_use]
pub struct RateLimitLayer {
    shared: Arc<Shared>,
}

impl RateLimitLayer {
    /// Makes the layer with one limit.
    pub fn new(limit: Limit) -> Self {
        let mut shared = Shared {
            limits: Vec::new(),
            buckets: Vec::new(),
            names: Vec::new(),
            quotas: Vec::new(),
            seed: RandomState::new(),
            watch: Stopwatch::start(Clock::system()),
            mode: Mode::Refuse,
            sharing: None,
            exact: false,
            on_outage: OnOutage::default(),
            backpressure: false,
            charges: false,
            fields: true,
            common_fields: false,
            on_refuse: None,
            observe: None,
            queues: Arc::default(),
            counts: Arc::default(),
        };
        shared.add(limit);
        Self { shared: Arc::new(shared) }
    }

    /// Adds another limit: a request is admitted where all have permits, and is
    /// charged by none if one has not.
    ///
    /// # Panics
    ///
    /// If there are eight already, or more than 65,536 tiers of all; with a
    /// [store](Self::store), if it has a quota [in any window](crate::Quota::in_any).
    pub fn limit(self, limit: Limit) -> Self {
        self.set(|shared| shared.add(limit))
    }

    /// Lets requests wait for their quota, for up to `most` and with up to `places`
    /// of a key waiting.
    ///
    /// How long it will take is known at once, so who would have to wait longer is
    /// refused at once. Requests of one key go on in the order of their arrival, at
    /// the set rate; who is dropped while it waits has cost nothing, and those
    /// behind move up. It needs a tokio runtime with its time on.
    ///
    /// # Panics
    ///
    /// If there is a [store](Self::store): when others will have used what comes back
    /// is not known.
    pub fn wait(self, most: Duration, places: NonZeroUsize) -> Self {
        let most = u64::try_from(most.as_nanos()).unwrap_or(u64::MAX);
        self.set(|shared| shared.mode = Mode::Wait { most, places: places.get() })
    }

    /// Decides, counts and tells, but never refuses and says nothing to clients:
    /// for a quota that is to be tried out.
    pub fn shadow(self) -> Self {
        self.set(|shared| shared.mode = Mode::Shadow)
    }

    /// Makes `poll_ready` wait while a limit that everybody shares has no permit.
    ///
    /// For a stack on the client's side that is not shared: a service that is
    /// shared keeps its callers from others' quotas. Nothing is reserved: who finds
    /// the permit gone in `call` is refused, or waits, like everybody else. It needs
    /// a tokio runtime with its time on.
    ///
    /// # Panics
    ///
    /// If there is a [store](Self::store), which readiness does not ask.
    pub fn backpressure(self, on: bool) -> Self {
        self.set(|shared| shared.backpressure = on)
    }

    /// Shares the quotas with all nodes that use the same store: they are known by the
    /// names of limits and tiers, and keys by their bytes.
    ///
    /// A node takes permits in batches and decides by what it has in hand, without
    /// waiting and without an allocation; it asks for more in the background, before
    /// they are used up, and gives back what it does not use. The first request of a
    /// key, and one that finds nothing in hand, waits for the answer of the store, up
    /// to [its deadline](QuotaStore::deadline). What is used up is refused here until
    /// there is something again.
    ///
    /// In a span of time no more is admitted than the quota gives and what nodes had in
    /// hand when it began: each its part of 2 % of the burst, or what it is asked for
    /// in 200 ms if that is more. When a node dies, those permits are lost. When the
    /// store loses its data, there is one burst more.
    ///
    /// A shared quota goes with all that a layer can do but three things, each of which
    /// panics here or where it is asked for: requests that [wait](Self::wait) in turn,
    /// [backpressure](Self::backpressure), and quotas that hold
    /// [in any window](crate::Quota::in_any).
    ///
    /// What several quotas have in hand is charged together or not at all, as ever. A
    /// charge after the fact takes what is in hand first, then from the store in the
    /// background. It needs a tokio runtime with its time on; a layer that only
    /// [watches](Self::shadow) waits for answers too. Memory of up to about 300 bytes is
    /// taken for each key that was asked about lately, within what
    /// [`Limit::keys`] says.
    ///
    /// # Panics
    ///
    /// If requests are to [wait](Self::wait), if there is
    /// [backpressure](Self::backpressure), or if a quota holds
    /// [in any window](crate::Quota::in_any).
    pub fn store(self, store: impl QuotaStore) -> Self {
        let sharing = Arc::new(Sharing::new(Arc::new(store)));
        self.set(|shared| shared.sharing = Some(sharing))
    }

    /// Asks the store about each request, and waits for its answer: nothing is in hand,
    /// and no more is admitted than the quotas say.
    ///
    /// The quotas of a key are charged in one trip, together or not at all. Where those
    /// of a request have different keys it is one trip for each; what was charged
    /// before one refuses is given back.
    pub fn exact(self) -> Self {
        self.set(|shared| shared.exact = true)
    }

    /// What becomes of requests while the store gives no answer and nothing is in hand,
    /// whatever it told before; at first this node goes on by its part of the quota.
    ///
    /// Nobody waits for a store that has failed three times in a row: it is looked for
    /// in the background until it is back.
    pub fn on_outage(self, on_outage: OnOutage) -> Self {
        self.set(|shared| shared.on_outage = on_outage)
    }

    /// Tells clients how they stand, by `RateLimit` and `RateLimit-Policy`
    /// (draft-ietf-httpapi-ratelimit-headers-11); on at first.
    ///
    /// `RateLimit` is about the quota that leaves the least: `r` permits, no more
    /// than which can be used within `t` seconds at the set rate. With a
    /// [store](Self::store) that is what it has just answered, or what this node has in
    /// hand: never more than there is, and sometimes less.
    pub fn response_fields(self, on: bool) -> Self {
        self.set(|shared| shared.fields = on)
    }

    /// Tells the same by `X-RateLimit-Limit`, `X-RateLimit-Remaining` and
    /// `X-RateLimit-Reset`, in seconds from now; off at first.
    pub fn x_response_fields(self, on: bool) -> Self {
        self.set(|shared| shared.common_fields = on)
    }

    /// Builds the response to a refusal by this function; the response fields are
    /// added to it.
    pub fn on_refuse<F>(self, by: F) -> Self
    where
        F: Fn(&Refusal, &RequestHead<'_>) -> Response<Bytes> + Send + Sync + 'static,
    {
        self.set(|shared| shared.on_refuse = Some(Arc::new(by)))
    }

    /// Takes the time from `clock`.
    pub fn clock(self, clock: Clock) -> Self {
        self.set(|shared| shared.watch = Stopwatch::start(clock))
    }

    /// Tells `observe` every event.
    pub fn observe(self, observe: Arc<dyn Observe>) -> Self {
        self.set(|shared| shared.observe = Some(observe))
    }

    /// A handle on the quotas that are set by now.
    pub fn handle(&self) -> LimitHandle {
        LimitHandle::new(self.shared.clone())
    }

    /// Settings made after a clone are this layer's own; what keys have used stays
    /// shared.
    fn set(mut self, set: impl FnOnce(&mut Shared)) -> Self {
        set(Arc::make_mut(&mut self.shared));
        self.shared.check();
        self
    }
}

impl<S> Layer<S> for RateLimitLayer {
    type Service = RateLimit<S>;

    fn layer(&self, inner: S) -> RateLimit<S> {
        RateLimit::new(inner, self.shared.clone())
    }
}
