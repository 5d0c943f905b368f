//! Gateways that share a Redis: what one has fetched the other has, and whatever
//! becomes of Redis, clients get what they asked for.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use axum::Router;
use axum::http::Uri;
use axum::http::header::CACHE_CONTROL;
use axum::response::IntoResponse;
use tokio::net::TcpListener;
use tokio::task::JoinSet;
use tower_edge::core::Clock;
use tower_edge_testkit::line::{Fault, Line};
use tower_edge_testkit::redis::{Cluster, Server};
use tower_edge_tests::{Connection, Program, body, is_hit, soon};

use crate::flags::refused;
use crate::gateway;

/// An origin each of whose answers is another one, and how many it gave.
pub(crate) async fn versions() -> (String, Arc<AtomicU64>) {
    let given = Arc::new(AtomicU64::new(0));
    let count = given.clone();
    let page = async move |uri: Uri| {
        let version = count.fetch_add(1, Ordering::SeqCst);
        let page = format!("{} {version}\n", uri.path()).repeat(LINES);
        ([(CACHE_CONTROL, "max-age=3600")], page).into_response()
    };
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    tokio::spawn(async move { axum::serve(listener, Router::new().fallback(page)).await });
    (url, given)
}

/// Asks for a page, and gives what came, which is whole and of this page.
pub(crate) async fn ask(gateway: SocketAddr, path: &str) -> String {
    let mut client = Connection::to(gateway).await;
    client.send(&format!("GET {path} HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n")).await;
    let answer = client.rest().await;
    assert!(answer.starts_with("HTTP/1.1 200 "), "{path}: {answer:.300}");
    let page = body(&answer);
    let first = page.lines().next().unwrap_or_default();
    let is_whole = page.len() == (first.len() + 1) * LINES && page.lines().all(|l| l == first);
    assert!(is_whole && first.starts_with(&format!("{path} ")), "{path}: {answer:.300}");
    answer
}

/// Whether this and the page that follows are hits.
pub(crate) async fn has(gateway: &Program, path: &str) -> bool {
    is_hit(&ask(gateway.address(), path).await)
}

/// A gateway with little memory, and patience for a machine that is busy.
pub(crate) async fn on(redis: &str, origin: &str) -> Program {
    let patience = ["--redis-timeout", "5000"];
    let flags = ["--redis", redis, "--origin", origin, "--cache-memory", "1MiB"];
    gateway(&[&flags[..], &patience].concat()).await
}

/// Waits until so many resources are in Redis.
async fn until_kept(server: &Server, resources: usize) {
    let kept = async || {
        let keys = server.cli(&["KEYS", "*"]).await;
        keys.lines().filter(|key| !key.contains("{log}") && !key.ends_with(":lease")).count()
    };
    soon(async { while kept().await < resources {} }).await;
}

/// Clients that go on asking for pages, more of them than there is memory for.
struct Load {
    ended: Arc<AtomicBool>,
    answers: Arc<AtomicU64>,
    /// The longest that one had to wait, in milliseconds.
    longest: Arc<AtomicU64>,
    clients: JoinSet<()>,
}

impl Load {
    fn on(gateway: &Program) -> Self {
        let (ended, answers, longest) =
            (Arc::<AtomicBool>::default(), Arc::<AtomicU64>::default(), Arc::default());
        let client = |client: u64| {
            let (ended, answers, address) = (ended.clone(), answers.clone(), gateway.address());
            let longest: Arc<AtomicU64> = Arc::clone(&longest);
            async move {
                let clock = Clock::system();
                for number in 0.. {
                    if ended.load(Ordering::SeqCst) {
                        return;
                    }
                    let before = clock.now();
                    ask(address, &format!("/{}", (number * 7 + client * 31) % PAGES)).await;
                    let took = clock.since(before).as_millis() as u64;
                    longest.fetch_max(took, Ordering::SeqCst);
                    answers.fetch_add(1, Ordering::SeqCst);
                }
            }
        };
        let clients = (0..CLIENTS).map(client).collect();
        Self { ended, answers, longest, clients }
    }

