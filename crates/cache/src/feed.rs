use std::fmt;
use std::mem::take;
use std::sync::Arc;
use std::task::{Context, Poll, Waker, ready};

use bytes::Bytes;
use http::HeaderMap;
use http_body::{Frame, SizeHint};
use tower_edge_core::{BodyError, BoxError};

use crate::sync::{Mutex, lock};
use crate::waiters::Waiters;

/// A body on its way into the store, which any number of readers follow, each
/// at its own pace.
///
/// It holds one copy of what came, so a slow reader costs nothing that the store
/// will not hold anyway. A body that outgrows the store becomes a relay
/// ([`relay`](Self::relay)): a window that moves with one reader, the lead. Who
/// is further behind falls out.
pub(crate) struct Feed {
    state: Mutex<State>,
    /// The length that was announced.
    expected: Option<u64>,
}

impl Feed {
    /// An empty body that is to have so many bytes, where that is known.
    pub(crate) fn new(expected: Option<u64>) -> Arc<Self> {
        let bytes = Vec::with_capacity(usize::try_from(expected.unwrap_or(0)).unwrap_or(0));
        Arc::new(Self { state: Mutex::new(State { bytes, ..State::default() }), expected })
    }

    /// Adds bytes; nobody is woken yet. Gives the length so far.
    pub(crate) fn push(&self, data: &[u8]) -> u64 {
        let mut state = lock(&self.state);
        state.bytes.extend_from_slice(data);
        state.let_go();
        state.len()
    }

    /// Keeps no more than a window from now on.
    pub(crate) fn relay(&self) {
        lock(&self.state).relay = true;
    }

    pub(crate) fn is_relay(&self) -> bool {
        lock(&self.state).relay
    }

    /// Wakes who waits for more.
    pub(crate) fn wake(&self) {
        let woken = lock(&self.state).waiters.woken();
        woken.into_iter().for_each(Waker::wake);
    }

    /// Makes one buffer of what came, for readers as well; the end is still to
    /// be told.
    pub(crate) fn whole(&self) -> Bytes {
        let mut state = lock(&self.state);
        let whole = Bytes::from(take(&mut state.bytes).into_boxed_slice());
        state.whole = Some(whole.clone());
        whole
    }

    /// Tells the end; the first word of it counts.
    pub(crate) fn end(&self, end: Result<Option<HeaderMap>, BoxError>) {
        {
            let mut state = lock(&self.state);
            if state.end.is_none() {
                state.end = Some(end.map_err(Some));
            }
        }
        self.wake();
    }

    /// Says that the client that drove the body has left it to a task.
    pub(crate) fn leave(&self) {
        lock(&self.state).lead = Lead::Free;
    }

    /// Whether all that was announced has come.
    pub(crate) fn is_full(&self) -> bool {
        self.expected.is_some_and(|expected| lock(&self.state).len() >= expected)
    }

    /// Whether what has come is what was announced.
    pub(crate) fn is_as_announced(&self) -> bool {
        self.expected.is_none_or(|expected| lock(&self.state).len() == expected)
    }

    /// Whether anybody reads.
    pub(crate) fn is_read(&self) -> bool {
        !lock(&self.state).waiters.is_empty()
    }

    /// Whether to go on: a body that is stored always does; a relay waits for
    /// its lead, and ends without readers.
    pub(crate) fn poll_room(&self, cx: &Context<'_>) -> Poll<bool> {
        let mut state = lock(&self.state);
        if !state.relay {
            return Poll::Ready(true);
        }
        if state.waiters.is_empty() {
            return Poll::Ready(false);
        }
        if state.lead != Lead::Free && state.len() - state.pace < WINDOW {
            return Poll::Ready(true);
        }
        state.driver = Some(cx.waker().clone());
        Poll::Pending
    }
}

impl fmt::Debug for Feed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Feed").field("expected", &self.expected).finish_non_exhaustive()
    }
}

/// One who reads a [`Feed`]; dropping it gives its place back.
#[derive(Debug)]
pub(crate) struct Reader {
    feed: Arc<Feed>,
    place: usize,
    position: u64,
    done: bool,
}

impl Reader {
    /// Reads from the first byte.
    pub(crate) fn follow(feed: Arc<Feed>) -> Self {
        let place = lock(&feed.state).waiters.enter();
        Self { feed, place, position: 0, done: false }
    }

    /// Reads what comes from now on, as the lead.
    pub(crate) fn lead(feed: Arc<Feed>) -> Self {
        let (place, position) = {
            let mut state = lock(&feed.state);
            let place = state.waiters.enter();
            (state.lead, state.pace) = (Lead::Reader(place), state.len());
            (place, state.len())
        };
        Self { feed, place, position, done: false }
    }

