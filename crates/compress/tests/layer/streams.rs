//! Bodies that arrive piece by piece.

use std::future::poll_fn;
use std::pin::{Pin, pin};
use std::task::Poll;
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, Response};
use http_body::{Body, Frame};
use tower_edge_compress::CompressLayer;
use tower_edge_core::{BodyError, Coding};
use tower_edge_testkit::{Gate, MockBody, Received};

use crate::play::{CODINGS, Play, accepting, decode, decode_start, text, try_decode};

fn streaming(body: impl Fn() -> MockBody + Send + 'static) -> Play {
    of_type("text/plain", body)
}

fn events(body: impl Fn() -> MockBody + Send + 'static) -> Play {
    of_type("text/event-stream; charset=utf-8", body)
}

fn of_type(media_type: &'static str, body: impl Fn() -> MockBody + Send + 'static) -> Play {
    Play::new(CompressLayer::new(), move |_| {
        let head = Response::builder().header("content-type", media_type);
        head.header("etag", "\"v1\"").body(body()).unwrap()
    })
}

/// Polls once.
async fn poll<B>(body: &mut Pin<&mut B>) -> Poll<Option<Result<Frame<Bytes>, BodyError>>>
where
    B: Body<Data = Bytes, Error = BodyError>,
{
    poll_fn(|cx| Poll::Ready(body.as_mut().poll_frame(cx))).await
}

/// The data of the next frame.
async fn next<B>(body: &mut Pin<&mut B>) -> Bytes
where
    B: Body<Data = Bytes, Error = BodyError>,
{
    let frame = poll_fn(|cx| body.as_mut().poll_frame(cx)).await;
    frame.unwrap().unwrap().into_data().unwrap()
}

#[tokio::test(start_paused = true)]
async fn the_first_event_arrives_before_the_second_is_sent() {
    for coding in CODINGS {
        let gates = [Gate::closed(), Gate::closed()];
        let held = gates.clone();
        let play = events(move || {
            let body = MockBody::new().data("data: one\n\n").hold(&held[0]);
            body.data("data: two\n\n").hold(&held[1]).data("data: three\n\n")
        });
        let mut body = pin!(play.call(accepting(coding)).await.into_body());
        let mut seen = Vec::new();
        for (gate, so_far) in gates.iter().zip(["data: one\n\n", "data: one\n\ndata: two\n\n"]) {
            let Poll::Ready(Some(Ok(frame))) = poll(&mut body).await else { panic!("held back") };
            seen.extend_from_slice(&frame.into_data().unwrap());
            assert_eq!(decode_start(coding, &seen), so_far.as_bytes(), "{coding:?}");
            assert!(poll(&mut body).await.is_pending(), "nothing is made of nothing");
            gate.open();
        }
        seen.extend_from_slice(&next(&mut body).await);
        assert!(matches!(poll(&mut body).await, Poll::Ready(None)));
        assert!(decode(coding, &seen).ends_with(b"three\n\n"));
    }
}

#[tokio::test(start_paused = true)]
async fn half_an_event_waits_for_its_other_half() {
    let [first, second] = [Gate::closed(), Gate::closed()];
    let held = [first.clone(), second.clone()];
    let play = events(move || {
        let body = MockBody::new().data("data: one\n\n").hold(&held[0]).data("data: ");
        body.hold(&held[1]).data("two\n\n").never()
    });
    let mut body = pin!(play.call(accepting(Coding::Gzip)).await.into_body());
    let mut seen = next(&mut body).await.to_vec();
    first.open();
    assert!(poll(&mut body).await.is_pending());
    second.open();
    seen.extend_from_slice(&next(&mut body).await);
    assert_eq!(decode_start(Coding::Gzip, &seen), b"data: one\n\ndata: two\n\n");
}

