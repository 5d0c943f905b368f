use std::fmt;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http::HeaderMap;
use http_body::{Body, Frame, SizeHint};
use pin_project::pin_project;
use tower_edge_core::{BodyError, BoxError};

use super::chain::Chain;
use super::decoder::DecodeError;
use crate::source::{Ending, Piece, Source};

/// The body of a request that went through a
/// [`DecompressRequestLayer`](crate::DecompressRequestLayer): as it came, or decoded.
///
/// It ends in an error if the content is not encoded as it says, breaks off, or is
/// too large.
#[pin_project]
pub struct DecompressBody<B> {
    #[pin]
    kind: Kind<B>,
}

impl<B> DecompressBody<B>
where
    B: Body<Data = Bytes>,
    B::Error: Into<BoxError>,
{
    pub(crate) fn passed(body: B) -> Self {
        Self { kind: Kind::Passed(body) }
    }

    /// Raises `too_large` if it is.
    pub(crate) fn decoding(body: B, chain: Chain, too_large: Arc<AtomicBool>) -> Self {
        let work = Some(Work { source: Source::new(body), chain, too_large });
        Self { kind: Kind::Decoding(Box::new(Decoding { work })) }
    }
}

impl<B> Body for DecompressBody<B>
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
            KindProj::Passed(body) => body.poll_frame(cx).map_err(BodyError::new),
            KindProj::Decoding(decoding) => decoding.poll_frame(cx),
        }
    }

    fn is_end_stream(&self) -> bool {
        match &self.kind {
            Kind::Passed(body) => body.is_end_stream(),
            Kind::Decoding(decoding) => decoding.work.is_none(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match &self.kind {
            Kind::Passed(body) => body.size_hint(),
            Kind::Decoding(_) => SizeHint::new(),
        }
    }
}

impl<B> fmt::Debug for DecompressBody<B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DecompressBody").finish_non_exhaustive()
    }
}

#[pin_project(project = KindProj)]
enum Kind<B> {
    Passed(#[pin] B),
    Decoding(Box<Decoding<B>>),
}

struct Decoding<B> {
    /// Gone when it has ended.
    work: Option<Work<B>>,
}

impl<B> Decoding<B>
where
    B: Body<Data = Bytes>,
    B::Error: Into<BoxError>,
{
    fn poll_frame(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let Some(work) = &mut self.work else { return Poll::Ready(None) };
        let decoded = ready!(work.poll(cx));
        if let Ok(Decoded::Data(data)) = decoded {
            return Poll::Ready(Some(Ok(Frame::data(data))));
        }
        self.work = None;
        match decoded {
            Err(error) => Poll::Ready(Some(Err(error))),
            Ok(Decoded::End(Some(trailers))) => Poll::Ready(Some(Ok(Frame::trailers(trailers)))),
            Ok(_) => Poll::Ready(None),
        }
    }
}

struct Work<B> {
    source: Source<B>,
    chain: Chain,
    too_large: Arc<AtomicBool>,
}

enum Decoded {
    Data(Bytes),
    End(Option<HeaderMap>),
}

impl<B> Work<B>
where
    B: Body<Data = Bytes>,
    B::Error: Into<BoxError>,
{
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Result<Decoded, BodyError>> {
        loop {
            let data = self.chain.decode(FRAME).map_err(|error| self.failed(error))?;
            if !data.is_empty() {
                return Poll::Ready(Ok(Decoded::Data(data)));
            }
            match ready!(self.source.poll_piece(cx)) {
                Piece::Data(data) => self.chain.feed(data),
                Piece::End(Ending::Failed(error)) => return Poll::Ready(Err(error)),
                Piece::End(Ending::Complete(trailers)) => {
                    self.chain.finish().map_err(|error| self.failed(error))?;
                    return Poll::Ready(Ok(Decoded::End(trailers)));
                }
            }
        }
    }

    fn failed(&self, error: DecodeError) -> BodyError {
        if error == DecodeError::TooLarge {
            self.too_large.store(true, Ordering::Relaxed);
        }
        BodyError::new(error)
    }
}

/// How much is decoded at once.
const FRAME: usize = 16 << 10;
