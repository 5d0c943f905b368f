//! How much memory it takes: one test, for all that is allocated counts.
//!
//! What zstd takes is not Rust's to count: a test beside its encoder looks at it,
//! and its decoder is given no larger window than 8 MiB.
#![expect(clippy::unwrap_used, reason = "a test fails by a panic")]

use std::convert::Infallible;
use std::future::{Future, poll_fn};
use std::io::Write;
use std::num::NonZeroU64;
use std::pin::pin;
use std::task::Poll;

use bytes::Bytes;
use flate2::Compression;
use http::{Request, Response};
use http_body::Body;
use peak_alloc::PeakAlloc;
use tower::{Layer, ServiceExt, service_fn};
use tower_edge_compress::{CompressBody, CompressLayer, DecompressBody, DecompressRequestLayer};
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
async fn memory_is_bounded() {
    encoders_of_streams_are_bounded_at_any_level().await;
    bodies_in_hand_take_an_encoder_and_their_encoded_form().await;
    bombs_are_refused_before_they_go_off().await;
}

/// A gigabyte of zeros, encoded: what a flush after each part makes is the same from
/// the third part on.
fn bomb(coding: Coding) -> Vec<u8> {
    let part = vec![0; PART];
    let mut encoded = Vec::new();
    let mut ends = Vec::new();
    match coding {
        Coding::Gzip => {
            let mut encoder = flate2::write::GzEncoder::new(Vec::new(), Compression::best());
            for _ in 0..4 {
                encoder.write_all(&part).unwrap();
                encoder.flush().unwrap();
                ends.push(encoder.get_ref().len());
            }
            encoded.extend_from_slice(encoder.get_ref());
        }
        Coding::Br => {
            let mut encoder = brotli::CompressorWriter::new(Vec::new(), 4096, 5, 18);
            for _ in 0..4 {
                encoder.write_all(&part).unwrap();
                encoder.flush().unwrap();
                ends.push(encoder.get_ref().len());
            }
            encoded.extend_from_slice(encoder.get_ref());
        }
        Coding::Zstd => {
            // A frame after the other: each is whole.
            let mut frame = vec![0; 1_000];
            let size = zstd_safe::compress(&mut frame[..], &part, 3).unwrap();
            for _ in 0..4 {
                encoded.extend_from_slice(&frame[..size]);
                ends.push(encoded.len());
            }
        }
        other => panic!("{other:?}"),
    }
    let again = encoded[ends[2]..].to_vec();
    assert_eq!(encoded[ends[1]..ends[2]], again);
    for _ in 0..(1 << 30) / PART {
        encoded.extend_from_slice(&again);
    }
    encoded
}

async fn bombs_are_refused_before_they_go_off() {
    let inner = bomb(Coding::Gzip);
    let mut nested = flate2::write::GzEncoder::new(Vec::new(), Compression::fast());
    nested.write_all(&inner).unwrap();
    for (codings, content) in [
        ("gzip", inner),
        ("br", bomb(Coding::Br)),
        ("zstd", bomb(Coding::Zstd)),
        ("gzip, gzip", nested.finish().unwrap()),
    ] {
        for ratio in [200, u64::MAX] {
            let layer = DecompressRequestLayer::new().max_ratio(NonZeroU64::new(ratio).unwrap());
            let content = Bytes::from(content.clone());
            let request = Request::post("/").header("content-encoding", codings);
            let request = request.body(MockBody::new().data(content)).unwrap();
            let before = ALLOCATED.current_usage();
            ALLOCATED.reset_peak_usage();
            let service = layer.layer(service_fn(async |request: Request<DecompressBody<_>>| {
                let mut body = pin!(request.into_body());
                while let Some(frame) = poll_fn(|cx| body.as_mut().poll_frame(cx)).await {
                    if frame.is_err() {
                        break;
                    }
                }
                Ok::<_, Infallible>(Response::new(MockBody::new()))
            }));
            let response = service.oneshot(request).await.unwrap();
            assert_eq!(response.status(), 413, "{codings}");
            let peak = (ALLOCATED.peak_usage() - before) >> 20;
            assert!(peak < 16, "{peak} MiB for {codings}");
        }
    }
}

/// A thousand at a time, each begun; up to the end, in turn, where few encoders work
/// at once, and in the long form where each has its own.
async fn bodies_in_hand_take_an_encoder_and_their_encoded_form() {
    let plain = Bytes::from(vec![b'x'; 1 << 20]);
    for (coding, calls, most) in [(Coding::Gzip, CALLS, 16), (Coding::Br, CALLS / 10, 512)] {
        let ends = is_long() || coding == Coding::Gzip;
        let body = plain.clone();
        let (upstream, _) =
            Upstream::new(move |_, _| Answer::ok(MockBody::new().data(body.clone()).sized()));
        let service = CompressLayer::new().layer(upstream);
        let before = ALLOCATED.current_usage();
        ALLOCATED.reset_peak_usage();
        let mut under_way = Vec::with_capacity(calls);
        for _ in 0..calls {
            let request = Request::get("/").header("accept-encoding", coding.as_str());
            let request = request.body(MockBody::new()).unwrap();
            let mut call = Box::pin(service.clone().oneshot(request));
            for _ in 0..2 {
                assert!(poll_fn(|cx| Poll::Ready(call.as_mut().poll(cx))).await.is_pending());
            }
            under_way.push(call);
        }
        let (mut turns, mut done) = (2, Vec::new());
        while ends && !under_way.is_empty() {
            turns += 1;
            tokio::task::yield_now().await;
            let mut left = Vec::with_capacity(under_way.len());
            for mut call in under_way {
                match poll_fn(|cx| Poll::Ready(call.as_mut().poll(cx))).await {
                    Poll::Ready(response) => done.push(response.unwrap()),
                    Poll::Pending => left.push(call),
                }
            }
            under_way = left;
        }
        let each = ((ALLOCATED.peak_usage() - before) / calls) >> 10;
        assert!(each <= most, "{each} KiB each for {}", coding.as_str());
        assert!(!ends || done.len() == calls);
        // A poll does no more than a slice.
        let slices = plain.len() / SLICE;
        assert!(coding == Coding::Gzip || !ends || turns >= slices, "{turns} turns");
    }
}

/// Whether heavy tests run in full.
fn is_long() -> bool {
    std::env::var_os("TOWER_EDGE_LONG").is_some_and(|long| long == "1")
}

async fn encoders_of_streams_are_bounded_at_any_level() {
    let plain: Vec<u8> =
        (0..100_000_u32).flat_map(|n| (n.wrapping_mul(n) % 977).to_be_bytes()).collect();
    let plain = Bytes::from(plain);
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
            assert!(peak <= most, "{peak} KiB for {} at level {level}", coding.as_str());
        }
    }
}

const PIECE: usize = 16 << 10;
const PART: usize = 64 << 10;
const CALLS: usize = 1_000;
const SLICE: usize = 64 << 10;
