use std::pin::Pin;
use std::task::{Context, Poll};

use http_body::{Body, Frame, SizeHint};
use pin_project::pin_project;
use tower_edge_core::{Expected, TapBody};

use crate::call::Call;

/// The body of [`LatencyService`](crate::LatencyService)'s responses: the inner one, whose end
/// is the end of the request.
#[pin_project]
#[derive(Debug)]
pub struct LatencyBody<B: Body> {
    #[pin]
    tapped: TapBody<B, Call>,
}

impl<B: Body> LatencyBody<B> {
    pub(crate) fn new(body: B, call: Call, expected: Expected) -> Self {
        Self { tapped: TapBody::new(body, call, expected) }
    }
}

impl<B: Body> Body for LatencyBody<B> {
    type Data = B::Data;
    type Error = B::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<B::Data>, B::Error>>> {
        let mut tapped = self.project().tapped;
        let polled = tapped.as_mut().poll_frame(cx);
        if let Some(call) = tapped.tap() {
            call.goes_on();
        }
        polled
    }

    fn is_end_stream(&self) -> bool {
        self.tapped.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.tapped.size_hint()
    }
}
