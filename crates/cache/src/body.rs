use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use pin_project::pin_project;
use tower_edge_core::{Expected, ReplyBody, TapBody};

use crate::fill::Fill;

/// The body of a response that came through a cache: stored bytes, or the body
/// of the inner service.
///
/// Frames of the inner body pass as they are. Dropping it before its end means
/// that nothing is stored.
#[pin_project]
#[derive(Debug)]
pub struct CacheBody<B: Body<Data = Bytes>> {
    #[pin]
    kind: Kind<B>,
}

impl<B: Body<Data = Bytes>> CacheBody<B> {
    pub(crate) fn own(body: ReplyBody<B>) -> Self {
        Self { kind: Kind::Reply(body) }
    }

    pub(crate) fn passed(body: B) -> Self {
        Self::own(ReplyBody::inner(body))
    }

    pub(crate) fn filling(body: B, fill: Fill, expected: Expected) -> Self {
        Self { kind: Kind::Filling(TapBody::new(body, fill, expected)) }
    }
}

impl<B: Body<Data = Bytes>> Body for CacheBody<B> {
    type Data = Bytes;
    type Error = B::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, B::Error>>> {
        match self.project().kind.project() {
            KindProj::Reply(body) => body.poll_frame(cx),
            KindProj::Filling(body) => body.poll_frame(cx),
        }
    }

    fn is_end_stream(&self) -> bool {
        match &self.kind {
            Kind::Reply(body) => body.is_end_stream(),
            Kind::Filling(body) => body.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match &self.kind {
            Kind::Reply(body) => body.size_hint(),
            Kind::Filling(body) => body.size_hint(),
        }
    }
}

#[pin_project(project = KindProj)]
#[derive(Debug)]
enum Kind<B: Body<Data = Bytes>> {
    Reply(#[pin] ReplyBody<B>),
    Filling(#[pin] TapBody<B, Fill>),
}