    pub(crate) fn poll_frame(&mut self, cx: &Context<'_>) -> Poll<Option<Read>> {
        if self.done {
            return Poll::Ready(None);
        }
        let (read, driver) = self.read(cx);
        if let Some(driver) = driver {
            driver.wake();
        }
        let read = ready!(read);
        self.done = !matches!(&read, Some(Ok(frame)) if frame.is_data());
        Poll::Ready(read)
    }

    pub(crate) fn is_end_stream(&self) -> bool {
        self.done
    }

    pub(crate) fn size_hint(&self) -> SizeHint {
        match self.feed.expected {
            _ if self.done => SizeHint::with_exact(0),
            Some(expected) => SizeHint::with_exact(expected.saturating_sub(self.position)),
            None => SizeHint::new(),
        }
    }

    /// The next piece, and the driver, if it waited for that.
    fn read(&mut self, cx: &Context<'_>) -> (Poll<Option<Read>>, Option<Waker>) {
        let mut state = lock(&self.feed.state);
        let Some(piece) = state.piece(self.position) else {
            return (Poll::Ready(Some(Err(BodyError::new(FELL_BEHIND)))), None);
        };
        self.position += piece.len() as u64;
        let driver = state.paced(self.place, self.position);
        if !piece.is_empty() {
            return (Poll::Ready(Some(Ok(Frame::data(piece)))), driver);
        }
        let end = match &mut state.end {
            None => {
                state.waiters.wait(self.place, cx);
                return (Poll::Pending, driver);
            }
            Some(Ok(trailers)) => trailers.clone().map(|trailers| Ok(Frame::trailers(trailers))),
            Some(Err(cause)) => {
                let cause = cause.take().unwrap_or_else(|| BoxError::from(BROKE_OFF));
                Some(Err(BodyError::new(cause)))
            }
        };
        (Poll::Ready(end), driver)
    }
}

impl Drop for Reader {
    fn drop(&mut self) {
        let mut state = lock(&self.feed.state);
        state.waiters.leave(self.place);
        let mut woken = Vec::new();
        if state.lead == Lead::Reader(self.place) {
            state.lead = Lead::Free;
            woken = state.waiters.woken();
        }
        if state.waiters.is_empty() {
            woken.extend(state.driver.take());
        }
        drop(state);
        woken.into_iter().for_each(Waker::wake);
    }
}

type Read = Result<Frame<Bytes>, BodyError>;

#[derive(Default)]
struct State {
    bytes: Vec<u8>,
    /// How many bytes came before those.
    gone: u64,
    /// All of them, once they are.
    whole: Option<Bytes>,
    /// The cause of a failure goes to one of the readers.
    end: Option<Result<Option<HeaderMap>, Option<BoxError>>>,
    relay: bool,
    waiters: Waiters,
    lead: Lead,
    /// How far the lead has read.
    pace: u64,
    driver: Option<Waker>,
}

/// Who sets the pace of a relay.
#[derive(Clone, Copy, Default, PartialEq)]
enum Lead {
    /// The client that drives the body itself.
    #[default]
    Driver,
    /// The reader at this place.
    Reader(usize),
    /// The reader that comes first.
    Free,
}

impl State {
    fn len(&self) -> u64 {
        self.gone + self.bytes.len() as u64
    }

    /// Notes how far a reader has come; gives the driver, if it waited for that.
    fn paced(&mut self, place: usize, position: u64) -> Option<Waker> {
        if self.lead == Lead::Free {
            self.lead = Lead::Reader(place);
        }
        if self.lead != Lead::Reader(place) {
            return None;
        }
        self.pace = position;
        self.driver.take()
    }

    /// What there is from `position` on, up to a piece; `None` if it is gone.
    fn piece(&self, position: u64) -> Option<Bytes> {
        let from = usize::try_from(position.checked_sub(self.gone)?).ok()?;
        if let Some(whole) = &self.whole {
            return (from <= whole.len()).then(|| whole.slice(from..));
        }
        let unread = self.bytes.get(from..)?;
        Some(Bytes::copy_from_slice(&unread[..unread.len().min(PIECE)]))
    }

    /// Lets go what is further behind the lead than the window is long.
    fn let_go(&mut self) {
        if !self.relay {
            return;
        }
        let lead = if self.lead == Lead::Driver { self.len() } else { self.pace };
        let behind = lead.saturating_sub(WINDOW).saturating_sub(self.gone);
        // Not for every frame: what stays is moved.
        if behind >= WINDOW {
            self.bytes.drain(..usize::try_from(behind).unwrap_or(usize::MAX));
            self.bytes.shrink_to(4 * WINDOW as usize);
            self.gone += behind;
        }
    }
}

/// How much a relay holds before and behind its lead, in bytes.
const WINDOW: u64 = 128 << 10;

/// The most that a reader takes at once while the body grows.
const PIECE: usize = 64 << 10;

const FELL_BEHIND: &str = "too slow for a response that is too large to be stored";
const BROKE_OFF: &str = "the response that is shared with other clients broke off";
