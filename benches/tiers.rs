//! What a hit costs that only the tier behind memory has.
//!
//! - `redis_hit_1k`, `redis_hit_100k`: a fresh response of that size, from Redis;
//! - `redis_hit_1k_x64`: the same, 64 requests at once: the time of each of them;
//! - `sqlite_hit_1k`: a fresh response of 1 KiB, from a file.
//!
//! `bare` is a GET of as many bytes with the crate `redis`, over one connection.
//! Redis is started by the bench. There are more responses than the memory of
//! tower-edge holds, asked for in turn; tower-http-cache has no memory before Redis.
//! Another thread drives the connections, for all alike.

use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use axum::body::Body;
use bytes::Bytes;
use futures_util::future::join_all;
use http::{Request, Response};
use http_body_util::{BodyExt, Full};
use redis::AsyncCommands;
use redis::aio::MultiplexedConnection;
use tempfile::TempDir;
use tokio::runtime::{Builder, Runtime};
use tower::{Layer, Service, ServiceExt, service_fn};
use tower_edge_benches::{Bench, Stage, Work};
use tower_edge_cache::{CacheLayer, Tier};
use tower_edge_redis::RedisTier;
use tower_edge_sqlite::SqliteTier;
use tower_edge_testkit::redis::Server;
use tower_http_cache::prelude::RedisBackend;

fn main() -> ExitCode {
    let mut bench = Bench::new("cache");
    for (scenario, size, at_once) in
        [("redis_hit_1k", KIB, 1), ("redis_hit_1k_x64", KIB, 64), ("redis_hit_100k", 100 * KIB, 1)]
    {
        bench.case(scenario, "bare", move || bare(size, at_once));
        bench.case(scenario, "tower-edge", move || tower_edge(size, at_once));
        bench.case(scenario, "tower-http-cache", move || tower_http_cache(size, at_once));
    }
    bench.case("sqlite_hit_1k", "tower-edge", || sqlite(KIB));
    bench.run()
}

/// Asks for one thing after the other, some at once; what is asked gives its length.
struct Turns<A> {
    runtime: Runtime,
    ask: A,
    /// What is to stay while it is asked.
    _kept: Kept,
    size: usize,
    at_once: usize,
    next: usize,
}

struct Kept {
    _server: Option<Server>,
    _folder: Option<TempDir>,
}

impl<A, F> Turns<A>
where
    A: Fn(usize) -> F,
    F: Future<Output = usize>,
{
    fn ask(&mut self, times: usize) -> usize {
        let numbers = (self.next..self.next + times).map(|number| number % PAGES);
        self.next += times;
        self.runtime.block_on(join_all(numbers.map(&self.ask))).into_iter().sum()
    }
}

impl<A, F> Work for Turns<A>
where
    A: Fn(usize) -> F,
    F: Future<Output = usize>,
{
    fn prove(&mut self, stage: &mut Stage) {
        let (at_once, mut read) = (self.at_once, 0);
        stage.measure(1, |_| read = self.ask(at_once));
        assert_eq!(read, at_once * self.size, "not this scenario");
    }

    fn run(&mut self, times: u64, stage: &mut Stage) {
        let mut left = times as usize;
        while left > 0 {
            let some = left.min(self.at_once);
            stage.measure(some as u64, |_| _ = self.ask(some));
            left -= some;
        }
    }
}

fn bare(size: usize, at_once: usize) -> impl Work {
    let (runtime, server) = with_server();
    let connection = runtime.block_on(async {
        let client = redis::Client::open(server.url()).expect("it is a URL");
        let connected = client.get_multiplexed_async_connection().await;
        let mut connection: MultiplexedConnection = connected.expect("Redis is there");
        for number in 0..PAGES {
            let set = connection.set::<_, _, ()>(number, vec![b'x'; size]).await;
            set.expect("Redis is there");
        }
        connection
    });
    let ask = move |number: usize| {
        let mut connection = connection.clone();
        async move {
            let read: Vec<u8> = connection.get(number).await.expect("Redis is there");
            read.len()
        }
    };
    Turns { runtime, ask, _kept: Kept::server(server), size, at_once, next: 0 }
}

fn tower_edge(size: usize, at_once: usize) -> impl Work {
    let (runtime, server) = with_server();
    let url = server.url();
    let tier = move || {
        let tier = RedisTier::new(&url).expect("it is a URL");
        tier.deadline(Duration::from_secs(10))
    };
    tiered(runtime, Kept::server(server), size, at_once, tier)
}

