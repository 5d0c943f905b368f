//! The generic cell rate algorithm (ITU-T I.371, annex A), in fractions of a
//! permit.
//!
//! A state is the theoretical arrival time (TAT): when the key will have all its
//! permits back, on a clock that runs by one permit in the time in which one
//! comes back. A permit is `1 << fraction` units of that clock, a cost is a whole
//! number of them, and the time is converted by one exact multiplication, so that
//! no error adds up.
//!
//! A state has [`STATE_BITS`](super::rule::STATE_BITS) bits of that clock. Less
//! than a full [`Gcra::live`] ahead of now it is a key that owes something,
//! anywhere else a key at rest: a state left long ago is taken for a live one
//! with odds of `live / 2^40`, which is 2^-12 unless burst, debt and a second's
//! permits are more than 2^28 together.

use super::quota::{Quota, SECOND};
use super::rule::{STATE, Verdict, WORDS};

/// A quota in units, and where its clock started.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Gcra {
    pub(super) permits: u32,
    pub(super) nanos: u64,
    /// A unit is a permit `>> fraction`.
    fraction: u32,
    /// How far ahead of now an admitted request may put a state.
    burst: u64,
    /// The same for what is charged after the fact.
    full: u64,
    /// Beyond `full` by a second, which is how much earlier a thread may have
    /// read the time than those whose states it finds.
    live: u64,
    /// What a nanosecond is in units, `<< shift`; rounded up, so that a wait is
    /// never too short.
    multiplier: u64,
    shift: u32,
    /// When the clock showed `origin_units`.
    origin_nanos: u64,
    origin_units: u64,
}

impl Gcra {
    /// A clock that shows 0 at 0; none for a quota that holds in any window.
    pub(crate) fn new(quota: &Quota) -> Option<Self> {
        let fraction = LIVE_BITS.saturating_sub(bits(live_permits(quota)?));
        Self::with_fraction(quota, fraction)
    }

    /// Goes on with another quota: what a key has used by now stays used, and
    /// comes back at the new rate.
    ///
    /// None where the units of this one are too small for the other one: for a
    /// burst that is hundreds of times as large.
    pub(crate) fn swapped(&self, quota: &Quota, nanos: u64) -> Option<Self> {
        let mut swapped = Self::with_fraction(quota, self.fraction)?;
        swapped.live = swapped.live.max(self.live);
        swapped.origin_nanos = nanos;
        swapped.origin_units = self.moment(nanos);
        (bits(swapped.live) <= LIVE_BITS + SPARE_BITS).then_some(swapped)
    }

    /// What the clock shows so many nanoseconds after its start.
    #[inline]
    pub(crate) fn moment(&self, nanos: u64) -> u64 {
        let passed = u128::from(nanos.saturating_sub(self.origin_nanos));
        let units = (passed * u128::from(self.multiplier)) >> self.shift;
        self.origin_units.wrapping_add(units as u64) & STATE
    }

    /// Admits where the burst has room for the cost.
    #[inline]
    pub(crate) fn decide(&self, state: u64, moment: u64, cost: u32) -> Verdict {
        let cost = u64::from(cost) << self.fraction;
        let after = self.used(state, moment) + cost;
        match after.saturating_sub(self.burst) {
            0 => Verdict::Admit { state: moment.wrapping_add(after) & STATE },
            _ if cost > self.burst => Verdict::Refuse { wait: None },
            short => Verdict::Refuse { wait: Some(self.time_of(short)) },
        }
    }

    /// Whether an admission can be more than a second ahead of now, so that
    /// [`settled`](Self::settled) may settle it.
    #[inline]
    pub(crate) fn is_slow(&self) -> bool {
        self.burst > self.second()
    }

    /// The state after a cost that [`decide`](Self::decide) admits with that state at each
    /// moment of the second that begins with this one; none where the time matters.
    ///
    /// Of a key that has used more than comes back in a second, all that is to be known is
    /// whether the burst has room: what it has used is in the state, not in the time.
    #[inline]
    pub(crate) fn settled(&self, state: u64, moment: u64, cost: u32) -> Option<u64> {
        let cost = u64::from(cost) << self.fraction;
        let ahead = state.wrapping_sub(moment) & STATE;
        let settled = ahead > self.second() && ahead + cost <= self.burst;
        settled.then_some(state.wrapping_add(cost) & STATE)
    }

    /// The state after a cost that nobody asked for.
    pub(crate) fn charged(&self, state: u64, moment: u64, cost: u32) -> u64 {
        let used = self.used(state, moment);
        let after = (used + (u64::from(cost) << self.fraction)).min(self.full).max(used);
        moment.wrapping_add(after) & STATE
    }

