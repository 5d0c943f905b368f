use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};

use crate::{Stage, Work};

/// Does some work on this thread, while another one does work of its own.
pub struct Beside<W> {
    work: W,
    stop: Arc<AtomicBool>,
    other: Option<JoinHandle<()>>,
}

impl<W> Beside<W> {
    /// Starts the `other` thread, which works until this is dropped.
    pub fn new(work: W, mut other: impl Work + Send + 'static) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = stop.clone();
        let other = thread::spawn(move || {
            let mut stage = Stage::new();
            while !stopped.load(Ordering::Relaxed) {
                other.run(AT_ONCE, &mut stage);
            }
        });
        Self { work, stop, other: Some(other) }
    }
}

impl<W: Work> Work for Beside<W> {
    fn prove(&mut self, stage: &mut Stage) {
        self.work.prove(stage);
    }

    fn run(&mut self, times: u64, stage: &mut Stage) {
        self.work.run(times, stage);
    }
}

impl<W> Drop for Beside<W> {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        // Its panic was told when it happened.
        let _ = self.other.take().map(JoinHandle::join);
    }
}

impl<W: fmt::Debug> fmt::Debug for Beside<W> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Beside").field(&self.work).finish()
    }
}

/// How much the other thread does before it looks whether to stop.
const AT_ONCE: u64 = 4_096;
