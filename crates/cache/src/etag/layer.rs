use tower_layer::Layer;

use crate::etag::EtagService;

/// Makes a strong `ETag` of the content of responses that have none, and answers
/// the conditions of clients with 304.
///
/// For responses that a [`CacheLayer`](crate::CacheLayer) does not store, such as
/// private ones; what it stores it tags itself. Tagged are 200s to GET whose
/// body has a known size within the bound and is in hand when the head is:
/// nothing is held back. The handler does all its work; what is saved is the
/// way to the client.
///
/// ```
/// use tower_edge_cache::EtagLayer;
///
/// let layer = EtagLayer::new(64 << 10);
/// ```
#[derive(Clone, Copy, Debug)]
#[must_use]
pub struct EtagLayer {
    max_body: u64,
}

impl EtagLayer {
    /// Tags bodies of up to `max_body` bytes.
    pub const fn new(max_body: u64) -> Self {
        Self { max_body }
    }
}

impl<S> Layer<S> for EtagLayer {
    type Service = EtagService<S>;

    fn layer(&self, inner: S) -> Self::Service {
        EtagService::new(inner, self.max_body)
    }
}
