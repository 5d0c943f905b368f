use std::sync::Arc;
use std::task::{Context, Poll};

use http::Request;
use tower_layer::Layer;
use tower_service::Service;

use crate::{RequestHead, Trace};

/// The route a request matched: its pattern, such as `/users/{id}`, never a
/// path that a client chose.
///
/// A router without patterns of its own puts one into the request's extensions.
#[derive(Clone, Debug)]
pub struct Route(Pattern);

impl Route {
    /// A route whose pattern is known at compile time.
    pub const fn from_static(pattern: &'static str) -> Self {
        Self(Pattern::Static(pattern))
    }

    /// The pattern.
    pub fn as_str(&self) -> &str {
        match &self.0 {
            Pattern::Static(pattern) => pattern,
            Pattern::Shared(pattern) => pattern,
            #[cfg(feature = "axum")]
            Pattern::Matched(matched) => matched.as_str(),
        }
    }

    /// The pattern of a request's route, as [`of`](Self::of), and without a clone.
    #[inline]
    pub fn pattern<'a>(head: &RequestHead<'a>) -> Option<&'a str> {
        let noted = head.extensions().get::<Self>().map(Self::as_str);
        #[cfg(feature = "axum")]
        let noted = noted.or_else(|| {
            let matched = head.extensions().get::<axum::extract::MatchedPath>();
            matched.map(axum::extract::MatchedPath::as_str)
        });
        noted
    }

    /// The route of a request: a [`Route`] in its extensions, else, with the
    /// feature `axum`, its `MatchedPath`.
    ///
    /// axum knows the route inside `Router::layer`. A layer around the whole
    /// router learns it from a [`RouteLayer`] inside, through the [`Trace`].
    pub fn of(head: &RequestHead<'_>) -> Option<Self> {
        let noted = head.extensions().get::<Self>().cloned();
        #[cfg(feature = "axum")]
        let noted = noted.or_else(|| {
            let matched = head.extensions().get::<axum::extract::MatchedPath>();
            matched.cloned().map(|matched| Self(Pattern::Matched(matched)))
        });
        noted
    }
}

impl PartialEq for Route {
    fn eq(&self, other: &Self) -> bool {
        self.as_str() == other.as_str()
    }
}

impl Eq for Route {}

impl From<Arc<str>> for Route {
    fn from(pattern: Arc<str>) -> Self {
        Self(Pattern::Shared(pattern))
    }
}

/// Notes the route of a request in its [`Trace`], for the layers outside the
/// router.
///
/// Put it on the router with `Router::route_layer`. It costs one look into the
/// extensions, and nothing is written where nobody traces.
#[derive(Clone, Copy, Debug, Default)]
#[must_use]
pub struct RouteLayer;

impl RouteLayer {
    /// Makes the layer.
    pub const fn new() -> Self {
        Self
    }
}

impl<S> Layer<S> for RouteLayer {
    type Service = RouteService<S>;

    fn layer(&self, inner: S) -> Self::Service {
        RouteService { inner }
    }
}

/// The service that [`RouteLayer`] makes.
#[derive(Clone, Debug)]
pub struct RouteService<S> {
    inner: S,
}

impl<S, B> Service<Request<B>> for RouteService<S>
where
    S: Service<Request<B>>,
{
    type Response = S::Response;
    type Error = S::Error;
    type Future = S::Future;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        Trace::with(|trace| {
            if let Some(route) = Route::of(&RequestHead::new(&request)) {
                trace.note_route(route);
            }
        });
        self.inner.call(request)
    }
}

#[derive(Clone, Debug)]
enum Pattern {
    Static(&'static str),
    Shared(Arc<str>),
    #[cfg(feature = "axum")]
    Matched(axum::extract::MatchedPath),
}
