//! What it costs to ask a quota about one of ten million keys.
//!
//! - `keyed_hot_10m`: always about the same key;
//! - `keyed_random_10m`: about any of them.
//!
//! Each question reads the clock, as a request does, and is answered with yes. All
//! keys were asked about before and none has all its permits back, so the table
//! is as full as it was made for. How many of them lost their places meanwhile is
//! checked when the case is set up: at most one in a thousand.

use std::hint::black_box;
use std::num::{NonZeroU32, NonZeroUsize};
use std::process::ExitCode;
use std::time::Duration;

use governor::{Quota as GovernorQuota, RateLimiter};
use tower_edge::core::Key;
use tower_edge::limit::{Limit, Quota, RateLimitLayer, nonzero};
use tower_edge_benches::{Bench, Stage, Work};

fn main() -> ExitCode {
    let mut bench = Bench::new("limit");
    for (scenario, spread) in [("keyed_hot_10m", 1), ("keyed_random_10m", KEYS)] {
        bench.case(scenario, "tower-edge", move || {
            let handle = RateLimitLayer::new(Limit::new("all", SLOW).keys(ROOM)).handle();
            let (stats, ask) = (handle.clone(), move |key: u64, permits: NonZeroU32| {
                handle.charge("all", &Key::new(key.to_be_bytes()), permits.get()) == Some(true)
            });
            let asked = Asked::new(spread, ask);
            let evicted = stats.stats().evicted;
            assert!(evicted * 1_000 <= KEYS, "{evicted} of {KEYS} keys lost their places");
            asked
        });
        bench.case(scenario, "governor", move || {
            let quota = GovernorQuota::with_period(PERIOD).expect("a period is not zero");
            let limiter = RateLimiter::keyed(quota.allow_burst(BURST));
            Asked::new(spread, move |key: u64, permits: NonZeroU32| {
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
    fn new(spread: u64, ask: F) -> Self {
        let admitted = (0..KEYS).filter(|key| ask(*key, USED)).count();
        assert_eq!(admitted as u64, KEYS, "nobody is refused");
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

const KEYS: u64 = 10_000_000;
const ROOM: NonZeroUsize = nonzero!(10_000_000);
const BURST: NonZeroU32 = nonzero!(2_000_000_000);
/// By each key before: it takes an hour until it has them back.
const USED: NonZeroU32 = nonzero!(1_000);
const PERIOD: Duration = Duration::from_secs(4);
const SLOW: Quota = Quota::per(NonZeroU32::MIN, PERIOD).burst(BURST);
