//! An origin that fails in several ways, behind the gateway's circuit breaker.
//!
//! `cargo test -p tower-edge-tests --test gateway breaker -- --nocapture` prints
//! the table that stands in the docs of the breaker.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::{JoinHandle, JoinSet};
use tower_edge::core::Clock;
use tower_edge_tests::{Program, soon};

use crate::gateway;

/// What an origin does with requests.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Mood {
    Well,
    Fails,
    Hangs,
}

/// An origin with moods; 500 under `/bad` in all of them.
struct Origin {
    address: SocketAddr,
    mood: watch::Sender<Mood>,
    asked: Arc<AtomicU64>,
    serving: Option<JoinHandle<()>>,
}

impl Origin {
    async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (mood, asked) = (watch::Sender::new(Mood::Well), Arc::default());
        let mut origin = Self { address, mood, asked, serving: None };
        origin.serve(listener);
        origin
    }

    /// Closes its port and all its connections.
    async fn die(&mut self) {
        let serving = self.serving.take().unwrap();
        serving.abort();
        let _ = serving.await;
    }

    /// Listens on its port again.
    async fn rise(&mut self) {
        self.serve(TcpListener::bind(self.address).await.unwrap());
    }

    fn become_(&self, mood: Mood) {
        self.mood.send_replace(mood);
    }

    fn asked(&self) -> u64 {
        self.asked.load(Ordering::Relaxed)
    }

    fn serve(&mut self, listener: TcpListener) {
        let (mood, asked) = (self.mood.subscribe(), self.asked.clone());
        self.serving = Some(tokio::spawn(async move {
            let mut connections = JoinSet::new();
            while let Ok((stream, _)) = listener.accept().await {
                connections.spawn(answer(stream, mood.clone(), asked.clone()));
            }
        }));
    }
}

async fn answer(mut stream: TcpStream, mut mood: watch::Receiver<Mood>, asked: Arc<AtomicU64>) {
    let mut read = Vec::new();
    while !matches!(stream.read_buf(&mut read).await, Ok(0) | Err(_)) {
        let Some(end) = read.windows(4).position(|window| window == b"\r\n\r\n") else { continue };
        let head = String::from_utf8_lossy(&read.drain(..end + 4).collect::<Vec<_>>()).into_owned();
        asked.fetch_add(1, Ordering::Relaxed);
        let mood = *mood.wait_for(|mood| *mood != Mood::Hangs).await.unwrap();
        let status = match mood == Mood::Fails || head.starts_with("GET /bad") {
            true => "500 Internal Server Error",
            false => "200 OK",
        };
        let answer = format!("HTTP/1.1 {status}\r\nContent-Length: 2\r\n\r\nok");
        let _ = stream.write_all(answer.as_bytes()).await;
    }
}

/// The status of an answer, and how long it took.
async fn get(gateway: &Program, path: &str) -> (u16, Duration) {
    let clock = Clock::system();
    let start = clock.now();
    let request = format!("GET {path} HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n");
    let answer = gateway.exchange(&request).await;
    let status = answer.split(' ').nth(1).unwrap().parse().unwrap();
    assert_eq!(status == 503, answer.contains("\r\nretry-after: "), "{answer}");
    (status, clock.since(start))
}

/// As so many clients at once.
async fn all_at_once(gateway: &Arc<Program>, clients: usize) -> Vec<(u16, Duration)> {
    let mut answers = JoinSet::new();
    for _ in 0..clients {
        let gateway = gateway.clone();
        answers.spawn(async move { get(&gateway, "/").await });
    }
    answers.join_all().await
}

async fn before(origin: &Origin, flags: &[&str]) -> Arc<Program> {
    let url = format!("http://{}", origin.address);
    let flags = [&["--origin", &url, "--no-cache"], flags].concat();
    Arc::new(gateway(&flags).await)
}

/// Asks until there is an answer of the origin's again; gives the statuses of
/// those before it, and how long it took.
async fn until_well(gateway: &Program) -> (Vec<u16>, Duration) {
    let clock = Clock::system();
    let start = clock.now();
    let mut refused = Vec::new();
    loop {
        match get(gateway, "/").await {
            (200, _) => return (refused, clock.since(start)),
            (status, _) => refused.push(status),
        }
    }
}

fn median(mut times: Vec<Duration>) -> Duration {
    times.sort_unstable();
    times[times.len() / 2]
}

fn tell(what: &str, failed: Duration, refused: Duration, reached: u64, recovered: Duration) {
    println!(
        "| {what} | {:.1} ms | {:.1} ms | {reached} | {:.1} s |",
        failed.as_secs_f64() * 1e3,
        refused.as_secs_f64() * 1e3,
        recovered.as_secs_f64(),
    );
}

