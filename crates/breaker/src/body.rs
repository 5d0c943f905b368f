use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use pin_project::pin_project;
use tower_edge_core::{End, Expected, ReplyBody, Tap, TapBody};

use crate::call::Answered;

/// The body of [`Breaker`](crate::Breaker)'s responses: the inner one, whose end
/// is the end of the call, or that of a refusal.
#[pin_project]
#[derive(Debug)]
pub struct BreakerBody<B: Body<Data = Bytes>> {
    #[pin]
    reply: ReplyBody<TapBody<B, Watch>>,
}

impl<B: Body<Data = Bytes>> BreakerBody<B> {
    pub(crate) fn watched(body: B, call: Option<Answered>, expected: Expected) -> Self {
        Self { reply: ReplyBody::inner(TapBody::new(body, Watch(call), expected)) }
    }

    /// A body that is nobody's business.
    pub(crate) fn passed(body: B) -> Self {
        let expected = Expected::by_size(&body.size_hint());
        Self::watched(body, None, expected)
    }

    pub(crate) fn refused(bytes: Bytes) -> Self {
        Self { reply: ReplyBody::bytes(bytes) }
    }
}

impl<B: Body<Data = Bytes>> Body for BreakerBody<B> {
    type Data = Bytes;
    type Error = B::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, B::Error>>> {
        self.project().reply.poll_frame(cx)
    }

    fn is_end_stream(&self) -> bool {
        self.reply.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.reply.size_hint()
    }
}

/// The call that a body belongs to, unless it counts for nothing.
#[derive(Debug)]
struct Watch(Option<Answered>);

impl Tap<Bytes> for Watch {
    fn data(&mut self, data: &Bytes) {
        if let Some(call) = &mut self.0 {
            call.data(data);
        }
    }

    fn pending(&mut self) {
        if let Some(call) = &mut self.0 {
            call.pending();
        }
    }

    fn end(&mut self, end: End<'_>) {
        if let Some(call) = &mut self.0 {
            call.end(end);
        }
    }
}
