//! Faults of other layers that encode, by name.

use std::pin::pin;

use bytes::Bytes;
use http::Response;
use http_body::{Body, Frame};
use http_body_util::{BodyExt, Full, StreamBody};
use tower::{Layer, ServiceExt, service_fn};
use tower_edge_compress::{CompressBody, CompressLayer};
use tower_edge_core::Coding;
use tower_edge_testkit::{MockBody, Received};

use crate::play::{CODINGS, Play, accepting, decode, get, request, text};

fn tagged(head: fn() -> http::response::Builder) -> Play {
    Play::new(CompressLayer::new(), move |request| {
        let body = if request.method() == "HEAD" { "".into() } else { text(1_000) };
        head().header("etag", "\"v1\"").body(MockBody::new().data(body)).unwrap()
    })
}

#[tokio::test(start_paused = true)]
async fn no_two_byte_sequences_share_a_strong_tag() {
    let play = tagged(Response::builder);
    let mut seen = vec![play.get("identity").await];
    for coding in CODINGS {
        seen.push(play.read(accepting(coding)).await);
    }
    for (at, one) in seen.iter().enumerate() {
        for other in &seen[at + 1..] {
            assert_ne!(one.field("etag"), other.field("etag"));
            assert_ne!(one.body.bytes(), other.body.bytes());
        }
    }
}

#[tokio::test(start_paused = true)]
async fn no_transform_is_obeyed() {
    let play = tagged(|| Response::builder().header("cache-control", "no-transform"));
    let reply = play.get("gzip").await;
    assert_eq!((reply.field("content-encoding"), reply.body.bytes()), (None, text(1_000).into()));
}

#[tokio::test(start_paused = true)]
async fn vary_is_on_304_and_head_too() {
    for status in [200, 304] {
        for method in ["GET", "HEAD"] {
            let play = Play::new(CompressLayer::new(), move |request| {
                let whole = status == 200 && request.method() == "GET";
                let body = if whole { text(1_000) } else { Vec::new() };
                Response::builder().status(status).body(MockBody::new().data(body)).unwrap()
            });
            for accepts in ["gzip", "identity"] {
                let reply = play.read(request(method, &[("accept-encoding", accepts)])).await;
                assert_eq!(reply.field("vary"), Some("accept-encoding"), "{method} {status}");
            }
        }
    }
}

#[tokio::test(start_paused = true)]
async fn head_says_what_get_says() {
    let play = tagged(|| Response::builder().header("content-length", "1000"));
    let get = play.get("br").await;
    let head = play.read(request("HEAD", &[("accept-encoding", "br")])).await;
    for name in ["content-encoding", "vary"] {
        assert_eq!((head.field(name), head.status), (get.field(name), get.status));
    }
    assert_ne!(head.field("content-length"), Some("1000"), "the length of other bytes");
}

#[tokio::test(start_paused = true)]
async fn a_406_comes_before_the_handler_and_never_in_place_of_its_answer() {
    let failing = || Response::builder().status(500);
    for (layer, status, calls) in
        [(CompressLayer::new().strict(), 406, 0), (CompressLayer::new(), 500, 1)]
    {
        let play = Play::new(layer, move |_| failing().body(MockBody::new()).unwrap());
        let reply = play.get("identity;q=0").await;
        assert_eq!((reply.status.as_u16(), play.upstream.calls()), (status, calls));
    }
}

#[tokio::test(start_paused = true)]
async fn types_have_no_case() {
    for (media_type, encoded) in
        [("Image/PNG", false), ("APPLICATION/GRPC", false), ("Image/SVG+XML", true)]
    {
        let play = Play::new(CompressLayer::new(), move |_| {
            let head = Response::builder().header("content-type", media_type);
            head.body(MockBody::new().data(text(1_000))).unwrap()
        });
        assert_eq!(play.get("gzip").await.field("content-encoding").is_some(), encoded);
    }
}

/// As bodies may: one that is polled after its end panics.
#[tokio::test(start_paused = true)]
async fn a_body_that_is_not_fused_is_no_problem() {
    for pieces in [1, 9] {
        let service = CompressLayer::new().layer(service_fn(move |_: http::Request<MockBody>| {
            let mut left = pieces;
            let frames = futures_util::stream::poll_fn(move |cx| {
                assert!(left >= 0, "polled after its end");
                left -= 1;
                if left == 4 {
                    cx.waker().wake_by_ref();
                    return std::task::Poll::Pending;
                }
                let frame = Frame::data(Bytes::from(text(1_000)));
                std::task::Poll::Ready((left >= 0).then_some(Ok::<_, std::io::Error>(frame)))
            });
            async { Ok::<_, std::io::Error>(Response::new(StreamBody::new(frames))) }
        }));
        let response = service.oneshot(accepting(Coding::Gzip)).await.unwrap();
        let mut body = pin!(response.into_body());
        while let Some(frame) = body.frame().await {
            frame.unwrap();
        }
        assert!(body.is_end_stream() && body.frame().await.is_none());
    }
}

#[tokio::test(start_paused = true)]
async fn a_pause_is_no_reason_to_flush() {
    let pieces = text(20_000);
    let pieces: Vec<_> = pieces.chunks(64).map(Bytes::copy_from_slice).collect();
    let all = pieces.clone();
    let play = Play::new(CompressLayer::new(), move |_| {
        let body = all.iter().fold(MockBody::new(), |body, piece| body.data(piece.clone()).pause());
        Response::new(body)
    });
    let received = Received::from(play.call(accepting(Coding::Gzip)).await.into_body()).await;
    assert_eq!(decode(Coding::Gzip, &received.bytes()), pieces.concat());
    assert!(received.frames.len() < 10, "{} frames", received.frames.len());
}

#[tokio::test(start_paused = true)]
async fn what_is_in_hand_has_a_length() {
    let play = tagged(Response::builder);
    let reply = play.read(get(&[("accept-encoding", "gzip")])).await;
    let length = reply.body.bytes().len().to_string();
    assert_eq!(reply.field("content-length"), Some(&length[..]));
}

#[test]
fn a_body_that_is_not_encoded_is_hardly_larger() {
    let more = size_of::<CompressBody<Full<Bytes>>>() - size_of::<Full<Bytes>>();
    assert!(more <= 64, "{more} bytes");
    let more = size_of::<CompressBody<[u8; 400]>>() - 400;
    assert!(more <= 64, "{more} bytes");
}
