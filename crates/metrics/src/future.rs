use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};

use http::Response;
use http_body::Body;
use pin_project::pin_project;
use tower_edge_core::Trace;

use crate::LatencyBody;
use crate::call::Call;

/// The future of [`LatencyService`](crate::LatencyService); a request whose future is dropped
/// counts as abandoned.
#[pin_project]
#[derive(Debug)]
pub struct ResponseFuture<F> {
    #[pin]
    inner: F,
    /// Taken when the head is there, or the service failed.
    call: Option<Call>,
}

impl<F> ResponseFuture<F> {
    pub(crate) fn new(inner: F, call: Call) -> Self {
        Self { inner, call: Some(call) }
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
        let trace = this.call.as_mut().and_then(Call::trace);
        let mut polled = Trace::scope_if(trace, || this.inner.poll(cx));
        // The response is looked at where it is, and moved once, into what is returned.
        let call = this.call;
        let expected = match &mut polled {
            Poll::Pending => return Poll::Pending,
            Poll::Ready(Ok(response)) => call.as_mut().map(|call| call.answered(response)),
            Poll::Ready(Err(_)) => {
                call.take().iter_mut().for_each(Call::failed);
                None
            }
        };
        polled.map_ok(|response| {
            let expected = expected.expect(ENDED);
            response.map(|body| LatencyBody::new(body, call.take().expect(ENDED), expected))
        })
    }
}

const ENDED: &str = "no future is polled after it ended";
