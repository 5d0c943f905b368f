use std::future::Future;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::Notify;
use tower_edge::core::{End, Tap};

/// What becomes of a request's body on its way to the origin.
#[derive(Clone, Debug, Default)]
pub(crate) struct Upload {
    state: Arc<State>,
}

impl Upload {
    /// Whether the client broke it off.
    pub(crate) fn is_broken(&self) -> bool {
        self.state.broken.load(Ordering::Relaxed)
    }

    /// What `answer` gives, unless nothing moves for `timeout`: neither is the
    /// answer there, nor does the body go on.
    pub(crate) async fn unless_silent<F>(&self, timeout: Duration, answer: F) -> Option<F::Output>
    where
        F: Future,
    {
        let mut answer = pin!(answer);
        loop {
            tokio::select! {
                biased;
                answer = &mut answer => return Some(answer),
                () = self.state.moved.notified() => {}
                () = tokio::time::sleep(timeout) => return None,
            }
        }
    }
}

impl Tap<Bytes> for Upload {
    fn data(&mut self, _: &Bytes) {
        self.state.moved.notify_one();
    }

    fn end(&mut self, end: End<'_>) {
        if let End::Failed = end {
            self.state.broken.store(true, Ordering::Relaxed);
        }
        self.state.moved.notify_one();
    }
}

#[derive(Debug, Default)]
struct State {
    moved: Notify,
    broken: AtomicBool,
}

#[cfg(test)]
mod tests {
    use tokio::time::sleep;

    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[tokio::test(start_paused = true)]
    async fn silence_has_an_end() {
        let upload = Upload::default();
        assert_eq!(upload.unless_silent(SECOND, sleep(SECOND * 9 / 10)).await, Some(()));
        assert_eq!(upload.unless_silent(SECOND, sleep(SECOND * 2)).await, None);
    }

    #[tokio::test(start_paused = true)]
    async fn a_body_that_moves_is_not_silent() {
        let upload = Upload::default();
        let mut tap = upload.clone();
        let body = async move {
            for _ in 0..10 {
                sleep(SECOND / 2).await;
                tap.data(&Bytes::new());
            }
            tap.end(End::Complete(None));
        };
        let answer = async {
            body.await;
            sleep(SECOND / 2).await;
        };
        assert_eq!(upload.unless_silent(SECOND, answer).await, Some(()));
    }

    #[test]
    fn only_a_failure_is_a_break() {
        for (end, broken) in
            [(End::Complete(None), false), (End::Dropped, false), (End::Failed, true)]
        {
            let upload = Upload::default();
            upload.clone().end(end);
            assert_eq!(upload.is_broken(), broken);
        }
    }
}
