use std::future::poll_fn;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};

/// Holds a script back until the test opens it.
///
/// Clones are the same gate.
#[derive(Clone, Debug)]
pub struct Gate(Arc<Mutex<State>>);

impl Gate {
    /// A gate that lets everybody through until it is closed.
    pub fn opened() -> Self {
        Self::new(true)
    }

    /// A gate that lets nobody through until it is opened.
    pub fn closed() -> Self {
        Self::new(false)
    }

    /// Lets through, and wakes, whoever waits; and whoever comes later.
    pub fn open(&self) {
        let woken = {
            let mut state = lock(&self.0);
            state.open = true;
            std::mem::take(&mut state.waiting)
        };
        woken.into_iter().for_each(Waker::wake);
    }

    /// Holds whoever comes from now on.
    pub fn close(&self) {
        lock(&self.0).open = false;
    }

    /// Ready when the gate is open.
    pub fn poll_pass(&self, cx: &mut Context<'_>) -> Poll<()> {
        let mut state = lock(&self.0);
        if state.open {
            return Poll::Ready(());
        }
        state.waiting.push(cx.waker().clone());
        Poll::Pending
    }

    /// Waits until the gate is open.
    pub async fn pass(&self) {
        poll_fn(|cx| self.poll_pass(cx)).await;
    }

    fn new(open: bool) -> Self {
        Self(Arc::new(Mutex::new(State { open, waiting: Vec::new() })))
    }
}

#[derive(Debug)]
struct State {
    open: bool,
    waiting: Vec<Waker>,
}

/// Locks `mutex`, also after a test panicked with it: what was noted stands.
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
