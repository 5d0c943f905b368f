use std::sync::Arc;

use tower_edge_core::{Clock, Observe};
use tower_layer::Layer;

use crate::handle::CacheHandle;
use crate::service::CacheService;
use crate::shared::Shared;
use crate::store::Store;

/// Answers GET and HEAD from memory, by the rules of RFC 9111 for shared caches.
///
/// All services made by one layer and its clones share one store.
///
/// ```
/// use tower::{ServiceBuilder, service_fn};
/// use tower_edge_cache::CacheLayer;
/// # use {bytes::Bytes, http::{Request, Response}, http_body_util::Full, std::convert::Infallible};
///
/// let service = ServiceBuilder::new()
///     .layer(CacheLayer::new(256 << 20))
///     .service(service_fn(async |_: Request<Full<Bytes>>| {
///         let response = Response::builder().header("cache-control", "max-age=60");
///         Ok::<_, Infallible>(response.body(Full::new(Bytes::from_static(b"hello"))).expect("valid"))
///     }));
/// ```
#[derive(Clone, Debug)]
#[must_use]
pub struct CacheLayer {
    shared: Arc<Shared>,
}

impl CacheLayer {
    /// A cache that takes up to `capacity` bytes, all told.
    ///
    /// A single response may take an eighth of it: [`max_entry`](Self::max_entry).
    pub fn new(capacity: u64) -> Self {
        let shared = Shared {
            store: Arc::new(Store::new(capacity)),
            clock: Clock::system(),
            max_entry: capacity / 8,
            observe: None,
            counts: Arc::default(),
        };
        Self { shared: Arc::new(shared) }
    }

    /// Stores no body of more than `bytes`.
    pub fn max_entry(self, bytes: u64) -> Self {
        self.set(|shared| shared.max_entry = bytes)
    }

    /// Takes the time from `clock`.
    pub fn clock(self, clock: Clock) -> Self {
        self.set(|shared| shared.clock = clock)
    }

    /// Tells `observe` every event.
    pub fn observe(self, observe: Arc<dyn Observe>) -> Self {
        self.set(|shared| shared.observe = Some(observe))
    }

    /// A handle on this cache.
    pub fn handle(&self) -> CacheHandle {
        CacheHandle::new(self.shared.store.clone(), self.shared.counts.clone())
    }

    /// Settings made after a clone are this layer's own; the store stays shared.
    fn set(mut self, set: impl FnOnce(&mut Shared)) -> Self {
        set(Arc::make_mut(&mut self.shared));
        self
    }
}

impl<S> Layer<S> for CacheLayer {
    type Service = CacheService<S>;

    fn layer(&self, inner: S) -> Self::Service {
        CacheService::new(inner, self.shared.clone())
    }
}
