use std::collections::VecDeque;
use std::fmt;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use pin_project::pin_project;

/// The body of a response that went through an [`EtagLayer`](crate::EtagLayer):
/// the frames that were looked at, then those that were not.
#[pin_project]
pub struct EtagBody<B: Body> {
    seen: VecDeque<Seen<B>>,
    /// Gone when it has ended.
    #[pin]
    rest: Option<B>,
}

/// What a body gave when it was looked at.
pub(crate) type Seen<B> = Result<Frame<Bytes>, <B as Body>::Error>;

impl<B: Body> EtagBody<B> {
    pub(crate) fn new(seen: VecDeque<Seen<B>>, rest: Option<B>) -> Self {
        Self { seen, rest }
    }
}

impl<B: Body<Data = Bytes>> Body for EtagBody<B> {
    type Data = Bytes;
    type Error = B::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, B::Error>>> {
        let this = self.project();
        match (this.seen.pop_front(), this.rest.as_pin_mut()) {
            (Some(seen), _) => Poll::Ready(Some(seen)),
            (None, Some(rest)) => rest.poll_frame(cx),
            (None, None) => Poll::Ready(None),
        }
    }

    fn is_end_stream(&self) -> bool {
        self.seen.is_empty() && self.rest.as_ref().is_none_or(B::is_end_stream)
    }

    fn size_hint(&self) -> SizeHint {
        let frames = self.seen.iter().flatten();
        let seen: usize = frames.filter_map(Frame::data_ref).map(Bytes::len).sum();
        let rest = self.rest.as_ref().map_or(SizeHint::with_exact(0), B::size_hint);
        let mut hint = SizeHint::new();
        hint.set_lower(rest.lower() + seen as u64);
        if let Some(upper) = rest.upper() {
            hint.set_upper(upper + seen as u64);
        }
        hint
    }
}

impl<B: Body> fmt::Debug for EtagBody<B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("EtagBody").field("seen", &self.seen.len()).finish_non_exhaustive()
    }
}
