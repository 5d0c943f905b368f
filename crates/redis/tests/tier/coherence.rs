//! Caches that share a Redis: what one has purged no other serves.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use http::{Request, Response};
use tokio::task::JoinSet;
use tower::ServiceExt;
use tower_edge_cache::{CacheHandle, CacheLayer, Purge};
use tower_edge_core::Clock;
use tower_edge_redis::RedisTier;
use tower_edge_testkit::line::{Fault, Line};
use tower_edge_testkit::redis::{Cluster, Server};
use tower_edge_testkit::{MockBody, Received, Upstream};
use tower_layer::Layer;

/// A cache in front of an origin that answers with its version.
#[derive(Clone)]
struct Node {
    handle: CacheHandle,
    service: <CacheLayer as Layer<Upstream>>::Service,
}

impl Node {
    fn new(url: &str, version: &Arc<AtomicU64>) -> Self {
        let tier = RedisTier::new(url).unwrap().heartbeat(HEARTBEAT).deadline(DEADLINE);
        let (cache, version) = (CacheLayer::new(1 << 20).tier(tier), version.clone());
        let (upstream, _) = Upstream::new(move |_, _| {
            let response = Response::builder().header("cache-control", "max-age=3600");
            let version = version.load(Ordering::SeqCst).to_string();
            response.body(MockBody::new().data(version)).unwrap().into()
        });
        Self { handle: cache.handle(), service: cache.layer(upstream) }
    }

    /// The version that it answers with.
    async fn ask(&self) -> u64 {
        let request = Request::get(URI).body(MockBody::new()).unwrap();
        let answer = self.service.clone().oneshot(request).await.unwrap();
        let body = Received::from(answer.into_body()).await;
        String::from_utf8(body.bytes().to_vec()).unwrap().parse().unwrap()
    }
}

/// When which versions were acknowledged to be purged.
#[derive(Default)]
struct Purged {
    /// The version that is the least to be served from then on.
    since: Mutex<BTreeMap<Instant, u64>>,
}

impl Purged {
    /// The least version that may be served to who asks at this time.
    fn least(&self, asked: Instant) -> u64 {
        let known = asked.checked_sub(BOUND).unwrap();
        let since = self.since.lock().unwrap();
        since.range(..=known).next_back().map_or(0, |(_, version)| *version)
    }
}

/// Purges on one node while others are asked; `trouble` is made each round.
async fn purges_hold(urls: [&str; 2], rounds: u64, mut trouble: impl AsyncFnMut(u64)) {
    let version = Arc::<AtomicU64>::default();
    let [one, other] = urls.map(|url| Node::new(url, &version));
    let (purged, ended) = (Arc::<Purged>::default(), Arc::<AtomicBool>::default());
    let (clock, mut clients) = (Clock::system(), JoinSet::new());
    for _ in 0..CLIENTS {
        let (other, purged, ended) = (other.clone(), purged.clone(), ended.clone());
        clients.spawn(async move {
            let mut answers = 0_u64;
            while !ended.load(Ordering::SeqCst) {
                let asked = clock.now();
                let (got, least) = (other.ask().await, purged.least(asked));
                assert!(got >= least, "{got} was served, {least} is the least");
                answers += 1;
                tokio::task::yield_now().await;
            }
            answers
        });
    }
    for round in 1..=rounds {
        trouble(round).await;
        version.store(round, Ordering::SeqCst);
        one.handle.purge(&URI.parse().unwrap(), Purge::Hard);
        // Who has purged knows it at once.
        assert_eq!(one.ask().await, round);
        while one.handle.flush().await.is_err() {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        purged.since.lock().unwrap().insert(clock.now(), round);
        while other.ask().await < round {
            tokio::task::yield_now().await;
        }
        assert_eq!(clients.len(), CLIENTS);
    }
    ended.store(true, Ordering::SeqCst);
    let answers: u64 = clients.join_all().await.into_iter().sum();
    assert!(answers > rounds, "{answers}");
}

fn rounds() -> u64 {
    if std::env::var_os("TOWER_EDGE_LONG").is_some_and(|long| long == "1") { 10_000 } else { 500 }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_one_node_has_purged_no_other_serves_beyond_the_bound() {
    let server = Server::start().await;
    let url = server.url();
    purges_hold([&url, &url], rounds(), async |_| ()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn purges_hold_where_the_way_to_redis_fails() {
    let server = Server::start().await;
    let line = Line::to(server.address()).await;
    let url = format!("redis://{}", line.address());
    let late = Fault::Late(Duration::from_millis(5));
    let faults = [Fault::None, Fault::Silent, late, Fault::Torn, Fault::Garbled(301)];
    purges_hold([&server.url(), &url], rounds() / 5, async |round| {
        line.set(faults[round as usize % faults.len()]);
        if round % 3 == 0 {
            line.cut();
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn purges_hold_where_a_replica_takes_the_place_of_who_has_the_log() {
    let mut cluster = Cluster::with_replicas().await;
    let (url, master) = (cluster.url(), cluster.master_of("{log}").await);
    // The other one knows of it by the nodes that are left.
    purges_hold([&url, &url], 60, async |round| {
        if round == 20 {
            cluster.fail_over(master).await;
        }
    })
    .await;
}

const URI: &str = "http://h/page";
const CLIENTS: usize = 3;
const HEARTBEAT: Duration = Duration::from_millis(50);
const DEADLINE: Duration = Duration::from_millis(100);

/// As it is documented, and what it may take to be told the time.
const BOUND: Duration = Duration::from_millis(2 * 50 + 100 + 50);