#[tokio::test(start_paused = true)]
async fn a_dripping_body_is_flushed_at_first_and_then_after_a_while() {
    for coding in CODINGS {
        let [first, second] = [Gate::closed(), Gate::closed()];
        let held = [first.clone(), second.clone()];
        let play = streaming(move || {
            let body = MockBody::new().data("one ").hold(&held[0]).data("two ");
            body.hold(&held[1]).data("three ").never()
        });
        let mut body = pin!(play.call(accepting(coding)).await.into_body());
        let Poll::Ready(Some(Ok(frame))) = poll(&mut body).await else { panic!("held back") };
        let mut seen = frame.into_data().unwrap().to_vec();
        assert_eq!(decode_start(coding, &seen), b"one ");
        first.open();
        assert!(poll(&mut body).await.is_pending(), "a short pause is no reason to flush");
        tokio::time::advance(Duration::from_millis(9)).await;
        second.open();
        assert!(poll(&mut body).await.is_pending());
        tokio::time::advance(Duration::from_millis(2)).await;
        let Poll::Ready(Some(Ok(frame))) = poll(&mut body).await else { panic!("held back") };
        seen.extend_from_slice(&frame.into_data().unwrap());
        assert_eq!(decode_start(coding, &seen), b"one two three ");
        tokio::time::advance(Duration::from_secs(60)).await;
        assert!(poll(&mut body).await.is_pending(), "there is nothing to flush");
    }
}

/// A body of 64-byte pieces, with a pause behind each that takes no time.
async fn in_pieces(coding: Coding, plain: &[u8], size: usize) -> Received {
    let pieces: Vec<_> = plain.chunks(size).map(Bytes::copy_from_slice).collect();
    let play = streaming(move || {
        pieces.iter().fold(MockBody::new(), |body, piece| body.data(piece.clone()).pause())
    });
    Received::from(play.call(accepting(coding)).await.into_body()).await
}

