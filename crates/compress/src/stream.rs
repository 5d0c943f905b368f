use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::{Buf, Bytes};
use http::HeaderMap;
use http_body::{Body, Frame};
use tokio::runtime::Handle;
use tokio::time::Sleep;
use tower_edge_core::{BodyError, BoxError, Coding, Event};

use crate::codec::{Kind, Scratch, Then};
use crate::fields::drop_digests;
use crate::pool::Lease;
use crate::shared::Shared;
use crate::source::{Ending, Piece, Source};
use crate::whole::SLICE;

/// A body that is encoded while it arrives.
#[derive(Debug)]
pub(crate) struct Stream<B> {
    /// Gone when it has ended, well or not.
    work: Option<Work<B>>,
    trailers: Option<HeaderMap>,
}

impl<B> Stream<B>
where
    B: Body<Data = Bytes>,
    B::Error: Into<BoxError>,
{
    pub(crate) fn new(
        shared: Arc<Shared>,
        coding: Coding,
        source: Source<B>,
        events: bool,
    ) -> Self {
        let lease = shared.pool.lease(coding, shared.level(coding), Kind::Pieces);
        let work = Work {
            shared,
            coding,
            source,
            lease,
            current: Bytes::new(),
            unflushed: 0,
            flushed: false,
            boundary: events.then(Boundary::default),
            timer: None,
            armed: false,
            plain: 0,
            encoded: 0,
        };
        Self { work: Some(work), trailers: None }
    }

    pub(crate) fn is_end(&self) -> bool {
        self.work.is_none() && self.trailers.is_none()
    }

    pub(crate) fn poll_frame(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let Some(work) = &mut self.work else {
            return Poll::Ready(self.trailers.take().map(|trailers| Ok(Frame::trailers(trailers))));
        };
        let done = ready!(Scratch::with(|out| work.poll(cx, out)));
        Poll::Ready(Some(match done {
            Ok(Output::Data(data)) => Ok(Frame::data(data)),
            Ok(Output::Last(data, trailers)) => {
                self.work = None;
                self.trailers = trailers;
                Ok(Frame::data(data))
            }
            Err(error) => {
                self.work = None;
                Err(error)
            }
        }))
    }
}

/// What is needed until the body has ended.
#[derive(Debug)]
struct Work<B> {
    shared: Arc<Shared>,
    coding: Coding,
    source: Source<B>,
    lease: Lease,
    /// What is left of the piece that is being encoded.
    current: Bytes,
    /// How much a decoder may not have got yet, in plain bytes.
    unflushed: usize,
    /// Whether a decoder has got anything.
    flushed: bool,
    /// Of streams of events.
    boundary: Option<Boundary>,
    timer: Option<Pin<Box<Sleep>>>,
    /// Whether the timer runs for what is not flushed.
    armed: bool,
    plain: u64,
    encoded: u64,
}

/// What comes out of the encoder.
enum Output {
    Data(Bytes),
    Last(Bytes, Option<HeaderMap>),
}

