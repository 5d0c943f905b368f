//! Who asks for an answer has to take it: a task must not wait for ever for a
//! client that does not read.

use std::cell::Cell;
use std::future::{Future, poll_fn};
use std::pin::{Pin, pin};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use hyper::body::{Body, Frame, SizeHint};
use hyper::rt::Executor;
use pin_project::{pin_project, pinned_drop};
use tokio::time::Sleep;

/// A body that is handed out in small pieces, so that it shows whether they are
/// taken; see [`unless_untaken`].
#[pin_project(PinnedDrop)]
#[derive(Debug)]
pub(crate) struct Paced<B> {
    #[pin]
    body: B,
    rest: Bytes,
}

impl<B> Paced<B> {
    /// Hands out `body`.
    pub(crate) fn new(body: B) -> Self {
        Self { body, rest: Bytes::new() }
    }
}

impl<B: Body<Data = Bytes>> Body for Paced<B> {
    type Data = Bytes;
    type Error = B::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, B::Error>>> {
        let this = self.project();
        note(Offer::None);
        if this.rest.is_empty() {
            match ready!(this.body.poll_frame(cx)).transpose()?.map(Frame::into_data) {
                Some(Ok(data)) => *this.rest = data,
                Some(Err(other)) => return Poll::Ready(Some(Ok(other))),
                None => return Poll::Ready(None),
            }
        }
        note(Offer::Piece);
        let piece = this.rest.split_to(this.rest.len().min(PIECE));
        Poll::Ready(Some(Ok(Frame::data(piece))))
    }

    fn is_end_stream(&self) -> bool {
        self.rest.is_empty() && self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        let (mut size, rest) = (self.body.size_hint(), self.rest.len() as u64);
        if let Some(upper) = size.upper() {
            size.set_upper(upper.saturating_add(rest));
        }
        size.set_lower(size.lower().saturating_add(rest));
        size
    }
}

#[pinned_drop]
impl<B> PinnedDrop for Paced<B> {
    fn drop(self: Pin<&mut Self>) {
        note(Offer::None);
    }
}

/// What `work` gives; none when a piece of a [`Paced`] body that it handed out
/// was the last one for `patience`, though there are more.
///
/// While the body itself has nothing to give, nobody is to blame. Dropping the
/// future drops `work`.
pub(crate) async fn unless_untaken<F: Future>(patience: Duration, work: F) -> Option<F::Output> {
    let work = async {
        let (mut work, mut timer) = (pin!(work), pin!(None::<Sleep>));
        poll_fn(|cx| {
            if let Poll::Ready(output) = work.as_mut().poll(cx) {
                return Poll::Ready(Some(output));
            }
            match OFFER.with(|offer| offer.replace(Offer::Same)) {
                Offer::Piece => timer.set(Some(tokio::time::sleep(patience))),
                Offer::None => timer.set(None),
                Offer::Same => {}
            }
            match timer.as_mut().as_pin_mut() {
                Some(timer) => timer.poll(cx).map(|()| None),
                None => Poll::Pending,
            }
        })
        .await
    };
    OFFER.scope(Cell::new(Offer::Same), work).await
}

/// Spawns the streams of HTTP/2, each of which ends like [`unless_untaken`].
#[derive(Clone, Copy, Debug)]
pub(crate) struct PacedExecutor(pub(crate) Duration);

impl<F> Executor<F> for PacedExecutor
where
    F: Future<Output: Send> + Send + 'static,
{
    fn execute(&self, stream: F) {
        tokio::spawn(unless_untaken(self.0, stream));
    }
}

/// What a body did since its task was last looked at.
#[derive(Clone, Copy)]
enum Offer {
    /// Nothing: it was not asked.
    Same,
    /// It had nothing to give, or has ended.
    None,
    /// It handed out a piece, and was not asked again.
    Piece,
}

tokio::task_local! {
    static OFFER: Cell<Offer>;
}

fn note(offer: Offer) {
    let _ = OFFER.try_with(|current| current.set(offer));
}

/// Small, so that a slow client is seen to take something.
const PIECE: usize = 16 << 10;

#[cfg(test)]
mod tests {
    use http_body_util::{BodyExt, Full};
    use tokio::time::sleep;

    use super::*;

    const PATIENCE: Duration = Duration::from_secs(10);

    fn body(pieces: usize) -> Paced<Full<Bytes>> {
        Paced::new(Full::from(vec![b'.'; pieces * PIECE]))
    }

    #[tokio::test]
    async fn large_frames_are_handed_out_in_pieces() {
        let mut body = Paced::new(Full::from(vec![b'.'; 2 * PIECE + 1]));
        for (left, piece) in [(2 * PIECE + 1, PIECE), (PIECE + 1, PIECE), (1, 1)] {
            assert_eq!(body.size_hint().exact(), Some(left as u64));
            assert!(!body.is_end_stream());
            assert_eq!(body.frame().await.unwrap().unwrap().into_data().unwrap().len(), piece);
        }
        assert!(body.is_end_stream());
        assert!(body.frame().await.is_none());
    }

    #[tokio::test(start_paused = true)]
    async fn a_piece_that_nobody_takes_ends_the_work() {
        let work = async {
            let mut body = body(2);
            body.frame().await;
            std::future::pending::<()>().await;
        };
        assert_eq!(unless_untaken(PATIENCE, work).await, None);
    }

    #[tokio::test(start_paused = true)]
    async fn a_slow_client_has_all_the_time_it_needs() {
        let work = async {
            let mut body = body(9);
            while body.frame().await.is_some() {
                sleep(PATIENCE * 9 / 10).await;
            }
            drop(body);
            sleep(PATIENCE * 2).await;
        };
        assert_eq!(unless_untaken(PATIENCE, work).await, Some(()));
    }

    #[tokio::test(start_paused = true)]
    async fn a_body_with_nothing_to_give_is_waited_for() {
        let work = async {
            let frames = futures_util::stream::unfold((), async |()| {
                sleep(PATIENCE * 3).await;
                Some((Ok::<_, std::convert::Infallible>(Frame::data(Bytes::from("."))), ()))
            });
            let mut body = pin!(Paced::new(http_body_util::StreamBody::new(frames)));
            for _ in 0..3 {
                body.as_mut().frame().await;
            }
        };
        assert_eq!(unless_untaken(PATIENCE, work).await, Some(()));
    }
}