    /// The state as if a cost had not been charged.
    pub(crate) fn refunded(&self, state: u64, moment: u64, cost: u32) -> u64 {
        let after = self.used(state, moment).saturating_sub(u64::from(cost) << self.fraction);
        moment.wrapping_add(after) & STATE
    }

    /// How far a state is ahead of now; 0 for a key at rest.
    #[inline]
    pub(crate) fn used(&self, state: u64, moment: u64) -> u64 {
        match state.wrapping_sub(moment) & STATE {
            ahead if ahead <= self.live => ahead.min(self.full),
            _ => 0,
        }
    }

    /// The permits that are there at once.
    pub(crate) fn available(&self, state: u64, moment: u64) -> u32 {
        (self.burst.saturating_sub(self.used(state, moment)) >> self.fraction) as u32
    }

    /// The permits owed beyond the burst.
    pub(crate) fn owed(&self, state: u64, moment: u64) -> u32 {
        let owed = self.used(state, moment).saturating_sub(self.burst);
        owed.div_ceil(1 << self.fraction) as u32
    }

    /// The time in which so many permits come back, in nanoseconds rounded up.
    pub(crate) fn time_for(&self, permits: u64) -> u64 {
        self.time_of(permits.saturating_mul(1 << self.fraction))
    }

    /// The units of a permit.
    #[cfg(test)]
    pub(crate) fn units(&self) -> u64 {
        1 << self.fraction
    }

    pub(crate) fn to_words(self) -> [u64; WORDS] {
        let Self { permits, nanos, fraction, burst, full, live, multiplier, shift, .. } = self;
        let small = u64::from(permits) << 16 | u64::from(fraction) << 8 | u64::from(shift);
        let Self { origin_nanos, origin_units, .. } = self;
        [multiplier, small, nanos, burst, full, live, origin_nanos, origin_units]
    }

    #[inline]
    pub(crate) fn from_words(words: [u64; WORDS]) -> Self {
        let [multiplier, small, nanos, burst, full, live, origin_nanos, origin_units] = words;
        let byte = |shift: u32| u32::from((small >> shift) as u8);
        let (permits, fraction, shift) = ((small >> 16) as u32, byte(8), byte(0));
        Self {
            permits,
            nanos,
            fraction,
            burst,
            full,
            live,
            multiplier,
            shift,
            origin_nanos,
            origin_units,
        }
    }

    /// The units of a second, and of a permit at least.
    fn second(&self) -> u64 {
        self.live - self.full
    }

    fn time_of(&self, units: u64) -> u64 {
        let permits = u128::from(self.permits) << self.fraction;
        let nanos = (u128::from(units) * u128::from(self.nanos)).div_ceil(permits);
        u64::try_from(nanos).unwrap_or(u64::MAX)
    }

    fn with_fraction(quota: &Quota, fraction: u32) -> Option<Self> {
        let burst = quota.bursts()?;
        let (permits, nanos) = (quota.permits().get(), quota.nanos());
        let full = u64::from(burst.permits()) + u64::from(burst.debt());
        let units = u128::from(permits) << fraction;
        // The quotient has 63 or 64 bits, so it is off by less than 2^-62.
        let shift = 63 + bits(nanos) - (u128::BITS - units.leading_zeros());
        Some(Self {
            permits,
            nanos,
            fraction,
            burst: u64::from(burst.permits()) << fraction,
            full: full << fraction,
            live: live_permits(quota)? << fraction,
            multiplier: (units << shift).div_ceil(u128::from(nanos)) as u64,
            shift,
            origin_nanos: 0,
            origin_units: 0,
        })
    }
}

/// Burst, debt and a second's permits.
fn live_permits(quota: &Quota) -> Option<u64> {
    let burst = quota.bursts()?;
    let second = u128::from(quota.permits().get()) * u128::from(SECOND);
    let second = second.div_ceil(u128::from(quota.nanos())) as u64;
    Some(u64::from(burst.permits()) + u64::from(burst.debt()) + second)
}

fn bits(number: u64) -> u32 {
    u64::BITS - number.leading_zeros()
}

