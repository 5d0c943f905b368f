use std::time::{Duration, Instant};

use tokio::time::timeout;
use tower_edge_core::Clock;

/// The time that a request may wait for a tier, in all its calls together.
#[derive(Debug)]
pub(crate) struct Budget {
    clock: Clock,
    /// None where there is no end to it.
    left: Option<Duration>,
    is_whole: bool,
    /// When the time was read last, and how long the last call took.
    now: Instant,
    took: Duration,
}

impl Budget {
    pub(crate) fn new(clock: Clock, whole: Duration) -> Self {
        let left = (whole < Duration::MAX).then_some(whole);
        Self { clock, left, is_whole: true, now: clock.now(), took: Duration::ZERO }
    }

    /// When the last call ended; before the first one, when the wait began.
    pub(crate) fn now(&self) -> Instant {
        self.now
    }

    /// How long the last call took.
    pub(crate) fn took(&self) -> Duration {
        self.took
    }

    /// Leaves out what was waited for since the last call.
    pub(crate) fn skip(&mut self) {
        self.now = self.clock.now();
    }

    /// Waits for a call as long as there is time left; `None` if there was not enough.
    ///
    /// The first call is left to the tier, which ends it by itself and knows then that
    /// it was late.
    pub(crate) async fn spend<T>(&mut self, call: impl Future<Output = T>) -> Option<T> {
        let is_first = std::mem::take(&mut self.is_whole);
        let done = match self.left.filter(|_| !is_first) {
            None => Some(call.await),
            Some(left) => timeout(left, call).await.ok(),
        };
        let now = self.clock.now();
        self.took = now.saturating_duration_since(self.now);
        self.now = now;
        self.left = self.left.map(|left| left.saturating_sub(self.took));
        done
    }
}

#[cfg(test)]
mod tests {
    use std::time::SystemTime;

    use tokio::time::sleep;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn all_calls_together_take_no_longer_than_the_first_may() {
        let millis = Duration::from_millis;
        let clock = Clock::anchored(SystemTime::UNIX_EPOCH);
        let begun = clock.now();
        let mut budget = Budget::new(clock, millis(50));
        let calls = [(30, Some(())), (15, Some(())), (10, None), (1, None)];
        for (takes, done) in calls {
            // What is no call is not of it.
            sleep(millis(100)).await;
            budget.skip();
            assert_eq!(budget.spend(sleep(millis(takes))).await, done, "{takes}");
            assert_eq!(budget.now(), clock.now());
            assert!(done.is_none() || budget.took() >= millis(takes), "{takes}");
        }
        let waited = clock.since(begun) - millis(400);
        assert!(waited <= millis(53), "{waited:?}");
        // Without a budget there is no timer.
        let mut none = Budget::new(clock, Duration::MAX);
        for _ in 0..2 {
            assert_eq!(none.spend(sleep(millis(1_000))).await, Some(()));
        }
    }
}
