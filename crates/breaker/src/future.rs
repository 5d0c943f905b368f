use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use http::Response;
use http_body::Body;
use pin_project::pin_project;
use tower_edge_core::Expected;

use crate::BreakerBody;
use crate::call::Call;

/// The future of [`Breaker`](crate::Breaker).
///
/// A refusal is ready at its first poll. Dropping the future drops the call to
/// the inner service: a probe gives its place back, and a service that was silent
/// for too long has failed.
#[pin_project]
#[derive(Debug)]
pub struct ResponseFuture<F> {
    #[pin]
    state: State<F>,
    /// Taken when the inner future ends.
    call: Option<Call>,
}

impl<F> ResponseFuture<F> {
    pub(crate) fn forward(inner: F, call: Option<Call>) -> Self {
        Self { state: State::Forward { inner }, call }
    }

    pub(crate) fn refuse(response: Response<Bytes>) -> Self {
        Self { state: State::Refuse { response: Some(Box::new(response)) }, call: None }
    }
}

impl<F, B, E> Future for ResponseFuture<F>
where
    F: Future<Output = Result<Response<B>, E>>,
    B: Body<Data = Bytes>,
{
    type Output = Result<Response<BreakerBody<B>>, E>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.project();
        let inner = match this.state.project() {
            StateProj::Forward { inner } => inner,
            StateProj::Refuse { response } => return refused(response),
        };
        let call = this.call;
        let polled = inner.poll(cx);
        // The response is looked at where it is, and moved once, into what is returned.
        let expected = match &polled {
            Poll::Pending => {
                call.iter_mut().for_each(Call::pending);
                return Poll::Pending;
            }
            Poll::Ready(Ok(response)) => Call::answered(call.as_mut(), response),
            Poll::Ready(Err(_)) => {
                call.take().iter_mut().for_each(Call::failed);
                Expected::UNKNOWN
            }
        };
        polled.map_ok(|response| {
            response.map(|body| BreakerBody::forwarded(body, call.take(), expected))
        })
    }
}

#[cold]
#[inline(never)]
fn refused<B, E>(
    response: &mut Option<Box<Response<Bytes>>>,
) -> Poll<Result<Response<BreakerBody<B>>, E>>
where
    B: Body<Data = Bytes>,
{
    let response = response.take().expect("no future is polled after it ended");
    Poll::Ready(Ok((*response).map(BreakerBody::refused)))
}

#[pin_project(project = StateProj)]
#[derive(Debug)]
enum State<F> {
    Forward {
        #[pin]
        inner: F,
    },
    Refuse {
        /// Boxed, because it is rare and a future is moved to who polls it.
        response: Option<Box<Response<Bytes>>>,
    },
}
