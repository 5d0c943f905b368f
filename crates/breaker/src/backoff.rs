use std::time::Duration;

/// How long a circuit stays open: at random up to a bound that doubles each time
/// it opens without having closed for good, which is "full jitter" in
/// "Exponential Backoff And Jitter" (M. Brooker, AWS Architecture Blog, 2015).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Backoff {
    pub(crate) base: Duration,
    pub(crate) cap: Duration,
}

impl Backoff {
    /// The time for the opening with this number, from 0, and this random number.
    pub(crate) fn wait(&self, opening: u32, random: u64) -> Duration {
        let doubled = 2_u32.checked_pow(opening).and_then(|times| self.base.checked_mul(times));
        let bound = doubled.unwrap_or(self.cap).min(self.cap).as_nanos();
        let nanos = (bound.min(u128::from(u64::MAX)) * u128::from(random)) >> 64;
        Duration::from_nanos(nanos as u64 + 1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BACKOFF: Backoff = Backoff { base: Duration::from_secs(5), cap: Duration::from_secs(60) };

    #[test]
    fn the_bound_doubles_up_to_the_cap() {
        for (opening, seconds) in [(0, 5), (1, 10), (2, 20), (3, 40), (4, 60), (31, 60), (99, 60)] {
            assert_eq!(BACKOFF.wait(opening, u64::MAX), Duration::from_secs(seconds));
            assert_eq!(BACKOFF.wait(opening, 0), Duration::from_nanos(1));
            let half = BACKOFF.wait(opening, 1 << 63);
            assert_eq!(half, Duration::from_secs(seconds) / 2 + Duration::from_nanos(1));
        }
        let endless = Backoff { base: Duration::from_secs(1), cap: Duration::MAX };
        assert!(endless.wait(31, u64::MAX) > Duration::from_secs(2_000_000_000));
    }
}
