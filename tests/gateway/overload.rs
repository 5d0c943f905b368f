use std::time::Duration;

use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpStream;
use tokio::time::Instant;
use tower_edge_tests::{Program, is_long, soon};

use crate::gateway;

/// What became of the requests of one run.
#[derive(Default)]
struct Run {
    /// Of the admitted ones, in microseconds, in order.
    micros: Vec<u64>,
    refused: usize,
    /// How long it took, which is more than was asked for on a busy machine.
    seconds: f64,
    /// Of the gateway, in milliseconds.
    cpu: u64,
}

impl Run {
    fn p99(&self) -> u64 {
        self.micros[self.micros.len() * 99 / 100]
    }
}

/// Offers so many requests a second, over so many connections that do not wait
/// for each other.
async fn offer(gateway: &Program, per_second: u32, connections: u32, time: Duration) -> Run {
    let before = gateway.cpu_millis();
    let each = Duration::from_secs(1) * connections / per_second;
    let count = (time.as_secs_f64() / each.as_secs_f64()) as u32;
    let start = now();
    let clients = (0..connections).map(|number| {
        let first = start + each * number / connections;
        let address = gateway.address();
        tokio::spawn(async move {
            let stream = TcpStream::connect(address).await.unwrap();
            stream.set_nodelay(true).unwrap();
            let (mut stream, mut run) = (BufReader::new(stream), Run::default());
            for turn in 0..count {
                tokio::time::sleep_until(first + each * turn).await;
                let sent = now();
                match get(&mut stream).await {
                    200 => run.micros.push(sent.elapsed_micros()),
                    429 => run.refused += 1,
                    status => panic!("{status}"),
                }
            }
            run
        })
    });
    let clients: Vec<_> = clients.collect();
    let mut all = Run::default();
    for client in clients {
        let run = soon(client).await.unwrap();
        all.micros.extend(run.micros);
        all.refused += run.refused;
    }
    all.micros.sort_unstable();
    all.seconds = start.elapsed_micros() as f64 / 1e6;
    all.cpu = gateway.cpu_millis() - before;
    all
}

/// The status of an answer, whose body is read as well.
async fn get(stream: &mut BufReader<TcpStream>) -> u16 {
    stream.write_all(b"GET /json HTTP/1.1\r\nHost: h\r\n\r\n").await.unwrap();
    let (mut line, mut status, mut length) = (String::new(), 0, 0);
    loop {
        line.clear();
        stream.read_line(&mut line).await.unwrap();
        match line.trim_end().split_once(' ') {
            Some(("HTTP/1.1", rest)) => status = rest[..3].parse().unwrap(),
            Some(("content-length:", value)) => length = value.parse().unwrap(),
            Some(_) => {}
            None => break,
        }
    }
    stream.read_exact(&mut vec![0; length]).await.unwrap();
    status
}

trait Elapsed {
    fn elapsed_micros(&self) -> u64;
}

impl Elapsed for Instant {
    fn elapsed_micros(&self) -> u64 {
        now().duration_since(*self).as_micros() as u64
    }
}

#[expect(clippy::disallowed_methods, reason = "what is measured is the real time")]
fn now() -> Instant {
    Instant::now()
}

fn median(mut of: Vec<f64>) -> f64 {
    of.sort_by(f64::total_cmp);
    of[of.len() / 2]
}

/// Twenty times the quota, beside a quiet gateway and one without a quota: five
/// rounds of each in turn. The numbers are printed, for the docs.
#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn twenty_times_the_quota_is_admitted_by_the_quota() {
    let (rounds, time) = match is_long() {
        true => (5, Duration::from_secs(4)),
        false => (1, Duration::from_millis(500)),
    };
    let limited = gateway(&["--rate", "500/1s", "--rate-key", "global"]).await;
    let open = gateway(&[]).await;
    for gateway in [&limited, &open] {
        offer(gateway, 100, 1, Duration::from_millis(200)).await;
    }
    let (mut quiet, mut loaded, mut refusal, mut hit) = (vec![], vec![], vec![], vec![]);
    for _ in 0..rounds {
        tokio::time::sleep(Duration::from_secs(1)).await;
        quiet.push(offer(&limited, 100, 4, time).await.p99() as f64);
        let hits = offer(&open, 10_000, 64, time).await;
        assert_eq!(hits.refused, 0);
        hit.push(hits.cpu as f64 * 1_000.0 / hits.micros.len() as f64);
        tokio::time::sleep(Duration::from_secs(1)).await;
        let overload = offer(&limited, 10_000, 64, time).await;
        // The burst, and what came back meanwhile.
        let most = 500.0 * (overload.seconds + 1.0);
        assert!((overload.micros.len() as f64) <= most, "{}", overload.micros.len());
        assert!(overload.refused > 0);
        loaded.push(overload.p99() as f64);
        let admitted = hit[hit.len() - 1] * overload.micros.len() as f64;
        refusal.push((overload.cpu as f64 * 1_000.0 - admitted) / overload.refused as f64);
    }
    let [quiet, loaded, refusal, hit] = [quiet, loaded, refusal, hit].map(median);
    println!("p99 of the admitted: {quiet} us alone, {loaded} us at 20 times the quota");
    println!("CPU: {refusal:.1} us a refusal, {hit:.1} us a hit");
}
