use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use http::HeaderMap;
use http_body::{Body, Frame, SizeHint};
use pin_project::pin_project;
use tower_edge_core::{BodyError, BoxError, ReplyBody};

use crate::stream::Stream;

/// The body of [`Compress`](crate::Compress)'s responses: the inner one as it is,
/// or encoded.
///
/// A body that is not encoded takes a few words more than the inner one. It may be
/// dropped at any time: an encoder goes back to its pool, the inner body is dropped.
#[pin_project]
#[derive(Debug)]
pub struct CompressBody<B> {
    #[pin]
    kind: Kind<B>,
}

impl<B> CompressBody<B> {
    /// The inner body as it is.
    pub(crate) fn passed(body: B) -> Self {
        Self { kind: Kind::Known(ReplyBody::inner(body)) }
    }

    /// Bytes that are all there.
    pub(crate) fn own(bytes: Bytes, trailers: Option<HeaderMap>) -> Self {
        Self {
            kind: Kind::Known(match trailers {
                Some(trailers) => ReplyBody::with_trailers(bytes, trailers),
                None => ReplyBody::bytes(bytes),
            }),
        }
    }

    /// A body that is encoded while it arrives.
    pub(crate) fn stream(stream: Stream<B>) -> Self {
        Self { kind: Kind::Stream(Box::new(stream)) }
    }
}

impl<B> Body for CompressBody<B>
where
    B: Body<Data = Bytes>,
    B::Error: Into<BoxError>,
{
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        match self.project().kind.project() {
            KindProj::Known(body) => body.poll_frame(cx).map_err(BodyError::new),
            KindProj::Stream(stream) => stream.poll_frame(cx),
        }
    }

    fn is_end_stream(&self) -> bool {
        match &self.kind {
            Kind::Known(body) => body.is_end_stream(),
            Kind::Stream(stream) => stream.is_end(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match &self.kind {
            Kind::Known(body) => body.size_hint(),
            Kind::Stream(stream) if stream.is_end() => SizeHint::with_exact(0),
            Kind::Stream(_) => SizeHint::new(),
        }
    }
}

#[pin_project(project = KindProj)]
#[derive(Debug)]
enum Kind<B> {
    Known(#[pin] ReplyBody<B>),
    /// Boxed: an encoder is large, and most bodies have none.
    Stream(Box<Stream<B>>),
}
