use std::pin::pin;
use std::task::{Context, Poll, Waker};

use tokio::runtime::{Builder, Runtime};
use tokio::task::yield_now;

use crate::meter::Meter;

/// Something that a case does again and again.
pub trait Work {
    /// Makes sure that it does what the scenario says.
    ///
    /// # Panics
    ///
    /// If it does something else.
    fn prove(&mut self, stage: &mut Stage);

    /// Does it `times` times, the part that counts inside [`Stage::measure`].
    fn run(&mut self, times: u64, stage: &mut Stage);
}

/// Where a case runs: on this thread, within a runtime that it has for itself.
#[derive(Debug)]
pub struct Stage {
    runtime: Runtime,
    meter: Meter,
}

impl Default for Stage {
    fn default() -> Self {
        Self::new()
    }
}

impl Stage {
    /// A stage that measures nothing.
    pub fn new() -> Self {
        let runtime = Builder::new_current_thread().enable_time().build();
        Self { runtime: runtime.expect("a runtime without I/O needs nothing"), meter: Meter::off() }
    }

    /// Does `work` so often, by this meter, and gives the meter back.
    pub(crate) fn run(&mut self, work: &mut dyn Work, times: u64, meter: Meter) -> Meter {
        self.meter = meter;
        work.run(times, self);
        std::mem::replace(&mut self.meter, Meter::off())
    }

    /// Runs `f` where it can spawn.
    pub(crate) fn enter<R>(&self, f: impl FnOnce() -> R) -> R {
        let _entered = self.runtime.enter();
        f()
    }

    /// Measures `work`, which does the scenario's part `times` times.
    ///
    /// What it spawned and left behind runs afterwards, not measured.
    pub fn measure(&mut self, times: u64, work: impl FnOnce(&Executor<'_>)) {
        let executor = Executor { runtime: &self.runtime };
        let entered = self.runtime.enter();
        self.meter.measure(times, || work(&executor));
        drop(entered);
        if self.runtime.metrics().num_alive_tasks() > 0 {
            self.runtime.block_on(yield_now());
        }
    }
}

/// Polls futures by hand, which costs next to nothing when they are ready.
#[derive(Debug)]
pub struct Executor<'a> {
    runtime: &'a Runtime,
}

impl Executor<'_> {
    /// Polls `future` to its end; while it is pending, what was spawned runs.
    ///
    /// # Panics
    ///
    /// If it is still pending after some seconds.
    pub fn block_on<F: Future>(&self, future: F) -> F::Output {
        let mut future = pin!(future);
        let mut context = Context::from_waker(Waker::noop());
        for _ in 0..TURNS {
            if let Poll::Ready(output) = future.as_mut().poll(&mut context) {
                return output;
            }
            self.runtime.block_on(yield_now());
        }
        panic!("a request of a bench does not end");
    }
}

/// A turn takes less than a microsecond.
const TURNS: u32 = 5_000_000;

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use tokio::sync::oneshot;

    use super::*;

    #[test]
    fn a_pending_future_waits_for_what_was_spawned() {
        let mut stage = Stage::new();
        let done = Cell::new(0);
        stage.measure(1, |executor| {
            done.set(executor.block_on(async {
                let (sender, receiver) = oneshot::channel();
                tokio::spawn(async move { sender.send(7) });
                receiver.await.unwrap()
            }));
        });
        assert_eq!(done.get(), 7);
    }

    #[test]
    fn what_was_spawned_is_done_before_the_next_measurement() {
        let mut stage = Stage::new();
        let (sender, mut receiver) = oneshot::channel();
        stage.measure(1, |executor| {
            executor.block_on(async { drop(tokio::spawn(async move { sender.send(7) })) });
        });
        assert_eq!(receiver.try_recv(), Ok(7));
    }
}
