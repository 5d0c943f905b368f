use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use hyper::body::{Body, Frame, SizeHint};
use pin_project::pin_project;

use crate::fields::Hops;

/// A body whose trailers leave here what is for one connection only: fields that
/// come late are fields as well (RFC 9110 §7.6.1).
#[pin_project]
#[derive(Debug)]
pub(crate) struct Onward<B> {
    #[pin]
    body: B,
    hops: Hops,
}

impl<B> Onward<B> {
    /// The body of a message whose `Connection` named these.
    pub(crate) fn new(body: B, hops: Hops) -> Self {
        Self { body, hops }
    }
}

impl<B: Body<Data = Bytes>> Body for Onward<B> {
    type Data = Bytes;
    type Error = B::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, B::Error>>> {
        let this = self.project();
        let mut frame = this.body.poll_frame(cx);
        if let Poll::Ready(Some(Ok(frame))) = &mut frame
            && let Some(trailers) = frame.trailers_mut()
        {
            this.hops.remove_from(trailers);
        }
        frame
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
