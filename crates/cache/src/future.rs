use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http::Response;
use http_body::Body;
use pin_project::pin_project;
use tower::util::Oneshot;
use tower_edge_core::ReplyBody;
use tower_service::Service;

use crate::body::CacheBody;
use crate::flight::Flight;
use crate::shared::Shared;

/// The future of [`CacheService`](crate::CacheService).
///
/// A hit is ready at its first poll. Dropping the future drops the call to the
/// inner service, and nothing is stored.
#[pin_project]
pub struct ResponseFuture<S: Service<Request>, Request, B> {
    #[pin]
    state: State<S, Request, B>,
}

impl<S: Service<Request>, Request, B> ResponseFuture<S, Request, B> {
    pub(crate) fn answer(response: Response<ReplyBody<B>>) -> Self {
        Self { state: State::Answer(Some(response)) }
    }

    pub(crate) fn forward(call: Oneshot<S, Request>, flight: Flight, shared: Arc<Shared>) -> Self {
        Self { state: State::Forward { call, landing: Some((flight, shared)) } }
    }
}

impl<S, Request, B> Future for ResponseFuture<S, Request, B>
where
    S: Service<Request, Response = Response<B>>,
    B: Body<Data = Bytes>,
{
    type Output = Result<Response<CacheBody<B>>, S::Error>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        match self.project().state.project() {
            StateProj::Answer(response) => {
                let response = response.take().expect("polled after it was ready");
                Poll::Ready(Ok(response.map(CacheBody::own)))
            }
            StateProj::Forward { call, landing } => {
                let result = ready!(call.poll(cx));
                let (flight, shared) = landing.take().expect("polled after it was ready");
                Poll::Ready(match result {
                    Ok(response) => Ok(flight.land(&shared, response)),
                    Err(error) => flight.fail(&shared).ok_or(error),
                })
            }
        }
    }
}

impl<S: Service<Request>, Request, B> fmt::Debug for ResponseFuture<S, Request, B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ResponseFuture").finish_non_exhaustive()
    }
}

#[pin_project(project = StateProj)]
enum State<S: Service<Request>, Request, B> {
    Answer(Option<Response<ReplyBody<B>>>),
    Forward {
        #[pin]
        call: Oneshot<S, Request>,
        landing: Option<(Flight, Arc<Shared>)>,
    },
}
