use std::collections::VecDeque;
use std::fmt;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::{Bytes, BytesMut};
use http::HeaderMap;
use http_body::Body;
use tower_edge_core::{BodyError, BoxError};

/// The body underneath: what was read of it ahead, then the rest.
pub(crate) struct Source<B> {
    seen: VecDeque<Bytes>,
    size: usize,
    end: Option<Ending>,
    /// Gone when it has ended: it is never polled again.
    body: Option<Pin<Box<B>>>,
}

/// What a body has to give.
#[derive(Debug)]
pub(crate) enum Piece {
    /// Some bytes, never none.
    Data(Bytes),
    /// Nothing any more.
    End(Ending),
}

/// How a body ended.
#[derive(Debug)]
pub(crate) enum Ending {
    Complete(Option<HeaderMap>),
    Failed(BodyError),
}

impl<B> Source<B>
where
    B: Body<Data = Bytes>,
    B::Error: Into<BoxError>,
{
    pub(crate) fn new(body: B) -> Self {
        Self { seen: VecDeque::new(), size: 0, end: None, body: Some(Box::pin(body)) }
    }

    /// Reads ahead what is in hand, up to the end or to more than `most` bytes.
    pub(crate) fn gather(&mut self, most: usize, cx: &mut Context<'_>) {
        while self.size <= most && self.end.is_none() {
            match self.poll_body(cx) {
                Poll::Ready(Piece::Data(data)) => {
                    self.size += data.len();
                    self.seen.push_back(data);
                }
                Poll::Ready(Piece::End(end)) => self.end = Some(end),
                Poll::Pending => return,
            }
        }
    }

    /// All of the body and its trailers, if it was read ahead to its end.
    pub(crate) fn whole(&mut self) -> Option<(Bytes, Option<HeaderMap>)> {
        let end = self.end.take_if(|end| matches!(end, Ending::Complete(_)))?;
        let Ending::Complete(trailers) = end else { return None };
        let bytes = match self.seen.pop_front() {
            Some(only) if self.seen.is_empty() => only,
            first => {
                let mut all = BytesMut::with_capacity(self.size);
                first.iter().chain(&self.seen).for_each(|data| all.extend_from_slice(data));
                all.freeze()
            }
        };
        Some((bytes, trailers))
    }

    /// The next piece; not asked again after the end.
    pub(crate) fn poll_piece(&mut self, cx: &mut Context<'_>) -> Poll<Piece> {
        if let Some(data) = self.seen.pop_front() {
            return Poll::Ready(Piece::Data(data));
        }
        match self.end.take() {
            Some(end) => Poll::Ready(Piece::End(end)),
            None => self.poll_body(cx),
        }
    }

    fn poll_body(&mut self, cx: &mut Context<'_>) -> Poll<Piece> {
        let end = loop {
            let Some(body) = &mut self.body else { break Ending::Complete(None) };
            let frame = match body.as_mut().poll_frame(cx) {
                Poll::Ready(Some(Ok(frame))) => frame,
                Poll::Ready(Some(Err(error))) => break Ending::Failed(BodyError::new(error)),
                Poll::Ready(None) => break Ending::Complete(None),
                Poll::Pending => return Poll::Pending,
            };
            match frame.into_data() {
                Ok(data) if data.is_empty() => {}
                Ok(data) => return Poll::Ready(Piece::Data(data)),
                Err(frame) => break Ending::Complete(frame.into_trailers().ok()),
            }
        };
        self.body = None;
        Poll::Ready(Piece::End(end))
    }
}

impl<B> fmt::Debug for Source<B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Source").field("seen", &self.seen.len()).finish_non_exhaustive()
    }
}
