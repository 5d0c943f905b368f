//! What the layer measures on a real server, beside what its clients measure.
#![expect(clippy::unwrap_used, reason = "a test fails by a panic")]

use std::convert::Infallible;
use std::env;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use hdrhistogram::Histogram;
use http::{Method, Request, Response};
use http_body::{Body, Frame};
use http_body_util::{BodyExt, Empty};
use hyper::body::Incoming;
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto;
use hyper_util::service::TowerToHyperService;
use tokio::net::TcpListener;
use tokio::task::JoinSet;
use tokio::time::{interval, sleep, timeout};
use tower::{Layer, service_fn};
use tower_edge_core::Clock;
use tower_edge_metrics::{LatencyHandle, LatencyLayer};

/// Each request takes at least the time that it asks for, and its client cannot
/// be done before the server is: so each quantile of ours lies between that of
/// the times asked for and that of the client, whatever the machine does. The
/// distance of the two is the noise of the loopback.
#[tokio::test]
async fn quantiles_lie_between_what_was_asked_for_and_what_clients_saw() {
    let layer = LatencyLayer::new();
    let handle = layer.handle();
    let address = serve(layer).await;
    let (client, clock) = (client(false), Clock::system());
    let mut asked = recorder();
    let mut seen = recorder();
    let mut requests = JoinSet::new();
    // An open loop: requests come when they are due, not when others are done.
    let mut due = interval(Duration::from_millis(2));
    for i in 0..if is_long() { 5_000 } else { 400 } {
        due.tick().await;
        let millis = match i % 100 {
            ..90 => 3 + i % 7,
            90..99 => 25,
            _ => 80,
        };
        asked.record(millis * 1_000_000).unwrap();
        let client = client.clone();
        requests.spawn(async move {
            let start = clock.now();
            let response =
                client.request(request(address, &format!("/wait/{millis}"))).await.unwrap();
            response.into_body().collect().await.unwrap();
            clock.since(start)
        });
    }
    while let Some(took) = requests.join_next().await {
        seen.record(took.unwrap().as_nanos() as u64).unwrap();
    }
    settled(&handle, asked.len()).await;
    let ours = handle.snapshot().merged();
    assert_eq!((ours.outcomes.success, handle.in_flight()), (asked.len(), 0));
    for q in [0.5, 0.9, 0.95, 0.99, 0.999] {
        let nanos = ours.total.quantile(q).unwrap().as_nanos() as f64;
        let (asked, seen) = (asked.value_at_quantile(q) as f64, seen.value_at_quantile(q) as f64);
        // The recorder of the client has an error of a thousandth.
        let (low, high) = (asked * (1.0 - ERROR - 0.001), seen * (1.0 + ERROR + 0.001));
        assert!((low..=high).contains(&nanos), "p{q}: {low} {nanos} {high}");
        println!(
            "p{q}: asked {:.2} ms, ours {:.2}, client {:.2}",
            asked / 1e6,
            nanos / 1e6,
            seen / 1e6
        );
    }
}

#[tokio::test]
async fn each_request_is_counted_once_and_as_what_it_was() {
    let layer = LatencyLayer::new();
    let handle = layer.handle();
    let address = serve(layer).await;
    for http2 in [false, true] {
        for (method, path, leave, expected) in [
            (Method::GET, "/wait/0", Leave::Never, (Some(200), [1, 0, 0])),
            (Method::HEAD, "/wait/0", Leave::Never, (Some(200), [1, 0, 0])),
            (Method::GET, "/unchanged", Leave::Never, (Some(304), [1, 0, 0])),
            (Method::GET, "/breaks", Leave::Broken, (Some(200), [0, 1, 0])),
            (Method::GET, "/forever", Leave::AfterFrame, (Some(200), [0, 0, 1])),
            (Method::GET, "/stuck", Leave::BeforeHead, (None, [0, 0, 1])),
        ] {
            handle.reset();
            let mut request = request(address, path);
            *request.method_mut() = method.clone();
            exchange(http2, request, leave, &handle).await;
            settled(&handle, 1).await;
            let snapshot = handle.snapshot();
            let [series] = snapshot.series() else { panic!("{snapshot:?}") };
            let all = series.measurements();
            let outcomes = [all.outcomes.success, all.outcomes.failure, all.outcomes.abandoned];
            let status = series.status().map(|status| status.as_u16());
            assert_eq!((status, outcomes), expected, "{method} {path}, HTTP/2: {http2}");
        }
    }
}

