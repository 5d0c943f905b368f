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

    fn turn(&self, mood: Mood) {
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

/// Asks until the circuit is open; gives the times of the failures before it, and
/// of the refusal.
async fn until_refused(gateway: &Program, failure: u16) -> (Vec<Duration>, Duration) {
    let mut failed = Vec::new();
    loop {
        match get(gateway, "/").await {
            (503, time) => return (failed, time),
            (status, time) => {
                assert_eq!(status, failure);
                failed.push(time);
            }
        }
    }
}

/// Asks until there is a good answer again; gives the time that it took.
async fn until_well(gateway: &Program) -> Duration {
    let clock = Clock::system();
    let start = clock.now();
    while get(gateway, "/").await.0 != 200 {}
    clock.since(start)
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
    let (failed, refused) = until_refused(&gateway, 502).await;
    // One more of the calls went well.
    assert!((19..22).contains(&failed.len()), "{}", failed.len());
    let answers = all_at_once(&gateway, 200).await;
    let probes = answers.iter().filter(|(status, _)| *status != 503).count();
    assert!(probes <= 9, "{probes} of 200 are more than three probes, three times");
    origin.rise().await;
    let before = origin.asked();
    let recovered = until_well(&gateway).await;
    assert_eq!(origin.asked() - before, 1, "the first that reached it was answered");
    for _ in 0..100 {
        assert_eq!(get(&gateway, "/").await.0, 200);
    }
    tell("dies", median(failed), refused, probes as u64, recovered);
}

#[tokio::test]
async fn a_hanging_origin_costs_no_more_time_than_until_it_opens() {
    let origin = Origin::start().await;
    let gateway = before(&origin, &["--timeout", "1500"]).await;
    origin.turn(Mood::Hangs);
    let failed = all_at_once(&gateway, 20).await;
    assert!(failed.iter().all(|(status, _)| *status == 504), "{failed:?}");
    assert_eq!(origin.asked(), 20);
    let (_, refused) = until_refused(&gateway, 504).await;
    let before = origin.asked();
    let answers = all_at_once(&gateway, 200).await;
    let reached = origin.asked() - before;
    let probes = answers.iter().filter(|(status, _)| *status != 503).count();
    assert_eq!(probes as u64, reached, "who is not refused is a probe");
    assert!(reached <= 6);
    origin.turn(Mood::Well);
    let recovered = until_well(&gateway).await;
    for _ in 0..100 {
        assert_eq!(get(&gateway, "/").await.0, 200);
    }
    let failed = failed.into_iter().map(|(_, time)| time).collect();
    tell("hangs", median(failed), refused, reached, recovered);
}

#[tokio::test]
async fn an_origin_that_comes_back_slowly_gets_no_herd() {
    let origin = Origin::start().await;
    let gateway = before(&origin, &[]).await;
    origin.turn(Mood::Fails);
    let (failed, refused) = until_refused(&gateway, 500).await;
    assert!((20..23).contains(&failed.len()), "{}", failed.len());
    // It takes requests again, but is long about the first ones.
    origin.turn(Mood::Hangs);
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
    origin.turn(Mood::Well);
    let recovered = until_well(&gateway).await;
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
    let circles = "Via: 1.1 tower-edge, 1.1 other\r\n".repeat(50);
    let grpc = format!("POST / HTTP/1.1\r\nHost: h\r\nContent-Type: application/grpc\r\n{circles}");
    for (head, answer) in [
        ("CONNECT h:1 HTTP/1.1\r\nHost: h:1\r\n", "501"),
        (&format!("GET / HTTP/1.1\r\nHost: h\r\n{circles}"), "508"),
        (&grpc, "200"),
    ] {
        for _ in 0..40 {
            let said = gateway.exchange(&format!("{head}Connection: close\r\n\r\n")).await;
            assert!(said.starts_with(&format!("HTTP/1.1 {answer} ")), "{said}");
        }
    }
    assert_eq!(origin.asked(), 0);
    assert_eq!(get(&gateway, "/").await.0, 200);
}

#[tokio::test]
async fn without_the_breaker_every_request_goes_on() {
    let origin = Origin::start().await;
    let gateway = before(&origin, &["--no-breaker"]).await;
    origin.turn(Mood::Fails);
    for _ in 0..50 {
        assert_eq!(get(&gateway, "/").await.0, 500);
    }
    assert_eq!(origin.asked(), 50);
}
