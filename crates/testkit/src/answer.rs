use std::future::poll_fn;
use std::task::Poll;

use http::Response;

use crate::{Gate, MockBody, UpstreamError};

/// What an [`Upstream`](crate::Upstream) answers to one call, and when.
///
/// Pauses and gates come before the head, in the order in which they are given.
#[derive(Debug)]
#[must_use]
pub struct Answer {
    result: Result<Response<MockBody>, UpstreamError>,
    waits: Vec<Wait>,
    pub(crate) reads: bool,
}

impl Answer {
    /// 200 with this body.
    pub fn ok(body: MockBody) -> Self {
        Response::new(body).into()
    }

    /// No response but an error.
    pub fn error(error: UpstreamError) -> Self {
        Self { result: Err(error), waits: Vec::new(), reads: false }
    }

    /// Neither response nor error, ever.
    pub fn never() -> Self {
        Self::ok(MockBody::new()).hold(&Gate::closed())
    }

    /// Is pending once first, and wakes the caller at once.
    pub fn pause(self) -> Self {
        self.wait(Wait::Pause)
    }

    /// Is pending until `gate` is open first.
    pub fn hold(self, gate: &Gate) -> Self {
        self.wait(Wait::Hold(gate.clone()))
    }

    /// Reads the whole request body before all else; otherwise it is dropped
    /// unread.
    pub fn reading(mut self) -> Self {
        self.reads = true;
        self
    }

    pub(crate) async fn play(self) -> Result<Response<MockBody>, UpstreamError> {
        for wait in self.waits {
            match wait {
                Wait::Pause => pause().await,
                Wait::Hold(gate) => gate.pass().await,
            }
        }
        self.result
    }

    fn wait(mut self, wait: Wait) -> Self {
        self.waits.push(wait);
        self
    }
}

impl From<Response<MockBody>> for Answer {
    fn from(response: Response<MockBody>) -> Self {
        Self { result: Ok(response), waits: Vec::new(), reads: false }
    }
}

#[derive(Debug)]
enum Wait {
    Pause,
    Hold(Gate),
}

async fn pause() {
    let mut paused = false;
    poll_fn(|cx| match std::mem::replace(&mut paused, true) {
        true => Poll::Ready(()),
        false => {
            cx.waker().wake_by_ref();
            Poll::Pending
        }
    })
    .await;
}