/// The bits of `live`: a twelfth of the odds' exponent short of a state's.
const LIVE_BITS: u32 = 28;
/// How far `live` may grow when quotas are swapped: the odds are 2^-4 then.
const SPARE_BITS: u32 = 8;

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use proptest::prelude::*;

    use super::*;
    use crate::nonzero;

    #[test]
    fn the_rate_is_right_to_a_millionth_from_one_a_day_to_a_billion_a_second() {
        let day = Duration::from_secs(86_400);
        for (permits, period) in [
            (1, day),
            (7, day),
            (1, Duration::from_secs(1)),
            (3, Duration::from_secs(1)),
            (999_999_937, Duration::from_secs(1)),
            (1_000_000_000, Duration::from_secs(1)),
        ] {
            let quota = Quota::per(permits.try_into().unwrap(), period);
            for quota in [quota.burst(nonzero!(1)), quota] {
                let gcra = Gcra::new(&quota).unwrap();
                let ratio = gcra.multiplier as f64 / (gcra.shift as f64).exp2();
                let exact = f64::from(permits) / period.as_nanos() as f64;
                let ratio = ratio / f64::from(gcra.fraction).exp2();
                assert!((ratio / exact - 1.0).abs() < 1e-12, "{quota:?}");
                // Not for ever so small steps only: over a month.
                let month = 30 * 86_400 * SECOND;
                let passed = (u128::from(month) * u128::from(gcra.multiplier)) >> gcra.shift;
                let exact = u128::from(permits) << gcra.fraction;
                let exact = exact * u128::from(month) / period.as_nanos();
                assert!(passed.abs_diff(exact) <= 1, "{quota:?}: {passed} {exact}");
            }
        }
    }

    #[test]
    fn the_odds_of_a_stale_state_are_as_stated() {
        for (quota, odds) in [
            (Quota::per_second(nonzero!(100)).burst(nonzero!(20)), 12),
            (Quota::per_day(nonzero!(1)), 12),
            (Quota::per_hour(nonzero!(5_000)), 12),
            (Quota::per_second(nonzero!(80_000_000)).debt(0), 12),
            (Quota::per_second(nonzero!(1_000_000_000)).burst(nonzero!(1)), 10),
            (Quota::per_second(nonzero!(0xffff_ffff)), 6),
        ] {
            let gcra = Gcra::new(&quota).unwrap();
            assert!(bits(gcra.live) + odds <= 40, "{quota:?} {gcra:?}");
        }
    }

    #[test]
    fn a_burst_is_admitted_and_then_the_rate() {
        let gcra = Gcra::new(&Quota::per_second(nonzero!(10)).burst(nonzero!(3))).unwrap();
        let mut state = 0;
        for (millis, admitted) in [
            (0, true),
            (0, true),
            (0, true),
            (0, false),
            (99, false),
            (100, true),
            (100, false),
            (300, true),
            (300, true),
            (300, false),
        ] {
            let moment = gcra.moment(millis * 1_000_000);
            match gcra.decide(state, moment, 1) {
                Verdict::Admit { state: after } if admitted => state = after,
                Verdict::Refuse { wait: Some(wait) } if !admitted => {
                    let due = if millis < 100 { 100 } else { (millis / 100 + 1) * 100 };
                    let missing = (due - millis) * 1_000_000;
                    assert!(wait.abs_diff(missing) < 100, "{millis}: {wait}");
                }
                verdict => panic!("{millis}: {verdict:?}"),
            }
        }
    }

    #[test]
    fn a_debt_is_paid_before_the_next_admission() {
        let quota = Quota::per_second(nonzero!(10)).burst(nonzero!(5)).debt(20);
        let gcra = Gcra::new(&quota).unwrap();
        let state = gcra.charged(0, 0, 12);
        assert_eq!((gcra.available(state, 0), gcra.owed(state, 0)), (0, 7));
        let Verdict::Refuse { wait } = gcra.decide(state, 0, 1) else { panic!("admitted") };
        assert_eq!(wait, Some(800_000_000));
        let state = gcra.charged(state, 0, 1_000);
        assert_eq!(gcra.owed(state, 0), 20, "what goes beyond the debt is forgiven");
    }

    #[test]
    fn who_reads_the_time_late_finds_no_fresh_key() {
        let gcra = Gcra::new(&Quota::per_second(nonzero!(10)).burst(nonzero!(3)).debt(0)).unwrap();
        let (early, late) = (gcra.moment(4 * SECOND), gcra.moment(5 * SECOND));
        let state = gcra.charged(0, late, 3);
        assert_eq!(gcra.available(state, early), 0);
        assert!(matches!(gcra.decide(state, early, 1), Verdict::Refuse { .. }));
    }

    #[test]
    fn a_swap_keeps_what_was_used() {
        let slow = Quota::per_hour(nonzero!(100));
        let gcra = Gcra::new(&slow).unwrap();
        let then = 10_000 * SECOND;
        let state = gcra.charged(0, gcra.moment(then), 80);
        let fast = Quota::per_second(nonzero!(100));
        let swapped = gcra.swapped(&fast, then).unwrap();
        assert_eq!(swapped.available(state, swapped.moment(then)), 20);
        assert_eq!(swapped.available(state, swapped.moment(then + SECOND / 10)), 30);
        let smaller = swapped.swapped(&slow.burst(nonzero!(10)).debt(5), then).unwrap();
        let moment = smaller.moment(then);
        assert_eq!((smaller.available(state, moment), smaller.owed(state, moment)), (0, 5));
        assert_eq!(gcra.swapped(&Quota::per_second(nonzero!(100_000_000)), then), None);
    }

    #[test]
    fn a_rough_time_settles_something_where_more_than_a_second_is_kept() {
        let second = Quota::per_second(nonzero!(100));
        for (quota, slow) in [
            (second, false),
            (second.burst(nonzero!(102)), true),
            (Quota::per_hour(nonzero!(1_000)), true),
            (Quota::per_day(nonzero!(3)), true),
            (Quota::per_day(nonzero!(1)), false),
            (Quota::per_second(nonzero!(1_000_000_000)), false),
        ] {
            let gcra = Gcra::new(&quota).unwrap();
            let settles = |used| gcra.settled(gcra.charged(0, 0, used), 0, 1).is_some();
            assert_eq!(((0..200).any(settles), gcra.is_slow()), (slow, slow), "{quota:?}");
        }
    }

    proptest! {
        #[test]
        fn what_a_rough_time_settles_is_so_at_any_time_within_a_second(
            permits in 1..100_000_u32, period in 1..100_000_u64, burst in 1..100_000_u32,
            debt in 0..1_000_u32, used in 0..100_000_u32, cost in 0..100_u32, now: u32,
            late in 0..=SECOND, swapped: bool,
        ) {
            let quota = Quota::per(permits.try_into().unwrap(), Duration::from_millis(period));
            let quota = quota.burst(burst.try_into().unwrap()).debt(debt);
            let gcra = Gcra::new(&quota).unwrap();
            let roughly = u64::from(now);
            let precisely = roughly + late;
            let gcra = match swapped {
                // While the rough clock still shows what was before.
                true => gcra.swapped(&quota, precisely).unwrap(),
                false => gcra,
            };
            let earlier = gcra.moment(roughly);
            let state = gcra.charged(earlier, earlier, used % burst);
            if let Some(after) = gcra.settled(state, earlier, cost) {
                let decided = gcra.decide(state, gcra.moment(precisely), cost);
                prop_assert_eq!(decided, Verdict::Admit { state: after });
            }
        }

        #[test]
        fn a_refund_is_net_zero(
            permits in 1..u32::MAX, nanos: u64, used in 0..100_u32, cost in 0..100_u32, now: u64,
        ) {
            let quota = Quota::per(permits.try_into().unwrap(), Duration::from_nanos(nanos));
            let gcra = Gcra::new(&quota.burst(nonzero!(200))).unwrap();
            let moment = gcra.moment(now);
            let state = gcra.charged(moment, moment, used);
            let after = gcra.charged(state, moment, cost);
            prop_assert_eq!(gcra.refunded(after, moment, cost), state);
        }

        #[test]
        fn after_the_told_wait_a_lone_key_is_admitted_and_not_much_earlier(
            permits in 1..2_000_000_000_u32, nanos in 1..u64::MAX >> 2, burst in 1..1_000_u32,
            used in 0..2_000_u32, cost in 1..1_000_u32, now in 0..u64::MAX >> 2,
        ) {
            let quota = Quota::per(permits.try_into().unwrap(), Duration::from_nanos(nanos));
            let gcra = Gcra::new(&quota.burst(burst.try_into().unwrap())).unwrap();
            let cost = cost.min(burst);
            let state = gcra.charged(gcra.moment(now), gcra.moment(now), used);
            if let Verdict::Refuse { wait: Some(wait) } =
                gcra.decide(state, gcra.moment(now), cost)
                && let Some(then) = now.checked_add(wait)
            {
                let later = gcra.decide(state, gcra.moment(then), cost);
                prop_assert!(matches!(later, Verdict::Admit { .. }), "{:?}", later);
                let unit = gcra.time_of(2) + 2;
                if wait > unit {
                    let earlier = gcra.decide(state, gcra.moment(then - unit), cost);
                    prop_assert!(matches!(earlier, Verdict::Refuse { .. }), "{:?}", earlier);
                }
            }
        }
    }
}
