use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use pin_project::pin_project;
use tower_edge_core::{Expected, TapBody};

use crate::call::Call;

/// The body of [`Breaker`](crate::Breaker)'s responses: the inner one, whose end
/// is the end of the call, or that of a refusal.
#[pin_project]
#[derive(Debug)]
pub struct BreakerBody<B: Body<Data = Bytes>> {
    #[pin]
    kind: Kind<B>,
}

impl<B: Body<Data = Bytes>> BreakerBody<B> {
    /// The body of a call, or one that is nobody's business.
    pub(crate) fn forwarded(body: B, call: Option<Call>, expected: Expected) -> Self {
        Self { kind: Kind::Forwarded(TapBody::new(body, call, expected)) }
    }

    pub(crate) fn refused(bytes: Bytes) -> Self {
        Self { kind: Kind::Refused(bytes) }
    }
}

impl<B: Body<Data = Bytes>> Body for BreakerBody<B> {
    type Data = Bytes;
    type Error = B::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, B::Error>>> {
        match self.project().kind.project() {
            KindProj::Forwarded(body) => body.poll_frame(cx),
            KindProj::Refused(bytes) => {
                let bytes = std::mem::take(bytes);
                Poll::Ready((!bytes.is_empty()).then(|| Ok(Frame::data(bytes))))
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        match &self.kind {
            Kind::Forwarded(body) => body.is_end_stream(),
            Kind::Refused(bytes) => bytes.is_empty(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match &self.kind {
            Kind::Forwarded(body) => body.size_hint(),
            Kind::Refused(bytes) => SizeHint::with_exact(bytes.len() as u64),
        }
    }
}

#[pin_project(project = KindProj)]
#[derive(Debug)]
enum Kind<B: Body<Data = Bytes>> {
    Forwarded(#[pin] TapBody<B, Option<Call>>),
    Refused(Bytes),
}
