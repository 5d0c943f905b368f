use std::time::Duration;

use tower_edge_limit::Take;

use crate::error::Failure;

/// A quota in the numbers that a script counts in.
///
/// What is used is a time, in fractions of a microsecond: as fine as it can be, so
/// that all there may be is below 2^52. Scripts have no integers but those below
/// 2^53. A permit is rounded up: by less than a millionth where burst and debt are at
/// most 16 million permits that come at most 10^9 a second, by less than 1/32,768
/// wherever.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Units {
    /// Those of a permit.
    pub(super) permit: u64,
    /// Those of a microsecond.
    pub(super) micro: u64,
    /// Up to so many permits are taken.
    pub(super) reach: u64,
    /// Up to so many are charged.
    pub(super) full: u64,
}

impl Units {
    pub(super) fn new(take: &Take<'_>) -> Result<Self, Failure> {
        let (permits, period) = (u128::from(take.permits.max(1)), take.period.as_nanos().max(1));
        let all = u128::from(take.burst) + u128::from(take.debt);
        // The same whatever is to be done now: all nodes count alike.
        let micros = (all * period).div_ceil(permits * 1_000) + AHEAD.as_micros();
        let bits = u128::BITS - micros.leading_zeros();
        let fraction = BITS.checked_sub(bits).ok_or(Failure::TooLong)?.min(MOST_FRACTION);
        let permit = (period << fraction).div_ceil(permits * 1_000);
        let ahead = take.ahead.min(AHEAD).as_micros() << fraction;
        let [permit, reach, full] =
            [permit, u128::from(take.burst) * permit + ahead, all * permit].map(u64::try_from);
        let too_long = |_| Failure::TooLong;
        Ok(Self {
            permit: permit.map_err(too_long)?,
            micro: 1 << fraction,
            reach: reach.map_err(too_long)?,
            full: full.map_err(too_long)?,
        })
    }

    /// What is used, as a time.
    pub(super) fn time(&self, used: u64) -> Duration {
        let nanos = (u128::from(used) * 1_000).div_ceil(u128::from(self.micro));
        Duration::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX))
    }
}

/// The bits of what may be used at the most; a script adds up to twice that.
const BITS: u32 = 50;
const MOST_FRACTION: u32 = 30;

/// Permits are not taken longer before they come back.
const AHEAD: Duration = Duration::from_secs(1);

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn take(permits: u32, period: Duration, burst: u32, debt: u32) -> Take<'static> {
        let ahead = Duration::from_millis(200);
        Take { name: "q", permits, period, burst, debt, back: 0, charge: 0, ask: 0, ahead }
    }

    #[test]
    fn a_quota_of_a_human_life_is_too_long() {
        let year = Duration::from_secs(365 * 86_400);
        assert!(Units::new(&take(1, 30 * year, 1, 0)).is_ok());
        assert!(matches!(Units::new(&take(1, 40 * year, 1, 0)), Err(Failure::TooLong)));
        assert!(Units::new(&take(1, Duration::MAX, u32::MAX, u32::MAX)).is_err());
    }

    proptest! {
        #[test]
        fn all_numbers_are_exact_in_a_script_and_right_to_a_millionth(
            permits in 1_u32..=1_000_000_000, seconds in 1..86_400_u64,
            burst in 1_u32..1 << 23, debt in 0_u32..1 << 23,
        ) {
            check(take(permits, Duration::from_secs(seconds), burst, debt), 1e-6)?;
        }

        #[test]
        fn numbers_beyond_are_exact_too_and_nearly_right(
            permits in 1_u32.., seconds in 1..86_400_u64, burst in 1_u32.., debt: u32,
        ) {
            check(take(permits, Duration::from_secs(seconds), burst, debt), 1.0 / 32_768.0)?;
        }
    }

    fn check(take: Take<'_>, error: f64) -> Result<(), TestCaseError> {
        let Ok(units) = Units::new(&take) else { return Ok(()) };
        prop_assert!(units.reach < 1 << 52 && units.full < 1 << 52, "{:?}", units);
        let exact = take.period.as_secs_f64() * 1e6 / f64::from(take.permits);
        let permit = units.permit as f64 / units.micro as f64;
        prop_assert!(permit >= exact * (1.0 - 1e-9), "{:?} {}", units, exact);
        prop_assert!(permit <= exact * (1.0 + error), "{:?} {}", units, exact);
        let time = units.time(units.permit).as_nanos() as f64 / 1_000.0;
        prop_assert!((time - permit).abs() <= 0.001);
        Ok(())
    }
}
