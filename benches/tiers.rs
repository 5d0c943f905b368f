//! What a hit costs that only the tier behind memory has.
//!
//! - `redis_hit_1k`, `redis_hit_100k`: a fresh response of that size, from Redis;
//! - `redis_hit_1k_x64`: the same, 64 requests at once: the time of each of them;
//! - `sqlite_hit_1k`: a fresh response of 1 KiB, from a file.
//!
//! `bare` is a GET of as many bytes with the crate `redis`, over one connection.
//! Redis is started by the bench. There are some thirty times as many responses as the
//! memory of tower-edge holds, asked for in turn; tower-http-cache has no memory before
//! Redis. Another thread drives the connections, for all alike; requests are made
//! before the time is taken.

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
struct Turns<P, A> {
    runtime: Runtime,
    prepare: P,
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

impl<P, Q, A, F> Turns<P, A>
where
    P: Fn(usize) -> Q,
    A: Fn(Q) -> F,
    F: Future<Output = usize>,
{
    fn questions(&mut self, count: usize) -> Vec<Q> {
        let numbers = self.next..self.next + count;
        self.next += count;
        numbers.map(|number| (self.prepare)(number % pages(self.size))).collect()
    }

    fn ask(&self, questions: Vec<Q>) -> usize {
        self.runtime.block_on(join_all(questions.into_iter().map(&self.ask))).into_iter().sum()
    }
}

impl<P, Q, A, F> Work for Turns<P, A>
where
    P: Fn(usize) -> Q,
    A: Fn(Q) -> F,
    F: Future<Output = usize>,
{
    fn prove(&mut self, stage: &mut Stage) {
        let (questions, mut read) = (self.questions(self.at_once), 0);
        stage.measure(1, |_| read = self.ask(questions));
        assert_eq!(read, self.at_once * self.size, "not this scenario");
    }

    fn run(&mut self, times: u64, stage: &mut Stage) {
        let mut left = times as usize;
        while left > 0 {
            let some = left.min(self.at_once);
            let questions = self.questions(some);
            stage.measure(some as u64, |_| _ = self.ask(questions));
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
        for number in 0..pages(size) {
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
    let prepare = |number| number;
    Turns { runtime, prepare, ask, _kept: Kept::server(server), size, at_once, next: 0 }
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
        for number in 0..pages(size) {
            read(service.clone(), page(number)).await;
        }
        filling.handle().flush().await.expect("the tier is there");
    });
    drop(filling);
    // Its tasks end when they see that nobody is there, and let go of the tier.
    runtime.block_on(async { tokio::time::sleep(Duration::from_millis(600)).await });
    let cache = CacheLayer::new(CAPACITY).max_entry(CAPACITY).tier(tier());
    let service = cache.layer(origin);
    let before = called.load(Ordering::SeqCst);
    let ask = move |request| {
        let (service, called) = (service.clone(), called.clone());
        async move {
            let length = read(service, request).await;
            assert_eq!(called.load(Ordering::SeqCst), before, "not a hit");
            length
        }
    };
    Turns { runtime, prepare: page, ask, _kept: kept, size, at_once, next: 0 }
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
        for number in 0..pages(size) {
            read(service.clone(), page(number)).await;
        }
        service
    });
    let before = called.load(Ordering::SeqCst);
    let ask = move |request| {
        let (service, called) = (service.clone(), called.clone());
        async move {
            let length = read(service, request).await;
            assert_eq!(called.load(Ordering::SeqCst), before, "not a hit");
            length
        }
    };
    let kept = Kept::server(server);
    Turns { runtime, prepare: page, ask, _kept: kept, size, at_once, next: 0 }
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

/// A request for a page.
fn page(number: usize) -> Request<Body> {
    let request = Request::get(format!("http://bench.test/{number}")).body(Body::empty());
    request.expect("it is a request")
}

/// Asks for a page, and reads it; its length.
async fn read<S, B>(service: S, request: Request<Body>) -> usize
where
    S: Service<Request<Body>, Response = Response<B>>,
    S::Error: std::fmt::Debug,
    B: http_body::Body,
    B::Error: std::fmt::Debug,
{
    let response = service.oneshot(request).await;
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

/// How many responses of this size there are: far more than fit into [`CAPACITY`].
fn pages(size: usize) -> usize {
    ((16 << 20) / size).max(1_024)
}

const CAPACITY: u64 = 1 << 20;
const KIB: usize = 1_024;
const HOUR: Duration = Duration::from_secs(3_600);
