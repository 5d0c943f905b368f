use std::time::Duration;

use tokio::time::timeout;
use tower_edge_core::Clock;

/// The time that a request may wait for a tier, in all its calls together.
#[derive(Debug)]
pub(crate) struct Budget {
    clock: Clock,
    /// None where there is no end to it.
    left: Option<Duration>,
    is_whole: bool,
}

impl Budget {
    pub(crate) fn new(clock: Clock, whole: Duration) -> Self {
        let left = (whole < Duration::MAX).then_some(whole);
        Self { clock, left, is_whole: true }
    }

    /// Waits for a call as long as there is time left; `None` if there was not enough.
    ///
    /// The first call is left to the tier, which ends it by itself and knows then that
    /// it was late.
    pub(crate) async fn spend<T>(&mut self, call: impl Future<Output = T>) -> Option<T> {
        let Some(left) = self.left else { return Some(call.await) };
        let begun = self.clock.now();
        let done = match std::mem::take(&mut self.is_whole) {
            true => Some(call.await),
            false => timeout(left, call).await.ok(),
        };
        self.left = Some(left.saturating_sub(self.clock.since(begun)));
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
            assert_eq!(budget.spend(sleep(millis(takes))).await, done, "{takes}");
        }
        assert!(clock.since(begun) <= millis(53), "{:?}", clock.since(begun));
        // Without a budget there is no timer.
        let mut none = Budget::new(clock, Duration::MAX);
        for _ in 0..2 {
            assert_eq!(none.spend(sleep(millis(1_000))).await, Some(()));
        }
    }
}
