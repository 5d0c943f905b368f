//! What it costs to ask a quota about one of ten million keys, or one that nodes share.
//!
//! - `keyed_hot_10m`: always about the same key;
//! - `keyed_random_10m`: about any of them.
//!
//! Each question reads the clock and is answered with yes; the time of that is in both
//! figures. governor reads that of `quanta`, its default, which takes less than half the
//! time of the standard library's, goes in steps of 100 ns and may drift from it. Ours is
//! the kernel's: read roughly, which takes no longer, where a precise reading would change
//! nothing. So it is with nearly all of these keys, as with all that have used more than
//! comes back in a second; for another key it takes 20 ns more. All keys were asked
//! about before and none has all its permits back, so the table is as full as it
//! was made for. How many of them lost their places meanwhile is
//! checked when the case is set up: at most one in a thousand. A trial (`--test`)
//! does with a twentieth of the keys.
//!
//! One of many keys is one line of memory that no cache has, where governor has two:
//! `valgrind --tool=callgrind --cache-sim=yes` counts 1.01 and 2.00. The line is found
//! in a page of 2 MiB if the kernel gives such to who asks; with pages of 4 KiB, as governor
//! has them, the processor takes a third of the time to find the page.
//!
//! - `redis_exact`: a request through a layer that asks Redis about each;
//! - `redis_lease`: the same through one that takes permits in batches.
//!
//! `bare` is one round trip of the crate `redis`, a GET, over one connection. Redis is
//! started by the bench, and another thread drives the connections.

use std::convert::Infallible;
use std::future::{Ready, ready};
use std::hint::black_box;
use std::num::{NonZeroU32, NonZeroUsize};
use std::process::ExitCode;
use std::time::Duration;

use bytes::Bytes;
use governor::{Quota as GovernorQuota, RateLimiter};
use http::{Request, Response, StatusCode};
use http_body_util::Full;
use redis::AsyncCommands;
use redis::aio::MultiplexedConnection;
use tokio::runtime::{Builder, Runtime};
use tower::{Layer, Service, service_fn};
use tower_edge::core::Key;
use tower_edge::limit::{Limit, Quota, RateLimitLayer, nonzero};
use tower_edge_benches::{Bench, Stage, Work, is_trial};
use tower_edge_redis::RedisQuotas;
use tower_edge_testkit::redis::Server;

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
    for (scenario, exact) in [("redis_exact", true), ("redis_lease", false)] {
        bench.case(scenario, "bare", bare);
        bench.case(scenario, "tower-edge", move || shared(exact));
    }
    bench.run()
}

/// Asks Redis, or a layer that shares its quota there; whether the answer is right.
struct Turns<A> {
    runtime: Runtime,
    ask: A,
    /// What is to stay while it is asked.
    _server: Server,
}

impl<A: AsyncFnMut() -> bool> Work for Turns<A> {
    fn prove(&mut self, _: &mut Stage) {
        assert!(self.runtime.block_on((self.ask)()), "not this scenario");
    }

    fn run(&mut self, times: u64, stage: &mut Stage) {
        let Self { runtime, ask, .. } = self;
        stage.measure(times, |_| {
            let wrong = runtime.block_on(async {
                let mut wrong = 0_u64;
                for _ in 0..times {
                    wrong += u64::from(!ask().await);
                }
                wrong
            });
            assert_eq!(wrong, 0, "nobody is refused");
        });
    }
}

fn bare() -> impl Work {
    let (runtime, server) = with_server();
    let mut connection = runtime.block_on(async {
        let client = redis::Client::open(server.url()).expect("it is a URL");
        let connected = client.get_multiplexed_async_connection().await;
        let mut connection: MultiplexedConnection = connected.expect("Redis is there");
        connection.set::<_, _, ()>("key", "state").await.expect("Redis is there");
        connection
    });
    let ask = async move || {
        let read: Result<String, _> = connection.get("key").await;
        read.is_ok_and(|read| read == "state")
    };
    Turns { runtime, ask, _server: server }
}

fn shared(exact: bool) -> impl Work {
    let (runtime, server) = with_server();
    let quotas = RedisQuotas::new(&server.url()).expect("it is a URL");
    let plenty = Quota::per_second(nonzero!(1_000_000_000)).burst(nonzero!(1_000_000_000));
    let layer = RateLimitLayer::new(Limit::new("all", plenty)).response_fields(false);
    // On a machine that is busy an answer may take its time.
    let layer = layer.store(quotas.deadline(Duration::from_secs(5)));
    let layer = if exact { layer.exact() } else { layer };
    let mut service = layer.layer(service_fn(well));
    let ask = async move || {
        let answer = service.call(Request::new(())).await;
        answer.is_ok_and(|answer| answer.status() == StatusCode::OK)
    };
    Turns { runtime, ask, _server: server }
}

fn well(_: Request<()>) -> Ready<Result<Response<Full<Bytes>>, Infallible>> {
    ready(Ok(Response::new(Full::default())))
}

fn with_server() -> (Runtime, Server) {
    let runtime = Builder::new_multi_thread().worker_threads(1).enable_all().build();
    let runtime = runtime.expect("there is a thread");
    let server = runtime.block_on(Server::start());
    (runtime, server)
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
