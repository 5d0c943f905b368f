use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use http::Response;
use http_body::Body;
use pin_project::pin_project;

use crate::LatencyBody;
use crate::call::Call;

/// The future of [`LatencyService`](crate::LatencyService); a request whose future is dropped
/// counts as abandoned.
#[pin_project]
#[derive(Debug)]
pub struct ResponseFuture<F> {
    #[pin]
    inner: F,
    call: Call,
}

impl<F> ResponseFuture<F> {
    pub(crate) fn new(inner: F, call: Call) -> Self {
        Self { inner, call }
    }
}

impl<F, B, E> Future for ResponseFuture<F>
where
    F: Future<Output = Result<Response<B>, E>>,
    B: Body,
{
    type Output = Result<Response<LatencyBody<B>>, E>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.project();
        let polled = match this.call.trace() {
            None => this.inner.poll(cx),
            Some((trace, _)) => trace.scope(|| this.inner.poll(cx)),
        };
        match ready!(polled) {
            Ok(mut response) => {
                let (reading, expected) = this.call.answered(&mut response).expect(ENDED);
                Poll::Ready(Ok(response.map(|body| LatencyBody::new(body, reading, expected))))
            }
            Err(error) => {
                this.call.failed();
                Poll::Ready(Err(error))
            }
        }
    }
}

const ENDED: &str = "no future is polled after it ended";
