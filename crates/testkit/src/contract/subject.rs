use std::fmt;

use bytes::Bytes;
use http::{Request, Response};
use http_body::Body;
use tower_edge_core::BoxError;
use tower_layer::Layer;
use tower_service::Service;

use crate::{MockBody, Upstream, UpstreamError};

/// A layer to be held to the laws, and how its state is read.
///
/// ```
/// use std::sync::Arc;
/// use std::sync::atomic::{AtomicU64, Ordering};
/// use tower_edge_testkit::contract::Subject;
/// use tower_layer::Identity;
///
/// let (seen, under_way) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicU64::new(0)));
/// let layer = Identity::new(); // would have to count
/// Subject::new(layer, move || seen.load(Ordering::Relaxed))
///     .gauge("under way", move || under_way.load(Ordering::Relaxed));
/// ```
#[must_use]
pub struct Subject<L> {
    pub(super) layer: L,
    pub(super) moves: Option<Read>,
    pub(super) gauges: Vec<(&'static str, Read)>,
}

impl<L> Subject<L> {
    /// A layer with state; `moves` reads a number of it that each call changes,
    /// such as how many calls or entries there were.
    ///
    /// Each call asks for a path of its own and gets 200, to be kept for 60 s.
    pub fn new(layer: L, moves: impl Fn() -> u64 + 'static) -> Self {
        Self { layer, moves: Some(Box::new(moves)), gauges: Vec::new() }
    }

    /// A layer that has no state to share.
    pub fn stateless(layer: L) -> Self {
        Self { layer, moves: None, gauges: Vec::new() }
    }

    /// `read` gives what is 0 when no call is under way: calls in flight,
    /// permits or probes taken, flights, waiters.
    pub fn gauge(mut self, name: &'static str, read: impl Fn() -> u64 + 'static) -> Self {
        self.gauges.push((name, Box::new(read)));
        self
    }
}

impl<L: fmt::Debug> fmt::Debug for Subject<L> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Subject").field("layer", &self.layer).finish_non_exhaustive()
    }
}

/// The layers that the laws are about; implemented for all that have the types.
///
/// That a layer keeps the error type of the service inside is a law by itself,
/// and the compiler proves it.
pub trait Lawful: Layer<Upstream, Service: LawfulService> {}

impl<L: Layer<Upstream, Service: LawfulService>> Lawful for L {}

/// The services that a [`Lawful`] layer makes.
pub trait LawfulService:
    Service<Request<MockBody>, Response = Response<Self::Body>, Error = UpstreamError>
    + Clone
    + Send
    + 'static
{
    /// The body of its responses.
    type Body: Body<Data = Bytes, Error: Into<BoxError>>;
}

impl<S, B> LawfulService for S
where
    S: Service<Request<MockBody>, Response = Response<B>, Error = UpstreamError>,
    S: Clone + Send + 'static,
    B: Body<Data = Bytes, Error: Into<BoxError>>,
{
    type Body = B;
}

type Read = Box<dyn Fn() -> u64>;
