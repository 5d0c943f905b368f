use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use crate::address::Address;
use crate::error::Failure;

/// What is told of trouble: that there is some and that it is over, at most once a
/// second.
#[derive(Debug, Default)]
pub(crate) struct Trouble {
    /// Whether the last that was told is that there is some.
    told: AtomicBool,
    /// From when on something may be told, in nanoseconds since some start.
    next: AtomicU64,
}

impl Trouble {
    /// Logs how a call ended, if that is news; `who` goes on without Redis.
    pub(crate) fn tell(
        &self,
        address: &Address,
        failure: Option<&Failure>,
        who: &str,
        now: impl Fn() -> u64,
    ) {
        match failure {
            // Why it is was told.
            Some(Failure::Open) => {}
            Some(failure) if self.failed(now()) => {
                tracing::warn!("redis at {address}: {failure}; {who} on without it");
            }
            Some(_) => {}
            None if self.is_over(now) => tracing::info!("redis at {address} answers again"),
            None => {}
        }
    }

    /// Whether it is to be told at this time that a call failed.
    fn failed(&self, now: u64) -> bool {
        let is_due = self.is_due(now);
        if is_due {
            self.told.store(true, Ordering::Relaxed);
        }
        is_due
    }

    /// Whether it is to be told that a call went well.
    fn is_over(&self, now: impl FnOnce() -> u64) -> bool {
        let is_over = self.told.load(Ordering::Relaxed) && self.is_due(now());
        if is_over {
            self.told.store(false, Ordering::Relaxed);
        }
        is_over
    }

    fn is_due(&self, now: u64) -> bool {
        let next = self.next.load(Ordering::Relaxed);
        let after = now.saturating_add(PERIOD.as_nanos() as u64);
        let order = Ordering::Relaxed;
        now >= next && self.next.compare_exchange(next, after, order, order).is_ok()
    }
}

const PERIOD: Duration = Duration::from_secs(1);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn something_is_told_once_a_second_and_its_end_too() {
        let trouble = Trouble::default();
        let second = PERIOD.as_nanos() as u64;
        assert!(!trouble.is_over(|| 0));
        let told = [0, 1, second - 1, second].map(|now| trouble.failed(now));
        assert_eq!(told, [true, false, false, true]);
        let over = [2 * second - 1, 2 * second, 3 * second].map(|now| trouble.is_over(|| now));
        assert_eq!(over, [false, true, false]);
        assert!(!trouble.failed(2 * second) && trouble.failed(3 * second));
    }
}
