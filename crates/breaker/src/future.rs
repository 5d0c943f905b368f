use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use http::Response;
use http_body::Body;
use pin_project::pin_project;

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
}

impl<F> ResponseFuture<F> {
    pub(crate) fn forward(inner: F, call: Option<Call>) -> Self {
        Self { state: State::Forward { inner, call } }
    }

    pub(crate) fn refuse(response: Response<Bytes>) -> Self {
        Self { state: State::Refuse { response: Some(Box::new(response)) } }
    }
}

impl<F, B, E> Future for ResponseFuture<F>
where
    F: Future<Output = Result<Response<B>, E>>,
    B: Body<Data = Bytes>,
{
    type Output = Result<Response<BreakerBody<B>>, E>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        match self.project().state.project() {
            StateProj::Forward { inner, call } => match inner.poll(cx) {
                Poll::Pending => {
                    call.iter_mut().for_each(Call::pending);
                    Poll::Pending
                }
                Poll::Ready(Ok(response)) => Poll::Ready(Ok(match call.take() {
                    Some(call) => call.answered(response),
                    None => response.map(BreakerBody::passed),
                })),
                Poll::Ready(Err(error)) => {
                    if let Some(mut call) = call.take() {
                        call.failed();
                    }
                    Poll::Ready(Err(error))
                }
            },
            StateProj::Refuse { response } => {
                let response = response.take().expect("no future is polled after it ended");
                Poll::Ready(Ok((*response).map(BreakerBody::refused)))
            }
        }
    }
}

#[pin_project(project = StateProj)]
#[derive(Debug)]
enum State<F> {
    Forward {
        #[pin]
        inner: F,
        /// Taken when the inner future ends.
        call: Option<Call>,
    },
    Refuse {
        /// Boxed, because it is rare and a future is moved to who polls it.
        response: Option<Box<Response<Bytes>>>,
    },
}
