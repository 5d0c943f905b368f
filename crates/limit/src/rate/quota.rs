use std::num::{NonZeroU16, NonZeroU32};
use std::time::Duration;

/// How much a key may use: so many permits in a period, and so many at once.
///
/// The permits come back one by one, evenly over the period; of those that were
/// not used, a burst's worth is kept. Whatever the rate, it is off by less than
/// one part in 10^18.
///
/// ```
/// use std::time::Duration;
/// use tower_edge_limit::{Quota, nonzero};
///
/// const API: Quota = Quota::per_second(nonzero!(100)).burst(nonzero!(20));
/// const SLOW: Quota = Quota::per(nonzero!(5), Duration::from_secs(90));
/// const STRICT: Quota = Quota::in_any(nonzero!(30), Duration::from_secs(60));
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Quota {
    permits: NonZeroU32,
    nanos: u64,
    /// None for a quota that holds in any window.
    burst: Option<Burst>,
}

impl Quota {
    /// So many permits a second.
    pub const fn per_second(permits: NonZeroU32) -> Self {
        Self::per(permits, Duration::from_secs(1))
    }

    /// So many permits a minute.
    pub const fn per_minute(permits: NonZeroU32) -> Self {
        Self::per(permits, Duration::from_secs(60))
    }

    /// So many permits an hour.
    pub const fn per_hour(permits: NonZeroU32) -> Self {
        Self::per(permits, Duration::from_secs(3_600))
    }

    /// So many permits in 24 hours.
    pub const fn per_day(permits: NonZeroU32) -> Self {
        Self::per(permits, Duration::from_secs(86_400))
    }

    /// So many permits in a period; a burst is all of them, unless
    /// [`burst`](Self::burst) says otherwise.
    ///
    /// In a span of time `t` a key gets at most the burst and what comes back in
    /// `t`: of a hundred a minute up to two hundred in the minute after a quiet
    /// one. [`in_any`](Self::in_any) is stricter.
    ///
    /// More than 2^32 - 1 a second count as that, and a period of more than 584
    /// years as 584 years.
    pub const fn per(permits: NonZeroU32, period: Duration) -> Self {
        let nanos = nanos(period);
        let most = NonZeroU32::MAX;
        let burst = Some(Burst { permits, debt: None });
        if permits.get() as u128 * SECOND as u128 > most.get() as u128 * nanos as u128 {
            return Self { permits: most, nanos: SECOND, burst };
        }
        Self { permits, nanos, burst }
    }

    /// At most so many permits in any span of time as long as `window`, whenever
    /// it begins.
    ///
    /// They are counted in parts of the window, from six parts for up to 15
    /// permits to one for more than 1,023, and each part counts until all of it is
    /// out of the window. So it never gives too many, but somebody who takes all
    /// at once gets them back up to one part later than a window.
    pub const fn in_any(permits: NonZeroU16, window: Duration) -> Self {
        // A wider type of the same number is not zero either.
        let permits = NonZeroU32::MIN.saturating_add(permits.get() as u32 - 1);
        Self { permits, nanos: nanos(window), burst: None }
    }

    /// Up to so many permits at once, after a time without use. It changes nothing
    /// for a quota that holds [in any window](Self::in_any).
    #[must_use]
    pub const fn burst(mut self, permits: NonZeroU32) -> Self {
        if let Some(burst) = &mut self.burst {
            burst.permits = permits;
        }
        self
    }

    /// How many permits a key may owe beyond its burst for what is charged after
    /// the fact; as many as the burst at first. What goes beyond is forgiven.
    #[must_use]
    pub const fn debt(mut self, debt: u32) -> Self {
        if let Some(burst) = &mut self.burst {
            burst.debt = Some(debt);
        }
        self
    }

    /// The permits of one period.
    pub const fn permits(&self) -> NonZeroU32 {
        self.permits
    }

    /// The period, or the window.
    pub const fn period(&self) -> Duration {
        Duration::from_nanos(self.nanos)
    }

    pub(crate) const fn nanos(&self) -> u64 {
        self.nanos
    }

    pub(crate) const fn bursts(&self) -> Option<Burst> {
        self.burst
    }
}

/// Makes a number that is not zero, at compile time: `nonzero!(100)`.
///
/// ```compile_fail
/// use tower_edge_limit::{Quota, nonzero};
/// let quota = Quota::per_second(nonzero!(0));
/// ```
#[macro_export]
macro_rules! nonzero {
    ($number:expr) => {
        const {
            match ::core::num::NonZero::new($number) {
                Some(number) => number,
                None => panic!("zero"),
            }
        }
    };
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Burst {
    permits: NonZeroU32,
    debt: Option<u32>,
}

impl Burst {
    pub(crate) const fn permits(&self) -> u32 {
        self.permits.get()
    }

    pub(crate) const fn debt(&self) -> u32 {
        match self.debt {
            Some(debt) => debt,
            None => self.permits(),
        }
    }
}

/// At least 1, at most 584 years.
const fn nanos(period: Duration) -> u64 {
    let nanos = period.as_nanos();
    if nanos > u64::MAX as u128 {
        u64::MAX
    } else if nanos == 0 {
        1
    } else {
        nanos as u64
    }
}

pub(crate) const SECOND: u64 = 1_000_000_000;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn any_period_makes_a_quota() {
        for (period, permits, nanos) in [
            (Duration::from_millis(1_500), 7, 1_500_000_000),
            (Duration::from_secs(86_400), 7, 86_400_000_000_000),
            (Duration::MAX, 7, u64::MAX),
            (Duration::from_nanos(2), 7, 2),
            (Duration::from_nanos(1), u32::MAX, SECOND),
            (Duration::ZERO, u32::MAX, SECOND),
        ] {
            let quota = Quota::per(nonzero!(7), period);
            assert_eq!((quota.permits.get(), quota.nanos), (permits, nanos), "{period:?}");
        }
    }

    #[test]
    fn a_burst_is_a_period_unless_it_is_told_and_so_is_the_debt() {
        let burst = |quota: Quota| quota.bursts().map(|burst| (burst.permits(), burst.debt()));
        let quota = Quota::per_minute(nonzero!(100));
        assert_eq!(burst(quota), Some((100, 100)));
        assert_eq!(burst(quota.burst(nonzero!(20))), Some((20, 20)));
        assert_eq!(burst(quota.burst(nonzero!(20)).debt(0)), Some((20, 0)));
        assert_eq!(burst(quota.debt(7).burst(nonzero!(20))), Some((20, 7)));
        let strict = Quota::in_any(nonzero!(30), Duration::from_secs(60));
        assert_eq!((burst(strict.burst(nonzero!(9))), strict.permits.get()), (None, 30));
    }
}
