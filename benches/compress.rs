//! What it costs to encode responses, and not to.
//!
//! - `bypass_no_header`: a client that asks for no coding, JSON of 1 KiB, in a response
//!   whose fields have room for a line of `Vary`;
//! - `bypass_type`: a browser, and an image of 1 KiB;
//! - `gzip_1k`, `gzip_20k`, `gzip_1m`, `zstd_20k`, `br_20k`: JSON of that size, all
//!   of it in hand;
//! - `stream_1m`: gzip of JSON in frames of 8 KiB, the second of which is late.
//!
//! With `--sizes` in place of other arguments it prints how many bytes each makes of
//! them.

use std::convert::Infallible;
use std::fmt::Debug;
use std::pin::{Pin, pin};
use std::process::ExitCode;
use std::task::{Context, Poll, Waker};

use axum::body::Body;
use bytes::Bytes;
use http::{Request, Response, StatusCode};
use http_body::{Frame, SizeHint};
use http_body_util::{BodyExt, Full};
use tower::util::{MapResponse, ServiceExt};
use tower::{Layer, Service};
use tower_edge_benches::{Bench, Reply, Requests, Scenario, Upstream};
use tower_edge_compress::{Compress, CompressLayer};
use tower_http::compression::{Compression, CompressionLayer};

fn main() -> ExitCode {
    if std::env::args().any(|arg| arg == "--sizes") {
        return sizes();
    }
    let mut bench = Bench::new("compress");
    let get = || Requests::get("http://bench.test/");
    let browser = || get().field("accept-encoding", "gzip, deflate, br, zstd");

    let image = Upstream::new(KIB).field(("content-type", "image/png"));
    let kib = Reply::new(StatusCode::OK, KIB);
    for (name, requests, upstream) in
        [("bypass_no_header", get(), api(KIB)), ("bypass_type", browser(), image)]
    {
        let bypass = Scenario::new(name, requests, upstream);
        bench.calls(&bypass, "bare", kib, |upstream| upstream);
        bench.calls(&bypass, "tower-edge", kib, tower_edge);
        bench.calls(&bypass, "tower-http", kib, tower_http);
    }

    let encoded = Reply::of_any_size(StatusCode::OK);
    for (name, coding, size) in ENCODED {
        let requests = get().field("accept-encoding", coding);
        let scenario = Scenario::new(name, requests, api(size));
        let scenario = if size > 100 * KIB { scenario.heavy() } else { scenario };
        bench.calls(&scenario, "bare", Reply::new(StatusCode::OK, size), |upstream| upstream);
        bench.calls(&scenario, "tower-edge", encoded, tower_edge);
        bench.calls(&scenario, "tower-http", encoded, tower_http);
    }

    let requests = get().field("accept-encoding", "gzip");
    let stream = Scenario::new("stream_1m", requests, api(KIB * KIB)).heavy();
    bench.calls(&stream, "bare", Reply::new(StatusCode::OK, KIB * KIB), streaming);
    bench.calls(&stream, "tower-edge", encoded, |upstream| tower_edge(streaming(upstream)));
    bench.calls(&stream, "tower-http", encoded, |upstream| tower_http(streaming(upstream)));
    bench.run()
}

fn tower_edge<S>(inner: S) -> Compress<S> {
    CompressLayer::new().layer(inner)
}

fn tower_http<S>(inner: S) -> Compression<S> {
    CompressionLayer::new().layer(inner)
}

fn api(size: usize) -> Upstream {
    Upstream::of(json(size)).field(("content-type", "application/json")).room(1)
}

/// Prints how many bytes are made of those of each scenario.
fn sizes() -> ExitCode {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build();
    let runtime = runtime.expect("a runtime without I/O needs nothing");
    let stream = [("stream_1m", "gzip", KIB * KIB)];
    for (name, coding, size) in ENCODED.into_iter().chain(stream) {
        let upstream = api(size);
        let (edge, http) = match name {
            "stream_1m" => runtime.block_on(async {
                let edge = size_of(tower_edge(streaming(upstream)), coding).await;
                (edge, size_of(tower_http(streaming(upstream)), coding).await)
            }),
            _ => runtime.block_on(async {
                let edge = size_of(tower_edge(upstream), coding).await;
                (edge, size_of(tower_http(upstream), coding).await)
            }),
        };
        println!("compress/{name} bare {size} tower-edge {edge} tower-http {http}");
    }
    ExitCode::SUCCESS
}

