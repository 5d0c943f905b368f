use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http::Response;
use http_body::Body;
use pin_project::pin_project;
use tower_edge_core::BoxError;

use crate::CompressBody;
use crate::ask::{Answer, Ask};
use crate::whole::Whole;

/// The future of [`Compress`](crate::Compress).
///
/// It ends at the poll at which the inner one does, unless a body is in hand that
/// takes longer to encode than others should wait: then it yields in between.
/// Dropping it drops the call to the inner service, or the body; an encoder goes
/// back to its pool.
#[pin_project]
#[derive(Debug)]
pub struct ResponseFuture<F> {
    #[pin]
    state: State<F>,
}

impl<F> ResponseFuture<F> {
    pub(crate) fn forward(inner: F, ask: Ask) -> Self {
        Self { state: State::Forward { inner, ask } }
    }

    pub(crate) fn refuse(response: Response<Bytes>) -> Self {
        Self { state: State::Refuse { response: Some(Box::new(response)) } }
    }
}

impl<F, B, E> Future for ResponseFuture<F>
where
    F: Future<Output = Result<Response<B>, E>>,
    B: Body<Data = Bytes>,
    B::Error: Into<BoxError>,
{
    type Output = Result<Response<CompressBody<B>>, E>;

    // Within its caller, a response is moved once more for each way out of here.
    #[inline(never)]
    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        match self.as_mut().project().state.project() {
            StateProj::Forward { inner, ask } => {
                // Judged where it is, for it is large: then it is moved once.
                let mut polled = inner.poll(cx);
                let encode = match &mut polled {
                    Poll::Ready(Ok(response)) => ask.judge(response),
                    Poll::Ready(Err(_)) | Poll::Pending => None,
                };
                let Some(encode) = encode else {
                    return polled.map_ok(|response| response.map(CompressBody::passed));
                };
                match encode.start(ready!(polled)?, cx) {
                    Answer::Send(response) => Poll::Ready(Ok(response)),
                    Answer::Encode(whole) => {
                        self.project().state.set(State::Encode { whole: Some(whole) });
                        Poll::Pending
                    }
                }
            }
            StateProj::Encode { whole } => {
                let mut work = whole.take().expect("no future is polled after it ended");
                match work.poll_encode(cx) {
                    Poll::Ready(encoded) => Poll::Ready(Ok(work.finish(encoded))),
                    Poll::Pending => {
                        *whole = Some(work);
                        Poll::Pending
                    }
                }
            }
            StateProj::Refuse { response } => {
                let response = response.take().expect("no future is polled after it ended");
                Poll::Ready(Ok(response.map(|bytes| CompressBody::own(bytes, None))))
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
        ask: Ask,
    },
    Encode {
        whole: Option<Box<Whole>>,
    },
    /// Boxed: it is large, and rare.
    Refuse {
        response: Option<Box<Response<Bytes>>>,
    },
}
