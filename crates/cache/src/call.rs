use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http::Response;
use http_body::Body;
use pin_project::pin_project;
use tokio::runtime::Handle;
use tower::util::Oneshot;
use tower_edge_core::BoxError;
use tower_service::Service;

use crate::body::CacheBody;
use crate::flight::Flight;
use crate::shared::Shared;

/// A call upstream, and what its response will mean to the store.
#[pin_project]
pub(crate) struct Call<S: Service<Req>, Req> {
    #[pin]
    call: Oneshot<S, Req>,
    landing: Option<(Flight, Arc<Shared>)>,
}

impl<S: Service<Req>, Req> Call<S, Req> {
    pub(crate) fn new(inner: S, request: Req, flight: Flight, shared: Arc<Shared>) -> Self {
        Self { call: Oneshot::new(inner, request), landing: Some((flight, shared)) }
    }
}

impl<S, Req, B> Future for Call<S, Req>
where
    S: Service<Req, Response = Response<B>>,
    B: Body<Data = Bytes, Error: Into<BoxError>> + Send + 'static,
{
    type Output = Result<Response<CacheBody<B>>, S::Error>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.project();
        let result = ready!(this.call.poll(cx));
        let (flight, shared) = this.landing.take().expect("polled after it was ready");
        Poll::Ready(match result {
            Ok(response) => Ok(flight.land(&shared, response)),
            Err(error) => flight.fail(&shared).ok_or(error),
        })
    }
}

/// A call that can be sent to a task.
pub(crate) type BoxCall<B, E> = Pin<Box<dyn Leading<B, E>>>;

/// A call for which others may wait.
pub(crate) trait Leading<B, E>:
    Future<Output = Result<Response<CacheBody<B>>, E>> + Send
where
    B: Body<Data = Bytes>,
{
    /// Its client is gone: it goes on in a task if others wait.
    fn leave(self: Pin<Box<Self>>);
}

impl<S, Req, B> Leading<B, S::Error> for Call<S, Req>
where
    S: Service<Req, Response = Response<B>> + Send + 'static,
    S::Future: Send,
    Req: Send + 'static,
    B: Body<Data = Bytes, Error: Into<BoxError>> + Send + 'static,
{
    fn leave(self: Pin<Box<Self>>) {
        let followed = self.landing.as_ref().is_some_and(|(flight, _)| flight.is_followed());
        if followed && let Ok(runtime) = Handle::try_current() {
            // The body goes on by itself when it is dropped.
            runtime.spawn(async move { drop(self.await) });
        }
    }
}
