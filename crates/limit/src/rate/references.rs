//! Random traces of times, keys and costs, decided here and elsewhere.

use std::collections::HashMap;
use std::num::NonZeroU32;
use std::time::Duration;

use governor::clock::FakeRelativeClock;
use governor::{Quota as GovernorQuota, RateLimiter};
use proptest::prelude::*;

use super::bucket::Bucket;
use super::gcra::Gcra;
use super::quota::{Burst, Quota, SECOND};
use super::rule::Verdict;
use super::table::Spot;

/// What a key has used, as a fraction whose denominator is the period: exact.
#[derive(Clone, Copy, Default)]
struct Exact {
    used: u128,
    at: u64,
}

impl Exact {
    /// How far the cost goes beyond the burst, at most to be in time.
    fn over(&mut self, quota: &Quota, nanos: u64, cost: u32) -> i128 {
        let back = u128::from(quota.permits().get()) * u128::from(nanos - self.at);
        (self.used, self.at) = (self.used.saturating_sub(back), nanos);
        let whole = |permits: u32| i128::from(permits) * i128::from(quota.nanos());
        let burst = quota.bursts().map_or(0, |burst| Burst::permits(&burst));
        self.used as i128 + whole(cost) - whole(burst)
    }

    fn charge(&mut self, quota: &Quota, cost: u32) {
        self.used += u128::from(cost) * u128::from(quota.nanos());
    }
}

/// The least fraction of a permit, in the same terms.
fn unit(quota: &Quota) -> i128 {
    let units = Gcra::new(quota).unwrap().units();
    i128::from(quota.nanos()).div_euclid(i128::from(units)) + 1
}

fn spot(key: u64) -> Spot {
    Spot::new(key.wrapping_mul(0x9e37_79b9_7f4a_7c15) | key)
}

/// As a handle charges: by a clock that ticks once a second, where that settles it.
fn admits(bucket: &Bucket, key: u64, nanos: u64, cost: u32) -> bool {
    let roughly = || nanos - nanos % SECOND;
    if bucket.charge_roughly(spot(key), roughly, cost).is_some() {
        return true;
    }
    matches!(bucket.charge(spot(key), nanos, cost).verdict, Verdict::Admit { .. })
}

/// Rates from one a day to a billion a second, and steps that matter to them.
fn quotas() -> impl Strategy<Value = Quota> {
    let periods = prop_oneof![
        Just(Duration::from_secs(1)),
        Just(Duration::from_secs(3_600)),
        Just(Duration::from_secs(86_400)),
        (1_000..u64::MAX >> 14).prop_map(Duration::from_nanos),
    ];
    let permits = prop_oneof![1..=20_u32, 1..=1_000_000_000_u32];
    let most = |(permits, period, burst): (u32, Duration, u32)| {
        let a_second = (period.as_nanos() / 1_000_000_000).max(1) * 1_000_000_000;
        let permits = u128::from(permits).min(a_second).min(u32::MAX.into()) as u32;
        let permits = NonZeroU32::new(permits).unwrap();
        Quota::per(permits, period).burst(NonZeroU32::new(burst).unwrap())
    };
    (permits, periods, 1..=100_u32).prop_map(most)
}

proptest! {
    #[test]
    fn decisions_are_those_of_exact_arithmetic(
        quota in quotas(), start in 0..1_u64 << 55,
        calls in prop::collection::vec((0..5_u64, 0..300_u64, 1..8_u32), 1..200),
    ) {
        let (bucket, gcra) = (Bucket::new(&quota, 8), Gcra::new(&quota).unwrap());
        let mut keys: HashMap<u64, Exact> = HashMap::new();
        let mut nanos = start;
        for (key, step, cost) in calls {
            // A hundredth of the time in which a permit comes back.
            nanos += (gcra.time_for(1) as u128 * u128::from(step) / 100) as u64;
            let exact = keys.entry(key).or_default();
            let over = exact.over(&quota, nanos, cost);
            let admitted = admits(&bucket, key, nanos, cost);
            // Nearer than that the time itself is rounded.
            let near = 2 * unit(&quota);
            if over.abs() > near {
                prop_assert_eq!(admitted, over <= 0, "{:?} {} {}", quota, over, near);
            }
            if admitted {
                exact.charge(&quota, cost);
            }
        }
    }

    #[test]
    fn decisions_are_those_of_governor_where_its_interval_is_whole(
        interval in 1..100_000_u64, burst in 1..50_u32,
        calls in prop::collection::vec((0..5_u64, 0..200_u64, 1..10_u32), 1..200),
    ) {
        let interval = Duration::from_micros(interval);
        let burst = NonZeroU32::new(burst).unwrap();
        let clock = FakeRelativeClock::default();
        let theirs = GovernorQuota::with_period(interval).unwrap().allow_burst(burst);
        let theirs = RateLimiter::dashmap_with_clock(theirs, clock.clone());
        let ours = Bucket::new(&Quota::per(NonZeroU32::MIN, interval).burst(burst), 8);
        let mut nanos = 0;
        for (key, step, cost) in calls {
            let step = Duration::from_micros(interval.as_micros() as u64 * step / 50);
            clock.advance(step);
            nanos += step.as_nanos() as u64;
            let cost = NonZeroU32::new(cost).unwrap();
            let admitted = matches!(theirs.check_key_n(&key, cost), Ok(Ok(())));
            prop_assert_eq!(admits(&ours, key, nanos, cost.get()), admitted);
        }
    }

    #[test]
    fn in_any_span_of_time_a_key_gets_the_burst_and_what_comes_back(
        quota in quotas(), start in 0..1_u64 << 55,
        calls in prop::collection::vec((0..150_u64, 1..8_u32), 1..150),
    ) {
        let (bucket, gcra) = (Bucket::new(&quota, 1), Gcra::new(&quota).unwrap());
        let mut admitted: Vec<(u64, u32)> = Vec::new();
        let mut nanos = start;
        for (step, cost) in calls {
            nanos += (gcra.time_for(1) as u128 * u128::from(step) / 100) as u64;
            if admits(&bucket, 1, nanos, cost) {
                admitted.push((nanos, cost));
            }
        }
        let whole = |permits: u64| i128::from(permits) * i128::from(quota.nanos());
        let burst = quota.bursts().map_or(0, |burst| Burst::permits(&burst));
        for (first, (from, _)) in admitted.iter().enumerate() {
            let mut cost = 0;
            for (to, more) in &admitted[first..] {
                cost += u64::from(*more);
                let back = i128::from(quota.permits().get()) * i128::from(to - from);
                let most = whole(burst.into()) + back + 2 * unit(&quota);
                prop_assert!(whole(cost) <= most, "{:?} {} {}", quota, cost, to - from);
            }
        }
    }
}
