//! What a real Prometheus makes of a scrape.
#![expect(clippy::unwrap_used, reason = "a test fails by a panic")]

use std::convert::Infallible;
use std::fs;
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use http::header::{ACCEPT, CONTENT_TYPE};
use http::{Request, Response};
use http_body_util::{BodyExt, Empty, Full};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::client::legacy::Client;
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto;
use tokio::net::TcpListener;
use tokio::time::{advance, sleep, timeout};
use tower::{Layer, ServiceExt};
use tower_edge_core::Clock;
use tower_edge_metrics::{LatencyLayer, PrometheusHandle, PrometheusRecorder};
use tower_edge_testkit::MockBody;

#[tokio::test]
async fn prometheus_scrapes_native_histograms_with_our_buckets() {
    let recorder = PrometheusRecorder::new();
    let handle = recorder.handle();
    // Times from 1 ms to 1 s, in no time, on a thread whose clock is paused.
    std::thread::spawn(move || metrics::with_local_recorder(&recorder, serve_a_thousand))
        .join()
        .unwrap();
    let scraped = serve(handle).await;
    let prometheus = Prometheus::start(scraped).await;
    let count = "histogram_count(http_server_request_duration_seconds)";
    assert_eq!(prometheus.ask(count).await, 1_000.0);
    for q in [0.1, 0.5, 0.9, 0.99] {
        let query = format!("histogram_quantile({q}, http_server_request_duration_seconds)");
        let seconds = prometheus.ask(&query).await;
        // A bucket is 2.2 % wide, and Prometheus looks for the place inside it.
        assert!((seconds / q - 1.0).abs() < 0.01, "p{q}: {seconds}");
    }
    let sum = "histogram_sum(http_server_request_duration_seconds)";
    assert!((prometheus.ask(sum).await - 500.5).abs() < 1e-6);
}

/// Answers GET /1 after 1 ms, and so on to GET /1000.
#[tokio::main(flavor = "current_thread", start_paused = true)]
async fn serve_a_thousand() {
    let layer = LatencyLayer::new().clock(Clock::anchored(SystemTime::UNIX_EPOCH));
    let service = layer.layer(tower::service_fn(async |request: Request<MockBody>| {
        let millis = request.uri().path()[1..].parse().unwrap();
        advance(Duration::from_millis(millis)).await;
        Ok::<_, Infallible>(Response::new(MockBody::new()))
    }));
    for millis in 1..=1_000 {
        let request = Request::get(format!("/{millis}")).body(MockBody::new()).unwrap();
        drop(service.clone().oneshot(request).await.unwrap());
    }
}

/// Serves what is scraped, as long as the test runs.
async fn serve(handle: PrometheusHandle) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let handle = handle.clone();
            let service = service_fn(move |request: Request<Incoming>| {
                let (media_type, body) = handle.render_for(request.headers().get(ACCEPT));
                let response = Response::builder().header(CONTENT_TYPE, media_type);
                async move { response.body(Full::new(Bytes::from(body))) }
            });
            tokio::spawn(async move {
                let server = auto::Builder::new(TokioExecutor::new());
                drop(server.serve_connection(TokioIo::new(stream), service).await);
            });
        }
    });
    address
}

/// A Prometheus that scrapes one target each second; stopped when it is dropped.
struct Prometheus {
    process: Child,
    address: SocketAddr,
}

impl Prometheus {
    async fn start(target: SocketAddr) -> Self {
        let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("prometheus");
        let _ = fs::remove_dir_all(&folder);
        fs::create_dir_all(&folder).unwrap();
        let config = format!(
            "global: {{ scrape_interval: 1s }}\n\
             scrape_configs: [{{ job_name: test, static_configs: [{{ targets: ['{target}'] }}] }}]\n"
        );
        fs::write(folder.join("prometheus.yml"), config).unwrap();
        let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let address = free.local_addr().unwrap();
        drop(free);
        let process = Command::new("prometheus")
            .arg(format!("--config.file={}", folder.join("prometheus.yml").display()))
            .arg(format!("--storage.tsdb.path={}", folder.join("data").display()))
            .arg(format!("--web.listen-address={address}"))
            .arg("--enable-feature=native-histograms")
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("prometheus is installed: Debian's package has its name");
        Self { process, address }
    }

    /// The answer to a query, once there is one.
    async fn ask(&self, query: &str) -> f64 {
        let query = query.replace('(', "%28").replace(')', "%29").replace(' ', "%20");
        let uri = format!("http://{}/api/v1/query?query={query}", self.address);
        let client = Client::builder(TokioExecutor::new()).build_http();
        let answer = async {
            loop {
                let request = Request::get(&uri).body(Empty::<Bytes>::new()).unwrap();
                if let Ok(response) = client.request(request).await
                    && let Ok(body) = response.into_body().collect().await
                    && let Some(value) = value(&String::from_utf8_lossy(&body.to_bytes()))
                {
                    return value;
                }
                sleep(Duration::from_millis(50)).await;
            }
        };
        timeout(Duration::from_secs(60), answer).await.expect("Prometheus answers at last")
    }
}

impl Drop for Prometheus {
    fn drop(&mut self) {
        self.process.kill().unwrap();
        self.process.wait().unwrap();
    }
}

/// Of `"value":[1700000000.1,"0.5"]`, as the API writes a sample.
fn value(answer: &str) -> Option<f64> {
    let (_, sample) = answer.split_once("\"value\":[")?;
    sample.split('"').nth(1)?.parse().ok()
}
