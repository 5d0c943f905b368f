use std::fmt;
use std::future::Future;
use std::pin::{Pin, pin};
use std::sync::atomic::{AtomicU8, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant, UNIX_EPOCH};

use bytes::Bytes;
use hyper::body::{Body, Frame, SizeHint};
use pin_project::pin_project;
use tokio::sync::{Notify, oneshot};
use tower_edge::core::{BodyError, BoxError, Clock, End, Tap};

/// The body of a request on its way to the origin.
///
/// Unlike a tap it knows whether somebody waits for the client.
#[pin_project]
pub(crate) struct Upload<B> {
    #[pin]
    body: B,
    state: Arc<State>,
    clock: Clock,
    /// Since when the client is waited for.
    asked: Option<Instant>,
    /// Ends when the first byte may be asked of the client, and says whether.
    gate: Option<Pin<Box<dyn Future<Output = bool> + Send + Sync>>>,
}

impl<B> Upload<B> {
    /// The body, and what becomes of it.
    pub(crate) fn new(body: B) -> (Self, Progress) {
        let (state, clock) = (Arc::<State>::default(), Clock::anchored(UNIX_EPOCH));
        let upload = Self { body, state: state.clone(), clock, asked: None, gate: None };
        (upload, Progress { state })
    }

    /// Holds it back until the origin asks for it (RFC 9110 §10.1.1): hyper
    /// sends its `100 Continue` when the body is read first.
    ///
    /// An origin that knows nothing of expectations says nothing, so this ends
    /// after a second as well.
    pub(crate) fn held(mut self) -> (Self, Hold) {
        let (ask, asked) = oneshot::channel();
        let gate = tokio::time::timeout(CONTINUE, asked);
        self.gate = Some(Box::pin(async { !matches!(gate.await, Ok(Err(_))) }));
        (self, Hold(Some(Arc::new(Mutex::new(Some(ask))))))
    }
}

impl<B> Body for Upload<B>
where
    B: Body<Data = Bytes, Error: Into<BoxError>>,
{
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let this = self.project();
        if let Some(gate) = this.gate {
            let wanted = ready!(gate.as_mut().poll(cx));
            *this.gate = None;
            if !wanted {
                let unwanted = BodyError::new("the origin did not ask for it");
                return Poll::Ready(Some(Err(unwanted)));
            }
        }
        let frame = this.body.poll_frame(cx);
        match &frame {
            Poll::Pending => drop(this.asked.get_or_insert_with(|| this.clock.now())),
            Poll::Ready(frame) => {
                let waited = this.asked.take().map_or(Duration::ZERO, |at| this.clock.since(at));
                let data = frame.as_ref().and_then(|frame| frame.as_ref().ok()?.data_ref());
                this.state.came(data.map_or(0, Bytes::len), waited);
            }
        }
        this.state.set(match &frame {
            Poll::Pending => Stage::ClientsTurn,
            Poll::Ready(Some(Err(_))) => Stage::Broken,
            Poll::Ready(_) => Stage::OriginsTurn,
        });
        frame.map_err(BodyError::new)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

impl<B: fmt::Debug> fmt::Debug for Upload<B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Upload").field("body", &self.body).finish_non_exhaustive()
    }
}

/// Keeps a body held back while the answer is under way: when the last of them
/// goes, nobody has asked for the body, and it breaks off.
#[derive(Clone, Debug, Default)]
pub(crate) struct Hold(Option<Arc<Mutex<Option<oneshot::Sender<()>>>>>);

impl Hold {
    /// Lets the body go.
    pub(crate) fn ask(&self) {
        let ask = self.0.as_ref().and_then(|ask| ask.lock().ok()?.take());
        let _ = ask.map(|ask| ask.send(()));
    }
}

impl Tap<Bytes> for Hold {
    fn data(&mut self, _: &Bytes) {}

    fn end(&mut self, _: End<'_>) {}
}

/// What becomes of an [`Upload`].
#[derive(Clone, Debug)]
pub(crate) struct Progress {
    state: Arc<State>,
}

/// How long is waited for others in the middle of an exchange.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Patience {
    /// While nothing moves.
    pub(crate) silence: Duration,
    /// How many bytes of a body a second its client has to send besides, on average
    /// of the time that it is waited for; any number, if 0.
    pub(crate) rate: u64,
}

/// Who said nothing for too long, or too little.
#[derive(Debug, PartialEq)]
pub(crate) enum Silent {
    /// There is more of the body to come.
    Client,
    /// It has what there is, or does not read it.
    Origin,
}

impl Progress {
    /// Whether the client broke it off.
    pub(crate) fn is_broken(&self) -> bool {
        self.state.stage() == Stage::Broken
    }

    /// What `answer` gives, unless nothing moves for too long: neither is the answer
    /// there, nor does the body go on. Nor may it go on in drops.
    pub(crate) async fn unless_slow<F>(
        &self,
        patience: Patience,
        answer: F,
    ) -> Result<F::Output, Silent>
    where
        F: Future,
    {
        let mut answer = pin!(answer);
        loop {
            tokio::select! {
                biased;
                answer = &mut answer => return Ok(answer),
                () = self.state.moved.notified() => if self.state.drips(patience) {
                    return Err(Silent::Client);
                },
                () = tokio::time::sleep(patience.silence) => return Err(match self.state.stage() {
                    Stage::ClientsTurn => Silent::Client,
                    Stage::OriginsTurn | Stage::Broken => Silent::Origin,
                }),
            }
        }
    }
}