#[tokio::test]
async fn a_dead_origin_is_left_alone_until_it_is_back() {
    let mut origin = Origin::start().await;
    let gateway = before(&origin, &[]).await;
    assert_eq!(get(&gateway, "/").await.0, 200);
    origin.die().await;
    let mut failed = Vec::new();
    loop {
        match get(&gateway, "/").await {
            (502, time) => failed.push(time),
            (status, _) => break assert_eq!(status, 503),
        }
    }
    // One more of the calls went well.
    assert_eq!(failed.len(), 19);
    let refused = all_at_once(&gateway, 200).await;
    let probes = refused.iter().filter(|(status, _)| *status != 503).count();
    assert!(probes <= 9, "{probes} of 200 are more than three probes, twice");
    origin.rise().await;
    let before = origin.asked();
    let (_, recovered) = until_well(&gateway).await;
    assert_eq!(origin.asked() - before, 1, "the first that reached it was answered");
    for _ in 0..100 {
        assert_eq!(get(&gateway, "/").await.0, 200);
    }
    let refused = refused.into_iter().map(|(_, time)| time).collect();
    tell("dies", median(failed), median(refused), 0, recovered);
}

#[tokio::test]
async fn a_hanging_origin_costs_no_more_time_than_until_it_opens() {
    let origin = Origin::start().await;
    let gateway = before(&origin, &["--timeout", "1500"]).await;
    origin.become_(Mood::Hangs);
    let failed = all_at_once(&gateway, 20).await;
    assert!(failed.iter().all(|(status, _)| *status == 504), "{failed:?}");
    let before = origin.asked();
    assert_eq!(before, 20);
    let answers = all_at_once(&gateway, 200).await;
    let reached = origin.asked() - before;
    let (refused, probes): (Vec<_>, Vec<_>) =
        answers.into_iter().partition(|(status, _)| *status == 503);
    assert_eq!(probes.len() as u64, reached, "who is not refused is a probe");
    assert!(reached <= 3);
    origin.become_(Mood::Well);
    let (_, recovered) = until_well(&gateway).await;
    for _ in 0..100 {
        assert_eq!(get(&gateway, "/").await.0, 200);
    }
    let times = |of: Vec<(u16, Duration)>| median(of.into_iter().map(|(_, time)| time).collect());
    tell("hangs", times(failed), times(refused), reached, recovered);
}

#[tokio::test]
async fn an_origin_that_comes_back_slowly_gets_no_herd() {
    let origin = Origin::start().await;
    let gateway = before(&origin, &[]).await;
    origin.become_(Mood::Fails);
    let mut failed = Vec::new();
    for _ in 0..20 {
        let (status, time) = get(&gateway, "/").await;
        assert_eq!(status, 500);
        failed.push(time);
    }
    let (status, refused) = get(&gateway, "/").await;
    assert_eq!(status, 503);
    // It takes requests again, but is long about the first ones.
    origin.become_(Mood::Hangs);
    let before = origin.asked();
    let mut clients = JoinSet::new();
    while origin.asked() - before < 3 {
        let gateway = gateway.clone();
        clients.spawn(async move { get(&gateway, "/").await.0 });
        while clients.len() > 3 {
            assert_eq!(clients.join_next().await.unwrap().unwrap(), 503);
        }
    }
    let refusals = all_at_once(&gateway, 100).await;
    assert!(refusals.iter().all(|(status, _)| *status == 503));
    assert_eq!(origin.asked() - before, 3, "the places of the probes are taken");
    origin.become_(Mood::Well);
    let (_, recovered) = until_well(&gateway).await;
    soon(clients.join_all()).await;
    let all = all_at_once(&gateway, 100).await;
    assert!(all.iter().all(|(status, _)| *status == 200), "{all:?}");
    tell("comes back slowly", median(failed), refused, 3, recovered);
}

#[tokio::test]
async fn one_bad_route_among_good_ones_opens_nothing() {
    let origin = Origin::start().await;
    let gateway = before(&origin, &[]).await;
    let mut failed = Vec::new();
    for _ in 0..40 {
        assert_eq!(get(&gateway, "/good").await.0, 200);
        assert_eq!(get(&gateway, "/well").await.0, 200);
        let (status, time) = get(&gateway, "/bad").await;
        assert_eq!(status, 500);
        failed.push(time);
    }
    assert_eq!(origin.asked(), 120);
    tell("one route of three fails", median(failed), Duration::ZERO, 0, Duration::ZERO);
    // At a lower rate it does.
    let gateway = before(&origin, &["--breaker", "0.3"]).await;
    let mut statuses = Vec::new();
    for path in ["/good", "/well", "/bad"].into_iter().cycle().take(60) {
        statuses.push(get(&gateway, path).await.0);
    }
    assert_eq!(statuses.iter().position(|status| *status == 503), Some(21));
}

#[tokio::test]
async fn what_any_client_can_ask_for_opens_nothing() {
    let origin = Origin::start().await;
    let gateway = before(&origin, &[]).await;
    for _ in 0..50 {
        let answer = gateway
            .exchange("CONNECT h:1 HTTP/1.1\r\nHost: h:1\r\nConnection: close\r\n\r\n")
            .await;
        assert!(answer.starts_with("HTTP/1.1 501 "), "{answer}");
    }
    assert_eq!(get(&gateway, "/").await.0, 200);
}

#[tokio::test]
async fn without_the_breaker_every_request_goes_on() {
    let origin = Origin::start().await;
    let gateway = before(&origin, &["--no-breaker"]).await;
    origin.become_(Mood::Fails);
    for _ in 0..50 {
        assert_eq!(get(&gateway, "/").await.0, 500);
    }
    assert_eq!(origin.asked(), 50);
}