#[tokio::test]
async fn in_flight_is_zero_after_a_storm_of_cancelled_requests() {
    let layer = LatencyLayer::new();
    let handle = layer.handle();
    let address = serve(layer).await;
    for http2 in [false, true] {
        let client = client(http2);
        let mut requests = JoinSet::new();
        for i in 0..if is_long() { 3_000 } else { 300 } {
            let (client, request) =
                (client.clone(), request(address, ["/stuck", "/forever"][i % 2]));
            requests.spawn(async move {
                let response = client.request(request).await.unwrap();
                response.into_body().collect().await.map(drop).unwrap_or_default();
            });
            if i % 10 == 0 {
                tokio::task::yield_now().await;
            }
        }
        until(|| handle.in_flight() > 0).await;
        requests.shutdown().await;
        drop(client);
        until(|| handle.in_flight() == 0).await;
    }
    let all = handle.snapshot().merged();
    assert_eq!(all.outcomes.abandoned, all.count());
}

/// When a client goes away.
#[derive(Clone, Copy, PartialEq)]
enum Leave {
    BeforeHead,
    AfterFrame,
    /// Not at all: the server does.
    Broken,
    Never,
}

async fn exchange(
    http2: bool,
    request: Request<Empty<Bytes>>,
    leave: Leave,
    handle: &LatencyHandle,
) {
    let client = client(http2);
    if leave == Leave::BeforeHead {
        let call = tokio::spawn(async move { client.request(request).await.map(drop) });
        until(|| handle.in_flight() == 1).await;
        call.abort();
        return;
    }
    let response = client.request(request).await;
    if leave == Leave::Broken {
        // The head may go down with the body.
        let Ok(response) = response else { return };
        return assert!(response.into_body().collect().await.is_err());
    }
    let mut body = response.unwrap().into_body();
    match leave {
        Leave::AfterFrame => assert!(body.frame().await.unwrap().is_ok()),
        _ => drop(body.collect().await.unwrap()),
    }
}

/// A hyper server for HTTP/1 and HTTP/2, until the test ends.
async fn serve(layer: LatencyLayer) -> SocketAddr {
    let service = layer.layer(service_fn(async |request: Request<Incoming>| {
        let path = request.uri().path();
        let (status, script) = match path {
            "/unchanged" => (304, Script::Whole),
            "/breaks" => (200, Script::Breaks),
            "/forever" => (200, Script::Forever),
            "/stuck" => std::future::pending().await,
            wait => {
                let millis = wait.strip_prefix("/wait/").unwrap().parse().unwrap();
                sleep(Duration::from_millis(millis)).await;
                (200, Script::Whole)
            }
        };
        // Over HTTP/2 hyper sends what a service should not have put there.
        let bodiless = request.method() == Method::HEAD || status == 304;
        let body = Scripted { script, sent: bodiless };
        Ok::<_, Infallible>(Response::builder().status(status).body(body).unwrap())
    }));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let service = TowerToHyperService::new(service.clone());
            tokio::spawn(async move {
                let server = auto::Builder::new(TokioExecutor::new());
                drop(server.serve_connection(TokioIo::new(stream), service).await);
            });
        }
    });
    address
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Script {
    Whole,
    Breaks,
    Forever,
}

struct Scripted {
    script: Script,
    sent: bool,
}

impl Body for Scripted {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<io::Result<Frame<Bytes>>>> {
        if !self.sent {
            self.sent = true;
            return Poll::Ready(Some(Ok(Frame::data(Bytes::from_static(b"0123456789")))));
        }
        match self.script {
            Script::Whole => Poll::Ready(None),
            Script::Breaks => Poll::Ready(Some(Err(io::Error::other("on purpose")))),
            // Nobody wakes it: only the client's leaving ends it.
            Script::Forever => Poll::Pending,
        }
    }
}

type TestClient = Client<HttpConnector, Empty<Bytes>>;

fn client(http2: bool) -> TestClient {
    Client::builder(TokioExecutor::new()).http2_only(http2).build_http()
}

fn request(address: SocketAddr, path: &str) -> Request<Empty<Bytes>> {
    Request::get(format!("http://{address}{path}")).body(Empty::new()).unwrap()
}

/// Waits until so many requests have ended; a server notes the end a moment
/// after its client.
async fn settled(handle: &LatencyHandle, requests: u64) {
    let ended = || handle.snapshot().merged().count() >= requests && handle.in_flight() == 0;
    until(ended).await;
}

async fn until(holds: impl Fn() -> bool) {
    let wait = async {
        while !holds() {
            sleep(Duration::from_millis(1)).await;
        }
    };
    timeout(Duration::from_secs(30), wait).await.expect("it holds at last");
}

fn recorder() -> Histogram<u64> {
    Histogram::new_with_bounds(1_000, 60_000_000_000, 3).unwrap()
}

fn is_long() -> bool {
    env::var_os("TOWER_EDGE_LONG").is_some_and(|long| long == "1")
}

/// The relative error that the layer's histograms state.
const ERROR: f64 = 0.0109;
