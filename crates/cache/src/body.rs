use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use pin_project::pin_project;
use tower_edge_core::{BodyError, BoxError, ReplyBody};

use crate::feed::Reader;
use crate::filling::Filling;

/// The body of a response that came through a cache: stored bytes, the body of
/// the inner service, or what of it has come so far.
///
/// Frames of an inner body that is not stored pass as they are. One that is
/// stored goes on being stored when this is dropped before its end; outside a
/// tokio runtime nothing is stored then.
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

    pub(crate) fn filling(filling: Filling<B>) -> Self {
        Self { kind: Kind::Filling(filling) }
    }

    pub(crate) fn reading(reader: Reader) -> Self {
        Self { kind: Kind::Reading(reader) }
    }
}

impl<B: Body<Data = Bytes, Error: Into<BoxError>>> Body for CacheBody<B> {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        match self.project().kind.project() {
            KindProj::Reply(body) => {
                body.poll_frame(cx).map(|frame| frame.map(|frame| frame.map_err(BodyError::new)))
            }
            KindProj::Filling(filling) => filling.poll_frame(cx),
            KindProj::Reading(reader) => reader.poll_frame(cx),
        }
    }

    fn is_end_stream(&self) -> bool {
        match &self.kind {
            Kind::Reply(body) => body.is_end_stream(),
            Kind::Filling(filling) => filling.is_end_stream(),
            Kind::Reading(reader) => reader.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match &self.kind {
            Kind::Reply(body) => body.size_hint(),
            Kind::Filling(filling) => filling.size_hint(),
            Kind::Reading(reader) => reader.size_hint(),
        }
    }
}

#[pin_project(project = KindProj)]
#[derive(Debug)]
enum Kind<B: Body<Data = Bytes>> {
    Reply(#[pin] ReplyBody<B>),
    Filling(Filling<B>),
    Reading(Reader),
}
