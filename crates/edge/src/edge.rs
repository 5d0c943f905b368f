#[cfg(feature = "breaker")]
use tower_edge_breaker::BreakerLayer;
#[cfg(feature = "cache")]
use tower_edge_cache::CacheLayer;
#[cfg(feature = "compress")]
use tower_edge_compress::CompressLayer;
#[cfg(any(
    feature = "breaker",
    feature = "cache",
    feature = "compress",
    feature = "latency",
    feature = "limit",
))]
use tower_edge_core::Optional;
#[cfg(feature = "limit")]
use tower_edge_limit::RateLimitLayer;
#[cfg(feature = "latency")]
use tower_edge_metrics::LatencyLayer;
use tower_layer::{Identity, Layer};

/// Stacks the layers in their right order, whatever order they are set in.
///
/// Outermost first: latency, rate limit, cache, compress, breaker, the service.
/// Latency sees all that a client sees; the rate limit protects the cache too; what
/// is encoded is stored so, and a hit is no work; a hit does not wait for anything
/// that protects the service; the breaker judges the service alone, and while it
/// refuses the cache may answer stale.
///
/// Each setter takes a layer or an `Option` of it, so that a configuration can
/// leave it out at run time; a layer that is not set costs nothing. One `Edge` is
/// cheaper under axum than several `.layer` calls, each of which clones all that
/// is below it for every request.
///
/// ```
/// # #[cfg(all(
/// #     feature = "breaker",
/// #     feature = "cache",
/// #     feature = "compress",
/// #     feature = "latency",
/// #     feature = "limit",
/// # ))] {
/// use tower_edge::breaker::BreakerLayer;
/// use tower_edge::compress::CompressLayer;
/// use tower_edge::limit::{Limit, Quota, RateLimitLayer, nonzero};
/// use tower_edge::{Edge, cache::CacheLayer, core::ClientIp, metrics::LatencyLayer};
///
/// let clients = Limit::new("client", Quota::per_second(nonzero!(100))).keyed(ClientIp::peer());
/// let cached = std::env::args().len() < 9;
/// let edge = Edge::new()
///     .breaker(BreakerLayer::new())
///     .compress(CompressLayer::new())
///     .cache(cached.then(|| CacheLayer::new(64 << 20)))
///     .rate_limit(RateLimitLayer::new(clients))
///     .latency(LatencyLayer::new());
/// # let _ = edge.clone();
/// # }
/// ```
#[derive(Clone, Debug, Default)]
#[must_use]
pub struct Edge<
    Latency = Identity,
    RateLimit = Identity,
    Cache = Identity,
    Compress = Identity,
    Breaker = Identity,
> {
    latency: Latency,
    rate_limit: RateLimit,
    cache: Cache,
    compress: Compress,
    breaker: Breaker,
}

impl Edge {
    /// An empty stack.
    pub fn new() -> Self {
        Self::default()
    }
}

impl<L, R, C, Z, B> Edge<L, R, C, Z, B> {
    /// Measures latency around everything else.
    #[cfg(feature = "latency")]
    pub fn latency(
        self,
        layer: impl Into<Optional<LatencyLayer>>,
    ) -> Edge<Optional<LatencyLayer>, R, C, Z, B> {
        let Self { rate_limit, cache, compress, breaker, .. } = self;
        Edge { latency: layer.into(), rate_limit, cache, compress, breaker }
    }

    /// Admits requests as often as quotas allow.
    #[cfg(feature = "limit")]
    pub fn rate_limit(
        self,
        layer: impl Into<Optional<RateLimitLayer>>,
    ) -> Edge<L, Optional<RateLimitLayer>, C, Z, B> {
        let Self { latency, cache, compress, breaker, .. } = self;
        Edge { latency, rate_limit: layer.into(), cache, compress, breaker }
    }

    /// Answers from memory what may be answered so.
    #[cfg(feature = "cache")]
    pub fn cache(
        self,
        layer: impl Into<Optional<CacheLayer>>,
    ) -> Edge<L, R, Optional<CacheLayer>, Z, B> {
        let Self { latency, rate_limit, compress, breaker, .. } = self;
        Edge { latency, rate_limit, cache: layer.into(), compress, breaker }
    }

    /// Encodes responses for clients that accept it.
    #[cfg(feature = "compress")]
    pub fn compress(
        self,
        layer: impl Into<Optional<CompressLayer>>,
    ) -> Edge<L, R, C, Optional<CompressLayer>, B> {
        let Self { latency, rate_limit, cache, breaker, .. } = self;
        Edge { latency, rate_limit, cache, compress: layer.into(), breaker }
    }

    /// Stops calling the service while it fails.
    #[cfg(feature = "breaker")]
    pub fn breaker(
        self,
        layer: impl Into<Optional<BreakerLayer>>,
    ) -> Edge<L, R, C, Z, Optional<BreakerLayer>> {
        let Self { latency, rate_limit, cache, compress, .. } = self;
        Edge { latency, rate_limit, cache, compress, breaker: layer.into() }
    }
}

impl<S, L, R, C, Z, B> Layer<S> for Edge<L, R, C, Z, B>
where
    B: Layer<S>,
    Z: Layer<B::Service>,
    C: Layer<Z::Service>,
    R: Layer<C::Service>,
    L: Layer<R::Service>,
{
    type Service = L::Service;

    fn layer(&self, inner: S) -> Self::Service {
        let inner = self.compress.layer(self.breaker.layer(inner));
        self.latency.layer(self.rate_limit.layer(self.cache.layer(inner)))
    }
}
