use std::collections::VecDeque;
use std::error::Error;
use std::fmt;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};

use bytes::Bytes;
use http::HeaderMap;
use http_body::{Body, Frame, SizeHint};

use crate::Gate;
use crate::gate::lock;
use crate::upstream::Flight;

/// A body that plays a script and notes what is done to it.
///
/// Its end is known (`is_end_stream`) as soon as no step is left: a script that
/// ends in [`pause`](Self::pause) plays a stream whose end comes later.
///
/// ```
/// use tower_edge_testkit::{MockBody, Received};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() {
/// let body = MockBody::new().data("ab").pause().data("c");
/// let handle = body.handle();
/// assert_eq!(Received::from(body).await.bytes(), "abc");
/// assert_eq!((handle.frames(), handle.dropped_early()), (2, false));
/// # }
/// ```
#[derive(Debug, Default)]
pub struct MockBody {
    steps: VecDeque<Step>,
    sized: bool,
    notes: Arc<Mutex<Notes>>,
    /// Keeps the call that this body belongs to in flight.
    flight: Option<Flight>,
}

impl MockBody {
    /// A body with nothing in it.
    pub fn new() -> Self {
        Self::default()
    }

    /// Then gives a data frame.
    #[must_use]
    pub fn data(self, data: impl Into<Bytes>) -> Self {
        self.step(Step::Data(data.into()))
    }

    /// Then is pending once, and wakes the reader at once.
    #[must_use]
    pub fn pause(self) -> Self {
        self.step(Step::Pause)
    }

    /// Then is pending until `gate` is open.
    #[must_use]
    pub fn hold(self, gate: &Gate) -> Self {
        self.step(Step::Hold(gate.clone()))
    }

    /// Then is pending for ever.
    #[must_use]
    pub fn never(self) -> Self {
        self.hold(&Gate::closed())
    }

    /// Then gives trailers.
    #[must_use]
    pub fn trailers(self, trailers: HeaderMap) -> Self {
        self.step(Step::Trailers(trailers))
    }

    /// Then breaks off with an error.
    #[must_use]
    pub fn fail(self) -> Self {
        self.step(Step::Fail)
    }

    /// Reports its exact size.
    #[must_use]
    pub fn sized(mut self) -> Self {
        self.sized = true;
        self
    }

    /// Tells what is done to this body, also when it is gone.
    pub fn handle(&self) -> BodyHandle {
        BodyHandle { notes: self.notes.clone() }
    }

    pub(crate) fn in_flight(mut self, flight: Flight) -> Self {
        self.flight = Some(flight);
        self
    }

    fn step(mut self, step: Step) -> Self {
        self.steps.push_back(step);
        self
    }

    fn end(&mut self) {
        lock(&self.notes).ended = true;
        self.flight = None;
    }
}

impl Body for MockBody {
    type Data = Bytes;
    type Error = MockBodyError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, MockBodyError>>> {
        if lock(&self.notes).ended {
            lock(&self.notes).polls_after_end += 1;
            return Poll::Ready(None);
        }
        let frame = loop {
            match self.steps.pop_front() {
                Some(Step::Data(data)) => break Frame::data(data),
                Some(Step::Trailers(trailers)) => break Frame::trailers(trailers),
                Some(Step::Pause) => {
                    cx.waker().wake_by_ref();
                    return Poll::Pending;
                }
                Some(Step::Hold(gate)) => {
                    if gate.poll_pass(cx).is_pending() {
                        self.steps.push_front(Step::Hold(gate));
                        return Poll::Pending;
                    }
                }
                Some(Step::Fail) => {
                    self.end();
                    return Poll::Ready(Some(Err(MockBodyError)));
                }
                None => {
                    self.end();
                    return Poll::Ready(None);
                }
            }
        };
        lock(&self.notes).frames += 1;
        Poll::Ready(Some(Ok(frame)))
    }

    fn is_end_stream(&self) -> bool {
        self.steps.is_empty()
    }

    fn size_hint(&self) -> SizeHint {
        let left = self.steps.iter().map(|step| match step {
            Step::Data(data) => data.len() as u64,
            _ => 0,
        });
        match self.sized {
            true => SizeHint::with_exact(left.sum()),
            false => SizeHint::default(),
        }
    }
}

impl Drop for MockBody {
    fn drop(&mut self) {
        let mut notes = lock(&self.notes);
        notes.dropped_early = !notes.ended && !self.steps.is_empty();
    }
}

/// Tells what was done to a [`MockBody`].
#[derive(Clone, Debug)]
pub struct BodyHandle {
    notes: Arc<Mutex<Notes>>,
}

impl BodyHandle {
    /// How many frames were read, trailers among them.
    pub fn frames(&self) -> usize {
        lock(&self.notes).frames
    }

    /// Whether it was read to its end or to its error.
    pub fn ended(&self) -> bool {
        lock(&self.notes).ended
    }

    /// Whether it was dropped with steps of its script unplayed.
    pub fn dropped_early(&self) -> bool {
        lock(&self.notes).dropped_early
    }

    /// How often it was polled after its end or its error.
    pub fn polls_after_end(&self) -> usize {
        lock(&self.notes).polls_after_end
    }
}

/// The error with which a [`MockBody`] breaks off.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MockBodyError;

impl fmt::Display for MockBodyError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the mock body fails here")
    }
}

impl Error for MockBodyError {}

#[derive(Debug)]
enum Step {
    Data(Bytes),
    Pause,
    Hold(Gate),
    Trailers(HeaderMap),
    Fail,
}

#[derive(Debug, Default)]
struct Notes {
    frames: usize,
    ended: bool,
    dropped_early: bool,
    polls_after_end: usize,
}