async fn size_of<S, B>(service: S, coding: &str) -> usize
where
    S: Service<Request<Body>, Response = Response<B>, Error = Infallible>,
    B: http_body::Body<Data = Bytes, Error: Debug>,
{
    let request = Request::get("http://bench.test/").header("accept-encoding", coding);
    let request = request.body(Body::empty()).expect("a request of a bench is valid");
    let Ok(response) = service.oneshot(request).await;
    assert_eq!(response.headers()["content-encoding"], coding);
    let body = response.into_body().collect().await;
    body.expect("no body of a bench breaks off").to_bytes().len()
}

/// Orders as a shop would list them: names and words that return, numbers that do
/// not.
fn json(size: usize) -> Vec<u8> {
    let mut turn = 12_345_u64;
    let mut roll = move |sides: u64| {
        turn = turn.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        (turn >> 33) % sides
    };
    let mut text = String::from("{\"orders\":[");
    while text.len() < size {
        let (id, number, price) = (roll(10_000_000), roll(100_000), roll(50_000));
        let (first, last) = (NAMES[roll(8) as usize], NAMES[roll(8) as usize]);
        let note = [(); 3].map(|()| WORDS[roll(32) as usize]).join(" ");
        let (reference, minute) = (roll(1 << 31), roll(3_600));
        text += &format!(
            "{{\"id\":{id},\"customer\":{{\"name\":\"{first} {last}\",\"email\":\
             \"user{number}@example.com\"}},\"ref\":\"{reference:08x}\",\"note\":\"{note}\",\
             \"price\":{price},\"created\":\"2026-01-01T{:02}:{:02}:00Z\"}},",
            minute / 60 % 24,
            minute % 60,
        );
    }
    text.truncate(size);
    text.into_bytes()
}

type Streaming = MapResponse<Upstream, fn(Response<Full<Bytes>>) -> Response<Frames>>;

/// The upstream with its body in frames.
fn streaming(upstream: Upstream) -> Streaming {
    MapResponse::new(upstream, |response| response.map(Frames::of))
}

/// A body whose size nobody knows.
#[derive(Debug)]
struct Frames {
    rest: Bytes,
    /// Whether the second frame is still to come.
    late: bool,
}

impl Frames {
    fn of(body: Full<Bytes>) -> Self {
        let mut collected = pin!(body.collect());
        let mut context = Context::from_waker(Waker::noop());
        match collected.as_mut().poll(&mut context) {
            Poll::Ready(Ok(whole)) => Self { rest: whole.to_bytes(), late: true },
            Poll::Pending => panic!("all of it is in hand"),
        }
    }
}

impl http_body::Body for Frames {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        if self.late && self.rest.len() <= KIB * KIB - FRAME {
            self.late = false;
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
        let size = self.rest.len().min(FRAME);
        let frame = (size > 0).then(|| Ok(Frame::data(self.rest.split_to(size))));
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.rest.is_empty()
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::new()
    }
}

const ENCODED: [(&str, &str, usize); 5] = [
    ("gzip_1k", "gzip", KIB),
    ("gzip_20k", "gzip", 20 * KIB),
    ("gzip_1m", "gzip", KIB * KIB),
    ("zstd_20k", "zstd", 20 * KIB),
    ("br_20k", "br", 20 * KIB),
];
const KIB: usize = 1_024;
const FRAME: usize = 8 * KIB;
const NAMES: [&str; 8] = ["Alice", "Bob", "Carol", "Dave", "Erin", "Frank", "Grace", "Heidi"];
const WORDS: [&str; 32] = [
    "please",
    "leave",
    "at",
    "the",
    "door",
    "ring",
    "twice",
    "gift",
    "wrap",
    "call",
    "before",
    "fragile",
    "handle",
    "with",
    "care",
    "after",
    "six",
    "only",
    "floor",
    "left",
    "garden",
    "office",
    "signature",
    "required",
    "discount",
    "split",
    "shipment",
    "urgent",
    "paid",
    "open",
    "returned",
    "late",
];
