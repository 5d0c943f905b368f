use std::future::poll_fn;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use tokio::runtime::Handle;
use tower_edge_core::{BodyError, BoxError, Clock, TapBody};

use crate::draft::Draft;
use crate::feed::{Feed, Reader};
use crate::fill::Fill;
use crate::shared::Shared;

/// The body of the response that is being stored, for the client that asked for
/// it first.
///
/// While the body is ready the client itself drives it; when it has to wait, a
/// task takes over, and the client becomes a reader like those that share the
/// response. So it is with a client that leaves. Outside a runtime there are no
/// tasks: the client drives the body to its end, and what it leaves breaks off.
#[derive(Debug)]
pub(crate) struct Filling<B: Body<Data = Bytes>> {
    stage: Stage<B>,
    /// Knows that a body may be sent to a task, so that types that hold one need
    /// not.
    start: fn(Pump<B>),
}

/// Drives a body into the store.
#[derive(Debug)]
pub(crate) struct Pump<B: Body<Data = Bytes>> {
    body: Pin<Box<TapBody<B, Fill>>>,
    feed: Arc<Feed>,
    clock: Clock,
}

impl<B> Filling<B>
where
    B: Body<Data = Bytes, Error: Into<BoxError>> + Send + 'static,
{
    pub(crate) fn new(pump: Pump<B>) -> Self {
        let start = |pump: Pump<B>| {
            if let Ok(runtime) = Handle::try_current() {
                runtime.spawn(pump.run());
            }
        };
        Self { stage: Stage::Driving(pump), start }
    }
}

impl<B> Filling<B>
where
    B: Body<Data = Bytes, Error: Into<BoxError>>,
{
    pub(crate) fn poll_frame(&mut self, cx: &mut Context<'_>) -> Poll<Option<Frames>> {
        if let Stage::Driving(pump) = &mut self.stage {
            let frame = pump.poll_frame(cx);
            if frame.is_ready() || Handle::try_current().is_err() {
                return frame;
            }
            let reading = Stage::Reading(Reader::lead(pump.feed.clone()));
            if let Stage::Driving(pump) = std::mem::replace(&mut self.stage, reading) {
                (self.start)(pump);
            }
        }
        match &mut self.stage {
            Stage::Reading(reader) => reader.poll_frame(cx),
            _ => Poll::Ready(None),
        }
    }

    pub(crate) fn is_end_stream(&self) -> bool {
        match &self.stage {
            Stage::Driving(pump) => pump.body.is_end_stream(),
            Stage::Reading(reader) => reader.is_end_stream(),
            Stage::Left => true,
        }
    }

    pub(crate) fn size_hint(&self) -> SizeHint {
        match &self.stage {
            Stage::Driving(pump) => pump.body.size_hint(),
            Stage::Reading(reader) => reader.size_hint(),
            Stage::Left => SizeHint::with_exact(0),
        }
    }
}

impl<B: Body<Data = Bytes>> Drop for Filling<B> {
    fn drop(&mut self) {
        if let Stage::Driving(pump) = std::mem::replace(&mut self.stage, Stage::Left)
            && !pump.feed.is_full()
            && !pump.body.is_end_stream()
        {
            pump.feed.leave();
            (self.start)(pump);
        }
    }
}

impl<B: Body<Data = Bytes>> Pump<B> {
    pub(crate) fn new(body: B, shared: &Arc<Shared>, draft: Draft) -> Self {
        let (feed, expected) = (draft.arrival.feed.clone(), draft.expected);
        let fill = Fill::new(shared.clone(), draft);
        Self { body: Box::pin(TapBody::new(body, fill, expected)), feed, clock: shared.clock }
    }
}

impl<B> Pump<B>
where
    B: Body<Data = Bytes, Error: Into<BoxError>>,
{
    fn poll_frame(&mut self, cx: &mut Context<'_>) -> Poll<Option<Frames>> {
        let frame = ready!(self.body.as_mut().poll_frame(cx));
        if !self.body.is_end_stream() {
            self.feed.wake();
        }
        Poll::Ready(frame.map(|frame| frame.map_err(BodyError::new)))
    }

    /// Drives the body to its end, however many read it. When nobody does any
    /// more, it goes on for a while, and no further than what can be stored.
    pub(crate) async fn run(mut self) {
        let mut deserted = None;
        while poll_fn(|cx| self.feed.poll_room(cx)).await {
            match poll_fn(|cx| self.poll_frame(cx)).await {
                Some(Ok(_)) if self.feed.is_read() => deserted = None,
                Some(Ok(_)) => {
                    let now = self.clock.now();
                    let since = *deserted.get_or_insert(now);
                    if now.saturating_duration_since(since) > PATIENCE {
                        return;
                    }
                }
                Some(Err(error)) => return self.feed.end(Err(error.into())),
                None => return,
            }
        }
    }
}

/// The last word, where the end of the body has said none.
impl<B: Body<Data = Bytes>> Drop for Pump<B> {
    fn drop(&mut self) {
        if !self.feed.is_full() && !self.body.is_end_stream() {
            self.feed.end(Err(BoxError::from("the response broke off while it was stored")));
        }
    }
}

type Frames = Result<Frame<Bytes>, BodyError>;

#[derive(Debug)]
enum Stage<B: Body<Data = Bytes>> {
    Driving(Pump<B>),
    Reading(Reader),
    Left,
}

/// How long a body that nobody reads may take to become whole.
const PATIENCE: Duration = Duration::from_secs(30);
