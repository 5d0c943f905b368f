#[cfg(feature = "cache")]
use tower_edge_cache::CacheLayer;
#[cfg(any(feature = "cache", feature = "latency"))]
use tower_edge_core::Optional;
#[cfg(feature = "latency")]
use tower_edge_metrics::LatencyLayer;
use tower_layer::{Identity, Layer};

/// Stacks the layers in their right order, whatever order they are set in.
///
/// Outermost first: latency, cache, the service. Latency sees all that a client
/// sees; a hit does not wait for anything that protects the service.
///
/// Each setter takes a layer or an `Option` of it, so that a configuration can
/// leave it out at run time; a layer that is not set costs nothing. One `Edge` is
/// cheaper under axum than several `.layer` calls, each of which clones all that
/// is below it for every request.
///
/// ```
/// # #[cfg(all(feature = "cache", feature = "latency"))] {
/// use tower_edge::{Edge, cache::CacheLayer, metrics::LatencyLayer};
///
/// let cached = std::env::args().len() < 9;
/// let edge = Edge::new()
///     .cache(cached.then(|| CacheLayer::new(64 << 20)))
///     .latency(LatencyLayer::new());
/// # let _ = edge.clone();
/// # }
/// ```
#[derive(Clone, Debug, Default)]
#[must_use]
pub struct Edge<Latency = Identity, Cache = Identity> {
    latency: Latency,
    cache: Cache,
}

impl Edge {
    /// An empty stack.
    pub fn new() -> Self {
        Self::default()
    }
}

impl<L, C> Edge<L, C> {
    /// Measures latency around everything else.
    #[cfg(feature = "latency")]
    pub fn latency(
        self,
        layer: impl Into<Optional<LatencyLayer>>,
    ) -> Edge<Optional<LatencyLayer>, C> {
        Edge { latency: layer.into(), cache: self.cache }
    }

    /// Answers from memory what may be answered so.
    #[cfg(feature = "cache")]
    pub fn cache(self, layer: impl Into<Optional<CacheLayer>>) -> Edge<L, Optional<CacheLayer>> {
        Edge { latency: self.latency, cache: layer.into() }
    }
}

impl<S, L, C> Layer<S> for Edge<L, C>
where
    C: Layer<S>,
    L: Layer<C::Service>,
{
    type Service = L::Service;

    fn layer(&self, inner: S) -> Self::Service {
        self.latency.layer(self.cache.layer(inner))
    }
}