    /// Waits for so many more answers.
    async fn go_on(&self, answers: u64) {
        let until = self.answers.load(Ordering::SeqCst) + answers;
        soon(async {
            while self.answers.load(Ordering::SeqCst) < until {
                assert_eq!(self.clients.len() as u64, CLIENTS);
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        })
        .await;
    }

    /// Ends it; fails if one of the clients has.
    async fn end(self) {
        self.ended.store(true, Ordering::SeqCst);
        soon(self.clients.join_all()).await;
        let longest = self.longest.load(Ordering::SeqCst);
        assert!(longest < LONG, "somebody waited for {longest} ms");
    }
}

/// Waits until a gateway has something from Redis that it did not fetch itself.
async fn until_shared(redis: &str, origin: &str, given: &AtomicU64) {
    let [one, other] = [on(redis, origin).await, on(redis, origin).await];
    soon(async {
        for number in 0.. {
            let path = format!("/shared/{number}");
            ask(one.address(), &path).await;
            tokio::time::sleep(Duration::from_millis(50)).await;
            let before = given.load(Ordering::SeqCst);
            if has(&other, &path).await && given.load(Ordering::SeqCst) == before {
                return;
            }
        }
    })
    .await;
    one.stop().await;
    other.stop().await;
}

#[tokio::test]
async fn what_one_gateway_has_fetched_the_other_answers_and_so_after_a_restart() {
    let (server, (origin, given)) = (Server::start().await, versions().await);
    let [first, second] = [on(&server.url(), &origin).await, on(&server.url(), &origin).await];
    for path in ["/a", "/b", "/c"] {
        assert!(!has(&first, path).await);
    }
    until_kept(&server, 3).await;
    for path in ["/a", "/b", "/c"] {
        assert!(has(&second, path).await, "{path}");
    }
    assert_eq!((first.stop().await, second.stop().await), (String::new(), String::new()));
    let third = on(&server.url(), &origin).await;
    for path in ["/a", "/b", "/c"] {
        assert!(has(&third, path).await, "{path}");
    }
    assert_eq!(given.load(Ordering::SeqCst), 3);
    assert_eq!(third.stop().await, "");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_redis_that_is_killed_and_comes_back_is_no_error_to_anybody() {
    let (mut server, (origin, given)) = (Server::start().await, versions().await);
    let gateway =
        gateway(&["--redis", &server.url(), "--origin", &origin, "--cache-memory", "1MiB"]).await;
    let load = Load::on(&gateway);
    for _ in 0..2 {
        load.go_on(300).await;
        server.kill().await;
        load.go_on(300).await;
        server.restart().await;
    }
    load.go_on(300).await;
    load.end().await;
    until_shared(&server.url(), &origin, &given).await;
    gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_redis_that_is_stopped_holds_nobody_up_for_long() {
    let (server, (origin, given)) = (Server::start().await, versions().await);
    let gateway =
        gateway(&["--redis", &server.url(), "--origin", &origin, "--cache-memory", "1MiB"]).await;
    let load = Load::on(&gateway);
    for _ in 0..3 {
        load.go_on(200).await;
        server.signal("STOP").await;
        load.go_on(300).await;
        server.signal("CONT").await;
    }
    load.go_on(200).await;
    load.end().await;
    until_shared(&server.url(), &origin, &given).await;
    gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_way_to_redis_that_fails_in_any_way_spoils_no_answer() {
    let (server, (origin, given)) = (Server::start().await, versions().await);
    let line = Line::to(server.address()).await;
    let url = format!("redis://{}", line.address());
    let gateway = gateway(&["--redis", &url, "--origin", &origin, "--cache-memory", "1MiB"]).await;
    let load = Load::on(&gateway);
    let late = Fault::Late(Duration::from_millis(20));
    for fault in [late, Fault::Silent, Fault::Torn, Fault::Garbled(997), Fault::Garbled(20_011)] {
        load.go_on(200).await;
        line.set(fault);
        load.go_on(300).await;
        line.set(Fault::None);
        line.cut();
    }
    load.go_on(200).await;
    load.end().await;
    until_shared(&url, &origin, &given).await;
    gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_master_of_a_cluster_that_is_killed_is_no_error_to_anybody() {
    let (mut cluster, (origin, given)) = (Cluster::start().await, versions().await);
    let gateway =
        gateway(&["--redis", &cluster.url(), "--origin", &origin, "--cache-memory", "1MiB"]).await;
    let load = Load::on(&gateway);
    load.go_on(300).await;
    cluster.nodes[2].kill().await;
    load.go_on(300).await;
    cluster.nodes[2].restart().await;
    load.go_on(300).await;
    load.end().await;
    until_shared(&cluster.url(), &origin, &given).await;
    gateway.stop().await;
}

#[tokio::test]
async fn a_gateway_starts_without_redis_and_finds_it_later() {
    let (mut server, (origin, given)) = (Server::start().await, versions().await);
    server.kill().await;
    let url = format!("redis://user:secret@{}", server.address());
    let gateway = on(&url, &origin).await;
    for number in 0..20 {
        ask(gateway.address(), &format!("/{number}")).await;
    }
    server.restart().await;
    server.cli(&["ACL", "SETUSER", "user", "on", ">secret", "+@all", "~*"]).await;
    until_shared(&url, &origin, &given).await;
    let said = gateway.stop().await;
    let warnings = said.lines().filter(|line| line.contains("goes on without it")).count();
    assert!((1..10).contains(&warnings), "{said}");
    assert!(said.contains(&server.address().to_string()) && !said.contains("secret"), "{said}");
}

#[tokio::test]
async fn a_url_that_is_none_is_refused_and_not_shown() {
    for (flags, right) in [
        (&["--redis", "http://:secret@h"][..], "redis://HOST"),
        (&["--redis", "redis://:secret@h:port"], "redis://HOST"),
        (&["--redis", "redis://:secret@h", "--cache-disk", "c.db"], "'--cache-disk <PATH>'"),
        (&["--redis", "redis://:secret@h", "--redis-timeout", "0"], "5000"),
        (&["--redis", "redis://:secret@h", "--on-outage-cache", "x"], "miss, stale"),
        (&["--redis", "redis://:secret@h", "--on-outage-quota", "x"], "open, closed, local"),
        (&["--redis", "http://:secret@h", "--rate", "1/1s", "--no-cache"], "redis://HOST"),
    ] {
        let error = refused(&[&["--listen", "127.0.0.1:0"], flags].concat()).await;
        assert!(error.contains(right), "{error}");
        assert!(!error.contains("secret"), "{error}");
    }
}

const LINES: usize = 1_000;
const PAGES: u64 = 200;
const CLIENTS: u64 = 4;

/// A hundred times as long as a look may take, in milliseconds.
const LONG: u64 = 5_000;
