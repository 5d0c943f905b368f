//! Gateways that share a Redis: what one changes no other goes on serving, and one
//! fetches what all want.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use axum::Router;
use axum::http::header::CACHE_CONTROL;
use axum::response::IntoResponse;
use tokio::net::TcpListener;
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tower_edge::core::Clock;
use tower_edge_testkit::redis::Server;
use tower_edge_tests::{body, is_long, soon};

use crate::gateway;
use crate::redis::{ask, has, on, versions};

/// The version of a page that came.
fn version(answer: &str) -> u64 {
    let (_, version) = body(answer).lines().next().unwrap().split_once(' ').unwrap();
    version.parse().unwrap()
}

/// Which versions were changed, and when that was acknowledged.
#[derive(Default)]
struct Changed(Mutex<BTreeMap<Instant, u64>>);

impl Changed {
    /// The version that nobody may give any more who asks at this time.
    fn gone(&self, asked: Instant) -> Option<u64> {
        let known = asked.checked_sub(BOUND).unwrap();
        let changed = self.0.lock().unwrap();
        changed.range(..=known).next_back().map(|(_, version)| *version)
    }
}

/// How many changes are noted.
async fn notes(server: &Server) -> String {
    server.cli(&["XLEN", "tower-edge:{log}:notes"]).await
}

/// Asks for a page again and again, until it is told to end; how often.
async fn load(gateway: SocketAddr, changed: Arc<Changed>, ended: Arc<AtomicBool>) -> u64 {
    let (clock, mut answers) = (Clock::system(), 0);
    while !ended.load(Ordering::SeqCst) {
        let gone = changed.gone(clock.now());
        let got = version(&ask(gateway, "/a").await);
        assert!(gone.is_none_or(|gone| got > gone), "{got} was served, {gone:?} is gone");
        answers += 1;
    }
    answers
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_changed_through_one_gateway_no_other_serves_beyond_the_bound() {
    let (server, (origin, _)) = (Server::start().await, versions().await);
    let url = server.url();
    let flags = ["--redis", &url, "--origin", &origin, "--redis-timeout", "100"];
    let [first, second] = [gateway(&flags).await, gateway(&flags).await];
    let (changed, ended) = (Arc::<Changed>::default(), Arc::<AtomicBool>::default());
    let mut clients = JoinSet::new();
    for _ in 0..CLIENTS {
        clients.spawn(load(second.address(), changed.clone(), ended.clone()));
    }
    let request = "POST /a HTTP/1.1\r\nHost: h\r\nContent-Length: 0\r\nConnection: close\r\n\r\n";
    let (clock, rounds) = (Clock::system(), if is_long() { 10_000 } else { 500 });
    for _ in 0..rounds {
        let noted = notes(&server).await;
        let old = version(&first.exchange(request).await);
        // The client has its answer before all have heard: from here on they are to know.
        soon(async { while notes(&server).await == noted {} }).await;
        changed.0.lock().unwrap().insert(clock.now(), old);
        // Who has changed it knows that at once.
        assert!(version(&ask(first.address(), "/a").await) > old);
        soon(async { while version(&ask(second.address(), "/a").await) <= old {} }).await;
        assert_eq!(clients.len(), CLIENTS);
    }
    ended.store(true, Ordering::SeqCst);
    let answers: u64 = clients.join_all().await.into_iter().sum();
    assert!(answers > rounds / 2, "{answers}");
    first.stop().await;
    second.stop().await;
}

#[tokio::test]
async fn without_news_of_others_memory_is_believed_only_where_that_is_chosen() {
    let (mut server, (origin, _)) = (Server::start().await, versions().await);
    let (url, patience) = (server.url(), "5000");
    let flags = ["--redis", &url, "--origin", &origin, "--redis-timeout", patience];
    let believing = gateway(&[&flags[..], &["--on-outage-cache", "stale"]].concat()).await;
    let careful = gateway(&flags).await;
    for gateway in [&believing, &careful] {
        soon(async { while !has(gateway, "/a").await {} }).await;
    }
    server.kill().await;
    soon(async { while has(&careful, "/a").await {} }).await;
    for _ in 0..10 {
        assert!(has(&believing, "/a").await && !has(&careful, "/a").await);
    }
    server.restart().await;
    soon(async { while !has(&careful, "/a").await {} }).await;
}

#[tokio::test]
async fn when_the_gateway_that_fetches_is_killed_another_goes_on() {
    let (asked, answers) = (Arc::new(Semaphore::new(0)), Arc::new(AtomicBool::new(false)));
    let (told, now) = (asked.clone(), answers.clone());
    let page = async move || {
        told.add_permits(1);
        while !now.load(Ordering::SeqCst) {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        ([(CACHE_CONTROL, "max-age=3600")], "page").into_response()
    };
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let origin = format!("http://{}", listener.local_addr().unwrap());
    tokio::spawn(async move { axum::serve(listener, Router::new().fallback(page)).await });
    let server = Server::start().await;
    let [mut first, second] = [on(&server.url(), &origin).await, on(&server.url(), &origin).await];
    let request = "GET /slow HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n";
    let mut client = first.connect().await;
    client.send(request).await;
    soon(asked.acquire()).await.unwrap().forget();
    // As long as the one is at it the other waits.
    let mut other = second.connect().await;
    other.send(request).await;
    let waited = tokio::time::timeout(Duration::from_millis(500), asked.acquire()).await;
    assert!(waited.is_err(), "both have asked");
    let (clock, killed) = (Clock::system(), Clock::system().now());
    first.signal("KILL").await;
    assert!(!first.exit().await.success());
    answers.store(true, Ordering::SeqCst);
    assert_eq!(body(&other.rest().await), "page");
    let took = clock.since(killed);
    assert!(took < LEASE + Duration::from_secs(1), "{took:?}");
    assert_eq!(asked.available_permits(), 1);
    second.stop().await;
}

const CLIENTS: usize = 3;

/// As the tier documents it, with twice its heartbeat and the deadline that is set here,
/// and what it may take until a note is written.
const BOUND: Duration = Duration::from_millis(2 * 250 + 100 + 100);

/// How long a node that is dead keeps others from fetching, by default.
const LEASE: Duration = Duration::from_secs(3);