#[derive(Debug, Default)]
struct State {
    moved: Notify,
    stage: AtomicU8,
    /// How many bytes came.
    bytes: AtomicU64,
    /// How long they were waited for, in milliseconds.
    waited: AtomicU64,
}

impl State {
    fn stage(&self) -> Stage {
        match self.stage.load(Ordering::Relaxed) {
            1 => Stage::ClientsTurn,
            2 => Stage::Broken,
            _ => Stage::OriginsTurn,
        }
    }

    /// Notes that so many bytes came that were waited for so long.
    fn came(&self, bytes: usize, waited: Duration) {
        self.bytes.fetch_add(bytes as u64, Ordering::Relaxed);
        self.waited.fetch_add(waited.as_millis() as u64, Ordering::Relaxed);
    }

    fn drips(&self, patience: Patience) -> bool {
        let bytes = self.bytes.load(Ordering::Relaxed);
        let waited = Duration::from_millis(self.waited.load(Ordering::Relaxed));
        let allowed = bytes.saturating_mul(1_000).checked_div(patience.rate);
        allowed.is_some_and(|allowed| waited > patience.silence + Duration::from_millis(allowed))
    }

    fn set(&self, stage: Stage) {
        self.stage.store(stage as u8, Ordering::Relaxed);
        if stage != Stage::ClientsTurn {
            self.moved.notify_one();
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Stage {
    OriginsTurn = 0,
    ClientsTurn = 1,
    Broken = 2,
}

const CONTINUE: Duration = Duration::from_secs(1);

#[cfg(test)]
mod tests {
    use std::convert::Infallible;

    use futures_util::stream;
    use http_body_util::{BodyExt, Full, StreamBody};
    use tokio::time::sleep;

    use super::*;

    const SECOND: Duration = Duration::from_secs(1);
    const PATIENCE: Patience = Patience { silence: SECOND, rate: 0 };

    /// A body of ten bytes, each of which takes `pause`.
    fn dripping(pause: Duration) -> impl Body<Data = Bytes, Error = Infallible> {
        StreamBody::new(stream::unfold(10, move |left: u32| async move {
            sleep(pause).await;
            Some((Ok(Frame::data(Bytes::from_static(b"."))), left.checked_sub(1)?))
        }))
    }

    #[tokio::test(start_paused = true)]
    async fn silence_has_an_end() {
        let (_body, progress) = Upload::new(Full::<Bytes>::default());
        assert_eq!(progress.unless_slow(PATIENCE, sleep(SECOND * 9 / 10)).await, Ok(()));
        assert_eq!(progress.unless_slow(PATIENCE, sleep(SECOND * 2)).await, Err(Silent::Origin));
    }

    #[tokio::test(start_paused = true)]
    async fn a_body_that_moves_is_not_silent() {
        let (body, progress) = Upload::new(dripping(SECOND / 2));
        let answer = async {
            body.collect().await.unwrap();
            sleep(SECOND / 2).await;
        };
        assert_eq!(progress.unless_slow(PATIENCE, answer).await, Ok(()));
    }

    #[tokio::test(start_paused = true)]
    async fn who_owes_the_next_move_is_to_blame() {
        let (body, progress) = Upload::new(dripping(SECOND * 2));
        let reads = async { drop(body.collect().await) };
        assert_eq!(progress.unless_slow(PATIENCE, reads).await, Err(Silent::Client));

        let (body, progress) = Upload::new(dripping(SECOND / 2));
        let reads_once = async {
            pin!(body).frame().await;
            std::future::pending::<()>().await;
        };
        assert_eq!(progress.unless_slow(PATIENCE, reads_once).await, Err(Silent::Origin));
    }

    #[tokio::test(start_paused = true)]
    async fn a_body_that_comes_in_drops_has_an_end() {
        for (rate, end) in [(0, Ok(())), (1, Err(Silent::Client)), (4, Err(Silent::Client))] {
            let (body, progress) = Upload::new(dripping(SECOND * 3 / 2));
            let patience = Patience { silence: SECOND * 2, rate };
            let reads = async { drop(body.collect().await) };
            assert_eq!(progress.unless_slow(patience, reads).await, end, "{rate}");
        }
        // The time that the origin takes is not the client's.
        let (body, progress) = Upload::new(dripping(SECOND / 2));
        let patience = Patience { silence: SECOND * 2, rate: 2 };
        let reads_slowly = async {
            let mut body = pin!(body);
            while body.frame().await.is_some() {
                sleep(SECOND * 3 / 2).await;
            }
        };
        assert_eq!(progress.unless_slow(patience, reads_slowly).await, Ok(()));
    }

    #[tokio::test(start_paused = true)]
    async fn a_body_is_held_back_until_it_is_asked_for() {
        let clock = Clock::anchored(std::time::UNIX_EPOCH);
        for (asked_after, seconds) in [(0.5, 0.5), (9.0, 1.0)] {
            let (body, hold) = Upload::new(Full::<Bytes>::from("all")).0.held();
            let begun = clock.now();
            let reads = async { (body.collect().await.unwrap(), clock.since(begun)) };
            let asks = async {
                sleep(SECOND.mul_f64(asked_after)).await;
                hold.ask();
            };
            let ((read, waited), ()) = tokio::join!(reads, asks);
            assert_eq!(read.to_bytes(), "all");
            assert!((waited.as_secs_f64() - seconds).abs() < 0.01, "{waited:?}");
        }
    }

    #[tokio::test]
    async fn a_body_that_nobody_will_ask_for_breaks_off() {
        let (body, hold) = Upload::new(Full::<Bytes>::from("all")).0.held();
        drop(hold);
        assert!(body.collect().await.is_err());
    }
}