impl<B> Work<B>
where
    B: Body<Data = Bytes>,
    B::Error: Into<BoxError>,
{
    fn poll(&mut self, cx: &mut Context<'_>, out: &mut Scratch) -> Poll<Result<Output, BodyError>> {
        let mut budget = SLICE;
        loop {
            if self.current.has_remaining() && budget > 0 {
                let piece = self.current.split_to(self.current.len().min(budget));
                budget -= piece.len();
                self.encode(&piece, Then::Go, out)?;
                if out.written().len() < ENOUGH {
                    continue;
                }
            }
            if self.current.has_remaining() || out.written().len() >= ENOUGH {
                return self.send_or_yield(cx, out);
            }
            match self.source.poll_piece(cx) {
                Poll::Ready(Piece::Data(data)) => {
                    if let Some(boundary) = &mut self.boundary {
                        boundary.see(&data);
                    }
                    self.current = data;
                }
                Poll::Ready(Piece::End(Ending::Complete(trailers))) => {
                    return Poll::Ready(self.finish(trailers, out));
                }
                Poll::Ready(Piece::End(Ending::Failed(error))) => return Poll::Ready(Err(error)),
                Poll::Pending => {
                    if self.is_due(cx) {
                        self.encode(&[], Then::Flush, out)?;
                    }
                    return match out.written() {
                        [] => Poll::Pending,
                        _ => Poll::Ready(Ok(Output::Data(out.take()))),
                    };
                }
            }
        }
    }

    /// Sends what there is; without any, lets others have their turn.
    fn send_or_yield(
        &self,
        cx: &mut Context<'_>,
        out: &mut Scratch,
    ) -> Poll<Result<Output, BodyError>> {
        if out.written().is_empty() {
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
        Poll::Ready(Ok(Output::Data(out.take())))
    }

    /// Whether what was encoded has to go out, now that there is nothing more to
    /// encode.
    ///
    /// The first bytes do at once, and whole events. Anything else does when it is
    /// much, or has waited for a while: each flush costs bytes.
    fn is_due(&mut self, cx: &mut Context<'_>) -> bool {
        if self.unflushed == 0 {
            return false;
        }
        let at_boundary = self.boundary.as_ref().is_some_and(Boundary::is_here);
        if !self.flushed || at_boundary || self.unflushed >= MUCH || Handle::try_current().is_err()
        {
            return true;
        }
        let timer = match &mut self.timer {
            None => self.timer.insert(Box::pin(tokio::time::sleep(WAIT))),
            Some(timer) => {
                if !self.armed {
                    timer.as_mut().reset((self.shared.clock.now() + WAIT).into());
                }
                timer
            }
        };
        self.armed = true;
        timer.as_mut().poll(cx).is_ready()
    }

    fn finish(
        &mut self,
        mut trailers: Option<HeaderMap>,
        out: &mut Scratch,
    ) -> Result<Output, BodyError> {
        self.encode(&[], Then::Finish, out)?;
        trailers.iter_mut().for_each(drop_digests);
        if let Some(observe) = &self.shared.observe {
            let (coding, plain, encoded) = (self.coding.as_str(), self.plain, self.encoded);
            observe.event(&Event::Encoded { coding, plain, encoded });
        }
        Ok(Output::Last(out.take(), trailers))
    }

    fn encode(&mut self, input: &[u8], then: Then, out: &mut Scratch) -> Result<(), BodyError> {
        let before = out.written().len();
        self.lease.encode(input, then, out).map_err(BodyError::new)?;
        self.unflushed += input.len();
        self.plain += input.len() as u64;
        self.encoded += (out.written().len() - before) as u64;
        if then == Then::Flush {
            (self.unflushed, self.flushed, self.armed) = (0, true, false);
        }
        Ok(())
    }
}

/// Finds where an event ends in a stream of them: at an empty line.
#[derive(Debug, Default)]
struct Boundary {
    /// The last bytes, the newest last.
    last: [u8; 3],
}

impl Boundary {
    fn see(&mut self, data: &[u8]) {
        for &byte in &data[data.len().saturating_sub(3)..] {
            self.last = [self.last[1], self.last[2], byte];
        }
    }

    fn is_here(&self) -> bool {
        matches!(self.last, [_, b'\n', b'\n'] | [_, b'\r', b'\r'] | [b'\n', b'\r', b'\n'])
    }
}

/// How long encoded bytes wait for more while the service has none.
const WAIT: Duration = Duration::from_millis(10);
/// How many bytes, in plain ones, do not wait: next to them a flush costs little.
const MUCH: usize = 8 << 10;
/// How many encoded bytes make a frame, while there is more to encode.
const ENOUGH: usize = 8 << 10;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_event_ends_at_an_empty_line() {
        for (pieces, here) in [
            (&["data: a\n\n"][..], true),
            (&["data: a\r\n\r\n"], true),
            (&["data: a\r\r"], true),
            (&["data: a\n", "\n"], true),
            (&["data: a\r\n", "\r", "\n"], true),
            (&["data: a\n"], false),
            (&["data: a\r\n"], false),
            (&["data: a\n\ndata"], false),
            (&["\n\n", "id"], false),
            (&[], false),
        ] {
            let mut boundary = Boundary::default();
            pieces.iter().for_each(|piece| boundary.see(piece.as_bytes()));
            assert_eq!(boundary.is_here(), here, "{pieces:?}");
        }
    }
}
