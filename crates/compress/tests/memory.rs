//! How much memory encoding takes: one test, for all that is allocated counts.
//!
//! What zstd takes is not Rust's to count: a test beside its encoder looks at it.
#![expect(clippy::unwrap_used, reason = "a test fails by a panic")]

use std::future::poll_fn;
use std::pin::pin;

use bytes::Bytes;
use http::{Request, Response};
use http_body::Body;
use peak_alloc::PeakAlloc;
use tower::{Layer, ServiceExt};
use tower_edge_compress::{CompressBody, CompressLayer};
use tower_edge_core::Coding;
use tower_edge_testkit::{Answer, MockBody, Upstream};

#[global_allocator]
static ALLOCATED: PeakAlloc = PeakAlloc;

/// A body in pieces with pauses, each piece a part of the same bytes.
async fn streaming(layer: CompressLayer, coding: Coding, plain: &Bytes) -> CompressBody<MockBody> {
    let plain = plain.clone();
    let (upstream, _) = Upstream::new(move |_, _| {
        let pieces = (0..plain.len()).step_by(PIECE);
        let pieces = pieces.map(|at| plain.slice(at..plain.len().min(at + PIECE)));
        Answer::ok(pieces.fold(MockBody::new(), |body, piece| body.data(piece).pause()))
    });
    let request = Request::get("/").header("accept-encoding", coding.as_str());
    let request = request.body(MockBody::new()).unwrap();
    let response: Response<_> = layer.layer(upstream).oneshot(request).await.unwrap();
    assert_eq!(response.headers()["content-encoding"], coding.as_str());
    response.into_body()
}

async fn read(body: CompressBody<MockBody>) {
    let mut body = pin!(body);
    while let Some(frame) = poll_fn(|cx| body.as_mut().poll_frame(cx)).await {
        frame.unwrap();
    }
}

#[tokio::test(start_paused = true)]
async fn encoders_of_streams_are_bounded_at_any_level() {
    let plain: Vec<u8> =
        (0..100_000_u32).flat_map(|n| (n.wrapping_mul(n) % 977).to_be_bytes()).collect();
    let plain = Bytes::from(plain);
    let mut all = Vec::new();
    for (coding, levels, most) in [
        (Coding::Gzip, &[1, 4, 6, 9][..], 300),
        (Coding::Deflate, &[6], 300),
        (Coding::Br, &[0, 1, 2, 5, 11], 512),
    ] {
        for &level in levels {
            let layer = || CompressLayer::new().level(coding, level);
            // Whatever is made once is made by now.
            read(streaming(layer(), coding, &plain.slice(..100_000)).await).await;
            let before = ALLOCATED.current_usage();
            ALLOCATED.reset_peak_usage();
            read(streaming(layer(), coding, &plain).await).await;
            let peak = (ALLOCATED.peak_usage() - before) >> 10;
            all.push((coding.as_str(), level, peak));
            assert!(peak <= most, "{peak} KiB for {} at level {level}", coding.as_str());
        }
    }
    println!("{all:?}");
}

const PIECE: usize = 16 << 10;
