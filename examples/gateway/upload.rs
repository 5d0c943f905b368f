use std::fmt;
use std::future::Future;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use hyper::body::{Body, Frame, SizeHint};
use pin_project::pin_project;
use tokio::sync::{Notify, oneshot};

/// The body of a request on its way to the origin.
///
/// Unlike a tap it knows whether somebody waits for the client.
#[pin_project]
pub(crate) struct Upload<B> {
    #[pin]
    body: B,
    state: Arc<State>,
    /// What has to end before the first byte is asked of the client.
    gate: Option<Pin<Box<dyn Future<Output = ()> + Send + Sync>>>,
}

impl<B> Upload<B> {
    /// The body, and what becomes of it.
    pub(crate) fn new(body: B) -> (Self, Progress) {
        let state = Arc::<State>::default();
        (Self { body, state: state.clone(), gate: None }, Progress { state })
    }

    /// Holds it back until the origin asks for it (RFC 9110 §10.1.1): hyper
    /// sends its `100 Continue` when the body is read first.
    ///
    /// An origin that knows nothing of expectations says nothing, so this ends
    /// after a second as well.
    pub(crate) fn until(mut self, asked_for: oneshot::Receiver<()>) -> Self {
        let gate = tokio::time::timeout(CONTINUE, asked_for);
        self.gate = Some(Box::pin(async { drop(gate.await) }));
        self
    }
}

impl<B: Body<Data = Bytes>> Body for Upload<B> {
    type Data = Bytes;
    type Error = B::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, B::Error>>> {
        let this = self.project();
        if let Some(gate) = this.gate {
            ready!(gate.as_mut().poll(cx));
            *this.gate = None;
        }
        let frame = this.body.poll_frame(cx);
        this.state.set(match &frame {
            Poll::Pending => Stage::ClientsTurn,
            Poll::Ready(Some(Err(_))) => Stage::Broken,
            Poll::Ready(_) => Stage::OriginsTurn,
        });
        frame
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

/// What becomes of an [`Upload`].
#[derive(Clone, Debug)]
pub(crate) struct Progress {
    state: Arc<State>,
}

/// Who said nothing for too long.
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

    /// What `answer` gives, unless nothing moves for `timeout`: neither is the
    /// answer there, nor does the body go on.
    pub(crate) async fn unless_silent<F>(
        &self,
        timeout: Duration,
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
                () = self.state.moved.notified() => {}
                () = tokio::time::sleep(timeout) => return Err(match self.state.stage() {
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
}

impl State {
    fn stage(&self) -> Stage {
        match self.stage.load(Ordering::Relaxed) {
            1 => Stage::ClientsTurn,
            2 => Stage::Broken,
            _ => Stage::OriginsTurn,
        }
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
        assert_eq!(progress.unless_silent(SECOND, sleep(SECOND * 9 / 10)).await, Ok(()));
        assert_eq!(progress.unless_silent(SECOND, sleep(SECOND * 2)).await, Err(Silent::Origin));
    }

    #[tokio::test(start_paused = true)]
    async fn a_body_that_moves_is_not_silent() {
        let (body, progress) = Upload::new(dripping(SECOND / 2));
        let answer = async {
            body.collect().await.unwrap();
            sleep(SECOND / 2).await;
        };
        assert_eq!(progress.unless_silent(SECOND, answer).await, Ok(()));
    }

    #[tokio::test(start_paused = true)]
    async fn who_owes_the_next_move_is_to_blame() {
        let (body, progress) = Upload::new(dripping(SECOND * 2));
        let reads = async { drop(body.collect().await) };
        assert_eq!(progress.unless_silent(SECOND, reads).await, Err(Silent::Client));

        let (body, progress) = Upload::new(dripping(SECOND / 2));
        let reads_once = async {
            pin!(body).frame().await;
            std::future::pending::<()>().await;
        };
        assert_eq!(progress.unless_silent(SECOND, reads_once).await, Err(Silent::Origin));
    }

    #[tokio::test(start_paused = true)]
    async fn a_body_is_held_back_until_it_is_asked_for() {
        let clock = tower_edge::core::Clock::anchored(std::time::UNIX_EPOCH);
        for (asked_after, seconds) in [(0.5, 0.5), (9.0, 1.0)] {
            let (ask, asked) = oneshot::channel();
            let (body, progress) = Upload::new(Full::<Bytes>::from("all"));
            let begun = clock.now();
            let reads = body.until(asked).collect();
            let asks = async {
                sleep(SECOND.mul_f64(asked_after)).await;
                let _ = ask.send(());
            };
            let (read, ()) = tokio::join!(
                async {
                    let read = progress.unless_silent(SECOND * 2, reads).await;
                    (read.unwrap().unwrap().to_bytes(), clock.since(begun).as_secs_f64())
                },
                asks
            );
            assert_eq!(read.0, "all");
            assert!((read.1 - seconds).abs() < 0.01, "{}", read.1);
        }
    }
}
