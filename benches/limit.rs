//! What it costs to ask a quota about one of ten million keys.
//!
//! - `keyed_hot_10m`: always about the same key;
//! - `keyed_random_10m`: about any of them.
//!
//! Each question reads the clock, as a request does, and is answered with yes; the
//! time of that is in both figures. governor reads that of `quanta`, its default,
//! which takes less than half the time of the standard library's, goes in steps of
//! 100 ns and may drift from it; ours is the standard library's. All keys were asked
//! about before and none has all its permits back, so the table is as full as it
//! was made for. How many of them lost their places meanwhile is
//! checked when the case is set up: at most one in a thousand. A trial (`--test`)
//! does with a twentieth of the keys.

use std::hint::black_box;
use std::num::{NonZeroU32, NonZeroUsize};
use std::process::ExitCode;
use std::time::Duration;

use governor::{Quota as GovernorQuota, RateLimiter};
use tower_edge::core::Key;
use tower_edge::limit::{Limit, Quota, RateLimitLayer, nonzero};
use tower_edge_benches::{Bench, Stage, Work, is_trial};

fn main() -> ExitCode {
    let mut bench = Bench::new("limit");
    let room = if is_trial() { TRIAL } else { ROOM };
    let keys = room.get() as u64;
    for (scenario, spread) in [("keyed_hot_10m", 1), ("keyed_random_10m", keys)] {
        bench.case(scenario, "tower-edge", move || {
            let handle = RateLimitLayer::new(Limit::new("all", SLOW).keys(room)).handle();
            let (stats, ask) = (handle.clone(), move |key: u64, permits: NonZeroU32| {
                handle.charge("all", &Key::new(key.to_be_bytes()), permits.get()) == Some(true)
            });
            let asked = Asked::new(keys, spread, ask);
            let evicted = stats.stats().evicted;
            assert!(evicted * 1_000 <= keys, "{evicted} of {keys} keys lost their places");
            asked
        });
        bench.case(scenario, "governor", move || {
            let quota = GovernorQuota::with_period(PERIOD).expect("a period is not zero");
            let limiter = RateLimiter::keyed(quota.allow_burst(BURST));
            Asked::new(keys, spread, move |key: u64, permits: NonZeroU32| {
                matches!(limiter.check_key_n(&key, permits), Ok(Ok(())))
            })
        });
    }
    bench.run()
}

/// Asks about keys, one after the other.
struct Asked<F> {
    ask: F,
    spread: u64,
    turn: u64,
}

impl<F: Fn(u64, NonZeroU32) -> bool> Asked<F> {
    fn new(keys: u64, spread: u64, ask: F) -> Self {
        let admitted = (0..keys).filter(|key| ask(*key, USED)).count();
        assert_eq!(admitted as u64, keys, "nobody is refused");
        Self { ask, spread, turn: 0 }
    }

    fn next(&mut self) -> u64 {
        self.turn = self.turn.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        (self.turn >> 33) % self.spread
    }
}

impl<F: Fn(u64, NonZeroU32) -> bool> Work for Asked<F> {
    fn prove(&mut self, _: &mut Stage) {
        assert!((self.ask)(0, NonZeroU32::MIN), "nobody is refused");
    }

    fn run(&mut self, times: u64, stage: &mut Stage) {
        stage.measure(times, |_| {
            for _ in 0..times {
                let key = self.next();
                black_box((self.ask)(key, NonZeroU32::MIN));
            }
        });
    }
}

const ROOM: NonZeroUsize = nonzero!(10_000_000);
const TRIAL: NonZeroUsize = nonzero!(500_000);
const BURST: NonZeroU32 = nonzero!(2_000_000_000);
/// By each key before: it takes an hour until it has them back.
const USED: NonZeroU32 = nonzero!(1_000);
const PERIOD: Duration = Duration::from_secs(4);
const SLOW: Quota = Quota::per(NonZeroU32::MIN, PERIOD).burst(BURST);