#[tokio::test(start_paused = true)]
async fn small_pieces_cost_at_most_15_percent() {
    let plain = text(40_000);
    for coding in CODINGS {
        let once = in_pieces(coding, &plain, plain.len()).await.bytes().len();
        for size in [64, 1_000] {
            let received = in_pieces(coding, &plain, size).await;
            assert!(decode(coding, &received.bytes()) == plain);
            let all = received.bytes().len();
            assert!(
                all * 100 <= once * 115,
                "{coding:?}: {all} in pieces of {size}, {once} at once"
            );
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_body_that_breaks_off_stays_broken() {
    for coding in CODINGS {
        for (pieces, pauses) in [(0, false), (1, false), (1, true), (20, false), (20, true)] {
            let play = streaming(move || {
                let step = |body: MockBody, _| {
                    let body = body.data(text(5_000));
                    if pauses { body.pause() } else { body }
                };
                (0..pieces).fold(MockBody::new(), step).fail()
            });
            let received = Received::from(play.call(accepting(coding)).await.into_body()).await;
            assert!(received.error.is_some(), "{coding:?} after {pieces}");
            assert!(try_decode(coding, &received.bytes()).is_err() || received.bytes().is_empty());
        }
    }
}

#[tokio::test(start_paused = true)]
async fn trailers_come_last_and_without_digests_of_other_bytes() {
    for paused in [false, true] {
        let play = streaming(move || {
            let body = MockBody::new().data(text(1_000));
            let body = if paused { body.pause() } else { body };
            let fields = [("x-kept", "yes"), ("content-digest", "sha-256=:AA==:")];
            let field =
                |(name, value): (&str, &str)| (name.parse().unwrap(), value.parse().unwrap());
            body.trailers(fields.map(field).into_iter().collect())
        });
        let received = Received::from(play.call(accepting(Coding::Gzip)).await.into_body()).await;
        let kept = HeaderMap::from_iter([("x-kept".parse().unwrap(), "yes".parse().unwrap())]);
        assert_eq!(received.trailers, Some(kept));
        assert_eq!(decode(Coding::Gzip, &received.bytes()), text(1_000));
    }
}

#[tokio::test(start_paused = true)]
async fn a_body_is_never_polled_after_its_end() {
    for coding in CODINGS {
        for end in [
            (|body: MockBody| body) as fn(MockBody) -> MockBody,
            |body| body.pause(),
            |body| body.fail(),
            |body| body.trailers(HeaderMap::new()),
        ] {
            for paused in [false, true] {
                let body = MockBody::new().data(text(1_000));
                let body = end(if paused { body.pause() } else { body });
                let handle = body.handle();
                let body = std::sync::Mutex::new(Some(body));
                let play = streaming(move || body.lock().unwrap().take().unwrap());
                let mut body = pin!(play.call(accepting(coding)).await.into_body());
                for _ in 0..9 {
                    let _ = poll(&mut body).await;
                }
                assert!(body.is_end_stream());
                assert_eq!(handle.polls_after_end(), 0);
            }
        }
    }
}

#[tokio::test(start_paused = true)]
async fn no_poll_encodes_more_than_a_slice() {
    const SLICE: usize = 64 << 10;
    let large = [(Coding::Gzip, 17 * SLICE), (Coding::Zstd, 17 * SLICE)];
    // Those that take all at once do so on a thread of their own.
    let is_away =
        |coding, size| matches!(coding, Coding::Gzip | Coding::Deflate) && size <= 16 * SLICE;
    for (coding, size) in CODINGS.map(|coding| (coding, 3 * SLICE)).into_iter().chain(large) {
        let plain = Bytes::from(text(size));
        let body = plain.clone();
        let play = streaming(move || MockBody::new().data(body.clone()).sized());
        let mut polls = 0;
        let mut call = pin!(play.call(accepting(coding)));
        let response = poll_fn(|cx| {
            polls += 1;
            call.as_mut().poll(cx)
        });
        let mut body = pin!(response.await.into_body());
        let mut seen = Vec::new();
        loop {
            let frame = poll_fn(|cx| {
                polls += 1;
                body.as_mut().poll_frame(cx)
            });
            match frame.await {
                Some(frame) => seen.extend_from_slice(&frame.unwrap().into_data().unwrap()),
                None => break,
            }
        }
        let least = if is_away(coding, size) { 2 } else { size / SLICE };
        assert!(polls >= least, "{coding:?}: {polls} polls of {size} bytes");
        assert!(decode(coding, &seen) == plain);
    }
}

#[tokio::test(start_paused = true)]
async fn what_is_dropped_leaves_nothing() {
    for polls in 0..6 {
        let play = streaming(|| MockBody::new().data(text(300_000)).pause().data(text(9)).never());
        let mut body = Box::pin(play.call(accepting(Coding::Gzip)).await.into_body());
        for _ in 0..polls {
            let _ = poll(&mut body.as_mut()).await;
        }
        drop(body);
        assert_eq!(play.upstream.in_flight(), 0);
    }
    // While the head waits for the encoder.
    let play = streaming(|| MockBody::new().data(text(300_000)).sized());
    let mut call = Box::pin(play.call(accepting(Coding::Gzip)));
    assert!(poll_fn(|cx| Poll::Ready(call.as_mut().poll(cx))).await.is_pending());
    drop(call);
    assert_eq!(play.upstream.in_flight(), 0);
}

#[test]
fn without_a_runtime_each_pause_is_flushed() {
    let play = streaming(|| MockBody::new().data("one ").pause().data("two ").pause());
    let response = polled(play.call(accepting(Coding::Gzip)));
    let received = polled(Received::from(response.into_body()));
    assert_eq!(decode(Coding::Gzip, &received.bytes()), b"one two ");
}

/// Polls to the end by hand.
fn polled<F: Future>(future: F) -> F::Output {
    let mut future = pin!(future);
    let mut context = std::task::Context::from_waker(std::task::Waker::noop());
    loop {
        if let Poll::Ready(output) = future.as_mut().poll(&mut context) {
            return output;
        }
    }
}
