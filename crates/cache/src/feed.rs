use std::fmt;
use std::sync::Arc;
use std::task::{Context, Poll, Waker, ready};

use bytes::Bytes;
use http::HeaderMap;
use http_body::{Frame, SizeHint};
use tower_edge_core::{BodyError, BoxError};

use crate::buffer::{Buffer, Most, NO_ROOM, TOO_LARGE};
use crate::room::Room;
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
    /// An empty body that is to have so many bytes, where that is known. Memory is
    /// taken for those that have come.
    pub(crate) fn new(expected: Option<u64>, room: &Arc<Room>) -> Arc<Self> {
        let state = State {
            buffer: Buffer::new(room),
            end: None,
            relay: false,
            waiters: Waiters::default(),
            lead: Lead::default(),
            pace: 0,
            driver: None,
        };
        Arc::new(Self { state: state.into(), expected })
    }

    /// Adds bytes; nobody is woken yet. Where they are more than is stored of one
    /// body, or than there is room for, it is a relay from now on, and this says
    /// why.
    pub(crate) fn push(&self, data: &[u8], most: Most) -> Result<(), &'static str> {
        let mut state = lock(&self.state);
        let mut kept = Ok(());
        if !state.relay {
            kept = match state.buffer.len() + data.len() as u64 {
                len if len > most.entry => Err(TOO_LARGE),
                len if !state.buffer.grow(len, self.expected, most) => Err(NO_ROOM),
                _ => Ok(()),
            };
            state.relay = kept.is_err();
        }
        if state.relay && state.lead == Lead::Driver && state.waiters.is_empty() {
            // Who drives it has it all.
            state.buffer.skip(data.len());
        } else {
            state.buffer.push(data);
            state.let_go();
        }
        kept
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
        lock(&self.state).buffer.whole()
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
        self.expected.is_some_and(|expected| lock(&self.state).buffer.len() >= expected)
    }

    /// Whether what has come is what was announced.
    pub(crate) fn is_as_announced(&self) -> bool {
        self.expected.is_none_or(|expected| lock(&self.state).buffer.len() == expected)
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
        if state.lead != Lead::Free && state.buffer.len() - state.pace < WINDOW {
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
    /// Reads from the first byte; none if that is gone.
    pub(crate) fn follow(feed: Arc<Feed>) -> Option<Self> {
        let place = {
            let mut state = lock(&feed.state);
            (state.buffer.starts_at(0)).then(|| state.waiters.enter())?
        };
        Some(Self { feed, place, position: 0, done: false })
    }

    /// Reads what comes from now on, as the lead.
    pub(crate) fn lead(feed: Arc<Feed>) -> Self {
        let (place, position) = {
            let mut state = lock(&feed.state);
            let place = state.waiters.enter();
            (state.lead, state.pace) = (Lead::Reader(place), state.buffer.len());
            (place, state.buffer.len())
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
        let Some(piece) = state.buffer.piece(self.position) else {
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

struct State {
    buffer: Buffer,
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
    /// Notes how far a reader has come; gives the driver, if it waited for that.
    fn paced(&mut self, place: usize, position: u64) -> Option<Waker> {
        if self.lead == Lead::Free {
            self.lead = Lead::Reader(place);
        }
        if self.lead != Lead::Reader(place) {
            return None;
        }
        self.pace = position;
        self.let_go();
        self.driver.take()
    }

    /// Lets go what is further behind the lead than the window is long; nobody else
    /// needs one.
    fn let_go(&mut self) {
        if self.relay {
            let lead = if self.lead == Lead::Driver { self.buffer.len() } else { self.pace };
            let window = if self.is_read_by_lead_only() { 0 } else { WINDOW };
            self.buffer.let_go(lead.saturating_sub(window));
        }
    }

    fn is_read_by_lead_only(&self) -> bool {
        match self.lead {
            Lead::Driver => self.waiters.is_empty(),
            Lead::Reader(_) => self.waiters.len() == 1,
            Lead::Free => false,
        }
    }
}

/// How much a relay holds before and behind its lead, in bytes.
const WINDOW: u64 = 128 << 10;

const FELL_BEHIND: &str = "too slow for a response that is too large to be stored";
const BROKE_OFF: &str = "the response that is shared with other clients broke off";

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const ENTRY: u64 = 1_000_000;

    fn most(room: u64) -> Most {
        Most { entry: ENTRY, room }
    }

    #[test]
    fn what_is_announced_takes_nothing_before_it_comes() {
        let room = Arc::<Room>::default();
        let feed = Feed::new(Some(ENTRY), &room);
        assert_eq!(feed.push(b"a", most(ENTRY)), Ok(()));
        assert_eq!(room.taken(), 1);
        for _ in 1..ENTRY / 1_000 {
            feed.push(&[b'a'; 1_000], most(ENTRY)).unwrap();
        }
        feed.push(&[b'a'; 999], most(ENTRY)).unwrap();
        assert!(feed.is_as_announced());
        assert_eq!((room.taken(), lock(&feed.state).buffer.capacity()), (ENTRY, ENTRY));
        assert_eq!((feed.whole().len() as u64, room.taken()), (ENTRY, 0));
    }

    #[test]
    fn a_body_that_does_not_fit_is_not_kept_for_who_has_it_all() {
        let room = Arc::<Room>::default();
        let (feed, other) = (Feed::new(None, &room), Feed::new(None, &room));
        feed.push(&[b'a'; 60], most(100)).unwrap();
        assert_eq!(other.push(&[b'a'; 60], most(100)), Err(NO_ROOM));
        assert_eq!((other.push(b"more", most(100)), other.is_relay()), (Ok(()), true));
        assert_eq!(room.taken(), 60);
        assert!(Reader::follow(other).is_none() && Reader::follow(feed.clone()).is_some());
        assert_eq!(feed.push(&[b'a'; ENTRY as usize], most(u64::MAX)), Err(TOO_LARGE));
        assert_eq!(room.taken(), 0);
    }

    #[derive(Clone, Debug)]
    enum Step {
        Push(usize, usize),
        Follow(usize),
        Read(usize),
        Leave(usize),
        Whole(usize),
        Drop(usize),
    }

    fn steps() -> impl Strategy<Value = Vec<Step>> {
        let any = 0..BODIES;
        let step = prop_oneof![
            6 => (any.clone(), 0..400_000_usize).prop_map(|(at, len)| Step::Push(at, len)),
            2 => any.clone().prop_map(Step::Follow),
            3 => any.clone().prop_map(Step::Read),
            1 => any.clone().prop_map(Step::Leave),
            1 => any.clone().prop_map(Step::Whole),
            1 => any.prop_map(Step::Drop),
        ];
        prop::collection::vec(step, 1..80)
    }

    /// A body on its way, who reads it, and whether all of it is there.
    struct Body {
        feed: Arc<Feed>,
        readers: Vec<Reader>,
        whole: bool,
    }

    const BODIES: usize = 4;
    const ROOM: u64 = 1_500_000;

    proptest! {
        #[test]
        fn the_room_that_is_taken_is_that_of_the_buffers(
            steps in steps(),
            expected in prop::option::of(0..2 * ENTRY),
        ) {
            let room = Arc::<Room>::default();
            let new = || {
                let feed = Feed::new(expected, &room);
                Body { feed, readers: Vec::new(), whole: false }
            };
            let mut bodies = [(); BODIES].map(|()| new());
            let cx = Context::from_waker(Waker::noop());
            for step in steps {
                match step {
                    Step::Push(at, len) if !bodies[at].whole => {
                        let before = room.taken();
                        let kept = bodies[at].feed.push(&vec![b'a'; len], most(ROOM));
                        let relay = bodies[at].feed.is_relay();
                        prop_assert!(kept.is_ok() || relay);
                        prop_assert!(relay || room.taken() <= ROOM.max(before));
                    }
                    Step::Push(..) => {}
                    Step::Follow(at) => {
                        let reader = Reader::follow(bodies[at].feed.clone());
                        prop_assert!(reader.is_some() || bodies[at].feed.is_relay());
                        bodies[at].readers.extend(reader);
                    }
                    Step::Read(at) => {
                        for reader in &mut bodies[at].readers {
                            let _ = reader.poll_frame(&cx);
                        }
                    }
                    Step::Leave(at) => drop(bodies[at].readers.pop()),
                    Step::Whole(at) if !bodies[at].feed.is_relay() => {
                        bodies[at].whole = true;
                        bodies[at].feed.whole();
                    }
                    Step::Whole(_) => {}
                    Step::Drop(at) => bodies[at] = new(),
                }
                let held = |body: &Body| lock(&body.feed.state).buffer.capacity();
                prop_assert_eq!(room.taken(), bodies.iter().map(held).sum::<u64>());
            }
            drop(bodies);
            prop_assert_eq!(room.taken(), 0);
        }
    }
}
