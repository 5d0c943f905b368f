use std::error::Error;
use std::fmt;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use http::HeaderMap;
use http_body::{Body, Frame, SizeHint};
use pin_project::pin_project;

/// Any error, as tower has it.
pub type BoxError = Box<dyn Error + Send + Sync>;

/// Ends a body that a layer makes when what it is made from fails.
///
/// A reader of a broken body must meet an error, never an end that looks whole.
#[derive(Debug)]
pub struct BodyError {
    cause: BoxError,
}

impl BodyError {
    /// Wraps the error of the body underneath, or says why there is none.
    pub fn new(cause: impl Into<BoxError>) -> Self {
        match cause.into().downcast::<Self>() {
            Ok(already) => *already,
            Err(cause) => Self { cause },
        }
    }
}

impl fmt::Display for BodyError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("body broke off")
    }
}

impl Error for BodyError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        Some(&*self.cause)
    }
}

/// The body of a response that a layer passes on, or of one it makes itself.
#[pin_project]
#[derive(Debug)]
pub struct ReplyBody<B> {
    #[pin]
    kind: Kind<B>,
}

impl<B> ReplyBody<B> {
    /// The body of the inner service.
    pub fn inner(body: B) -> Self {
        Self { kind: Kind::Inner(body) }
    }

    /// A body of these bytes.
    pub fn bytes(bytes: impl Into<Bytes>) -> Self {
        Self { kind: Kind::Own { bytes: bytes.into(), trailers: None } }
    }

    /// A body of these bytes and then trailers; it reports no exact size, since
    /// hyper drops the trailers of a body that does.
    pub fn with_trailers(bytes: impl Into<Bytes>, trailers: HeaderMap) -> Self {
        Self { kind: Kind::Own { bytes: bytes.into(), trailers: Some(Box::new(trailers)) } }
    }

    /// A body of these pieces, a frame each; none of them is copied.
    pub fn pieces(mut pieces: Vec<Bytes>) -> Self {
        pieces.retain(|piece| !piece.is_empty());
        Self { kind: Kind::Pieces(pieces.into_iter()) }
    }

    /// A body with nothing in it.
    pub fn empty() -> Self {
        Self::bytes(Bytes::new())
    }
}

impl<B: Body<Data = Bytes>> Body for ReplyBody<B> {
    type Data = Bytes;
    type Error = B::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, B::Error>>> {
        match self.project().kind.project() {
            KindProj::Inner(body) => body.poll_frame(cx),
            KindProj::Own { bytes, .. } if !bytes.is_empty() => {
                Poll::Ready(Some(Ok(Frame::data(std::mem::take(bytes)))))
            }
            KindProj::Own { trailers, .. } => {
                Poll::Ready(trailers.take().map(|trailers| Ok(Frame::trailers(*trailers))))
            }
            KindProj::Pieces(pieces) => {
                Poll::Ready(pieces.next().map(|piece| Ok(Frame::data(piece))))
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        match &self.kind {
            Kind::Inner(body) => body.is_end_stream(),
            Kind::Own { bytes, trailers } => bytes.is_empty() && trailers.is_none(),
            Kind::Pieces(pieces) => pieces.as_slice().is_empty(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match &self.kind {
            Kind::Inner(body) => body.size_hint(),
            Kind::Own { bytes, trailers: None } => SizeHint::with_exact(bytes.len() as u64),
            Kind::Own { bytes, .. } => {
                let mut hint = SizeHint::new();
                hint.set_lower(bytes.len() as u64);
                hint
            }
            Kind::Pieces(pieces) => {
                SizeHint::with_exact(pieces.as_slice().iter().map(|piece| piece.len() as u64).sum())
            }
        }
    }
}

/// One of two bodies: what comes through a layer that may have been left out at
/// run time.
#[pin_project]
#[derive(Debug)]
pub struct EitherBody<A, B> {
    #[pin]
    either: Either<A, B>,
}

impl<A, B> EitherBody<A, B> {
    /// The body with the layer.
    pub(crate) fn with(body: A) -> Self {
        Self { either: Either::With(body) }
    }

    /// The body without it.
    pub(crate) fn without(body: B) -> Self {
        Self { either: Either::Without(body) }
    }
}

impl<A, B> Body for EitherBody<A, B>
where
    A: Body,
    B: Body<Data = A::Data>,
    A::Error: Into<BoxError>,
    B::Error: Into<BoxError>,
{
    type Data = A::Data;
    type Error = BodyError;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<A::Data>, BodyError>>> {
        match self.project().either.project() {
            EitherProj::With(body) => body.poll_frame(cx).map_err(BodyError::new),
            EitherProj::Without(body) => body.poll_frame(cx).map_err(BodyError::new),
        }
    }

    fn is_end_stream(&self) -> bool {
        match &self.either {
            Either::With(body) => body.is_end_stream(),
            Either::Without(body) => body.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match &self.either {
            Either::With(body) => body.size_hint(),
            Either::Without(body) => body.size_hint(),
        }
    }
}

#[pin_project(project = EitherProj)]
#[derive(Debug)]
enum Either<A, B> {
    With(#[pin] A),
    Without(#[pin] B),
}

#[pin_project(project = KindProj)]
#[derive(Debug)]
enum Kind<B> {
    Inner(#[pin] B),
    /// Trailers are rare: a box keeps the body small.
    Own {
        bytes: Bytes,
        trailers: Option<Box<HeaderMap>>,
    },
    Pieces(std::vec::IntoIter<Bytes>),
}

#[cfg(test)]
mod tests {
    use http_body_util::{BodyExt, Empty};

    use super::*;

    type Reply = ReplyBody<Empty<Bytes>>;

    #[tokio::test]
    async fn own_bytes_are_one_frame_of_known_size() {
        let mut body = Reply::bytes("abc");
        assert_eq!(body.size_hint().exact(), Some(3));
        let frame = body.frame().await.unwrap().unwrap();
        assert_eq!(frame.into_data().unwrap(), "abc");
        assert!(body.is_end_stream());
        assert!(body.frame().await.is_none());
        assert!(Reply::empty().is_end_stream());
    }

    #[tokio::test]
    async fn own_trailers_follow_the_bytes_and_hide_the_size() {
        let trailers = HeaderMap::from_iter([("x".parse().unwrap(), "y".parse().unwrap())]);
        let body = Reply::with_trailers("abc", trailers.clone());
        assert_eq!(body.size_hint().exact(), None);
        assert!(!body.is_end_stream());
        let read = body.collect().await.unwrap();
        assert_eq!(read.trailers(), Some(&trailers));
        assert_eq!(read.to_bytes(), "abc");
    }

    #[tokio::test]
    async fn own_pieces_are_frames_of_known_size_together() {
        let mut body = Reply::pieces(vec!["ab".into(), "".into(), "c".into(), "".into()]);
        for (size, piece) in [(3, "ab"), (1, "c")] {
            assert!(!body.is_end_stream());
            assert_eq!(body.size_hint().exact(), Some(size));
            assert_eq!(body.frame().await.unwrap().unwrap().into_data().unwrap(), piece);
        }
        assert!(body.is_end_stream());
        assert!(body.frame().await.is_none());
    }

    #[test]
    fn a_body_error_names_its_cause() {
        let error = BodyError::new("connection reset");
        assert_eq!(error.to_string(), "body broke off");
        assert_eq!(error.source().unwrap().to_string(), "connection reset");
        let again = BodyError::new(error);
        assert_eq!(again.source().unwrap().to_string(), "connection reset");
    }
}