fn sqlite(size: usize) -> impl Work {
    let folder = TempDir::new().expect("there is room for a folder");
    let path = folder.path().join("cache.db");
    let tier = move || SqliteTier::open(&path, 1 << 30).expect("the file is ours");
    let kept = Kept { _server: None, _folder: Some(folder) };
    tiered(runtime(), kept, size, 1, tier)
}

/// A cache with little memory over a tier that another one has filled.
fn tiered<T: Tier>(
    runtime: Runtime,
    kept: Kept,
    size: usize,
    at_once: usize,
    tier: impl Fn() -> T,
) -> impl Work {
    let (origin, called) = origin(size);
    // With room for what waits to be written.
    let filling = CacheLayer::new(1 << 30).tier(tier());
    runtime.block_on(async {
        let service = filling.layer(origin.clone());
        for number in 0..PAGES {
            read(service.clone(), number).await;
        }
        filling.handle().flush().await.expect("the tier is there");
    });
    drop(filling);
    // Its tasks end when they see that nobody is there, and let go of the tier.
    runtime.block_on(async { tokio::time::sleep(Duration::from_millis(600)).await });
    let cache = CacheLayer::new(CAPACITY).max_entry(CAPACITY).tier(tier());
    let service = cache.layer(origin);
    let before = called.load(Ordering::SeqCst);
    let ask = move |number| {
        let (service, called) = (service.clone(), called.clone());
        async move {
            let length = read(service, number).await;
            assert_eq!(called.load(Ordering::SeqCst), before, "not a hit");
            length
        }
    };
    Turns { runtime, ask, _kept: kept, size, at_once, next: 0 }
}

fn tower_http_cache(size: usize, at_once: usize) -> impl Work {
    let (runtime, server) = with_server();
    let (origin, called) = origin(size);
    let service = runtime.block_on(async {
        let client = redis::Client::open(server.url()).expect("it is a URL");
        let connected = client.get_connection_manager().await;
        let backend = RedisBackend::new(connected.expect("Redis is there"));
        let layer = tower_http_cache::CacheLayer::builder(backend).ttl(HOUR).build();
        let service = layer.layer(origin);
        for number in 0..PAGES {
            read(service.clone(), number).await;
        }
        service
    });
    let before = called.load(Ordering::SeqCst);
    let ask = move |number| {
        let (service, called) = (service.clone(), called.clone());
        async move {
            let length = read(service, number).await;
            assert_eq!(called.load(Ordering::SeqCst), before, "not a hit");
            length
        }
    };
    Turns { runtime, ask, _kept: Kept::server(server), size, at_once, next: 0 }
}

/// A service that answers with so many bytes, and how often it was called.
fn origin(
    size: usize,
) -> (
    impl Service<
        Request<Body>,
        Response = Response<Full<Bytes>>,
        Error = std::convert::Infallible,
        Future: Send,
    > + Clone
    + Send
    + Sync
    + 'static,
    Arc<AtomicU64>,
) {
    let called = Arc::<AtomicU64>::default();
    let (count, body) = (called.clone(), Bytes::from(vec![b'x'; size]));
    let origin = service_fn(move |_: Request<Body>| {
        count.fetch_add(1, Ordering::SeqCst);
        let response = Response::builder().header("cache-control", "max-age=3600");
        let response = response.body(Full::new(body.clone())).expect("it is a response");
        async move { Ok(response) }
    });
    (origin, called)
}

/// Asks for a page, and reads it; its length.
async fn read<S, B>(service: S, number: usize) -> usize
where
    S: Service<Request<Body>, Response = Response<B>>,
    S::Error: std::fmt::Debug,
    B: http_body::Body,
    B::Error: std::fmt::Debug,
{
    let request = Request::get(format!("http://bench.test/{number}")).body(Body::empty());
    let response = service.oneshot(request.expect("it is a request")).await;
    let body = response.expect("no service of a bench fails").into_body();
    let body = BodyExt::collect(body).await.expect("no body of a bench breaks off");
    body.to_bytes().len()
}

fn with_server() -> (Runtime, Server) {
    let runtime = runtime();
    let server = runtime.block_on(Server::start());
    (runtime, server)
}

fn runtime() -> Runtime {
    let runtime = Builder::new_multi_thread().worker_threads(1).enable_all().build();
    runtime.expect("a runtime needs little")
}

impl Kept {
    fn server(server: Server) -> Self {
        Self { _server: Some(server), _folder: None }
    }
}

/// More than fit into [`CAPACITY`], at 1 KiB each.
const PAGES: usize = 1_024;
const CAPACITY: u64 = 256 << 10;
const KIB: usize = 1_024;
const HOUR: Duration = Duration::from_secs(3_600);
