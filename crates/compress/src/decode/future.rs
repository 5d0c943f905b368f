use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http::Response;
use pin_project::pin_project;
use tower_edge_core::ReplyBody;

/// The future of [`DecompressRequest`](crate::DecompressRequest).
///
/// Dropping it drops the call to the inner service.
#[pin_project]
#[derive(Debug)]
pub struct DecompressFuture<F> {
    #[pin]
    state: State<F>,
}

impl<F> DecompressFuture<F> {
    /// Answers by itself if the content turns out to be too large.
    pub(crate) fn forward(inner: F, guard: Option<Guard>) -> Self {
        Self { state: State::Forward { inner, guard } }
    }

    pub(crate) fn refuse(response: Response<Bytes>) -> Self {
        Self { state: State::Refuse { response: Some(response) } }
    }
}

/// Knows whether the content is too large, and what is to be said then.
#[derive(Debug)]
pub(crate) struct Guard {
    pub(crate) too_large: Arc<AtomicBool>,
    pub(crate) response: Response<Bytes>,
}

impl<F, B, E> Future for DecompressFuture<F>
where
    F: Future<Output = Result<Response<B>, E>>,
{
    type Output = Result<Response<ReplyBody<B>>, E>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        match self.project().state.project() {
            StateProj::Forward { inner, guard } => {
                let result = ready!(inner.poll(cx));
                let large = guard.take().filter(|guard| guard.too_large.load(Ordering::Relaxed));
                Poll::Ready(match large {
                    Some(guard) => Ok(guard.response.map(ReplyBody::bytes)),
                    None => result.map(|response| response.map(ReplyBody::inner)),
                })
            }
            StateProj::Refuse { response } => {
                let response = response.take().expect("no future is polled after it ended");
                Poll::Ready(Ok(response.map(ReplyBody::bytes)))
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
        /// Of requests whose content is decoded.
        guard: Option<Guard>,
    },
    Refuse {
        response: Option<Response<Bytes>>,
    },
}
