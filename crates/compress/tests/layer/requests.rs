//! Requests whose content is encoded.

use std::num::NonZeroU64;

use bytes::Bytes;
use http::{HeaderMap, Request, Response};
use tower::{Layer, ServiceExt};
use tower_edge_compress::{CompressLayer, DecompressRequestLayer};
use tower_edge_core::Coding;
use tower_edge_testkit::contract::{self, Subject};
use tower_edge_testkit::{Answer, MockBody, Received, Upstream, UpstreamHandle};

use crate::play::{CODINGS, Play, accepting, noise, text};

async fn encoded(coding: Coding, plain: impl Into<Bytes>) -> Bytes {
    let plain = plain.into();
    let play = Play::new(CompressLayer::new().min_size(0), move |_| {
        // The pause keeps it from being left as it is.
        Response::new(MockBody::new().data(plain.clone()).pause())
    });
    play.read(accepting(coding)).await.body.bytes()
}

/// What the service gets of content that is said to be in these codings, and the
/// status of the answer.
async fn sent(
    layer: DecompressRequestLayer,
    codings: &str,
    body: MockBody,
) -> (u16, UpstreamHandle) {
    let (upstream, handle) = Upstream::new(|_, _| Answer::ok(MockBody::new()).reading());
    let request = Request::post("/").header("content-encoding", codings);
    let request = request.header("content-length", "7").body(body).unwrap();
    let response = layer.layer(upstream).oneshot(request).await.unwrap();
    let status = response.status().as_u16();
    if status == 415 {
        assert_eq!(response.headers()["accept-encoding"], "zstd, br, gzip, deflate");
    }
    (status, handle)
}

fn received(handle: &UpstreamHandle) -> Received {
    handle.received().remove(0)
}

#[tokio::test(start_paused = true)]
async fn the_layer_keeps_the_laws_of_every_layer() {
    contract::all(|| Subject::stateless(DecompressRequestLayer::new())).await;
}

#[tokio::test(start_paused = true)]
async fn the_service_gets_what_was_encoded() {
    let trailers = HeaderMap::from_iter([("x".parse().unwrap(), "y".parse().unwrap())]);
    for coding in CODINGS {
        for plain in [vec![], text(10), text(100_000), noise(5_000)] {
            let content = encoded(coding, plain.clone()).await;
            for size in [1_000_000, 999, 1] {
                let pieces = if content.len() < 9_000 || size > 1 { size } else { 777 };
                let step = |body: MockBody, piece: &[u8]| body.data(piece.to_vec()).pause();
                let body = content.chunks(pieces).fold(MockBody::new(), step);
                let body = body.trailers(trailers.clone());
                let layer = DecompressRequestLayer::new();
                let (status, service) = sent(layer, &coding.as_str().to_uppercase(), body).await;
                let received = received(&service);
                assert_eq!((status, received.error), (200, None), "{coding:?}");
                assert!(received.frames.concat() == plain, "{coding:?} in pieces of {size}");
                assert_eq!(received.trailers.as_ref(), Some(&trailers));
                let fields = &service.requests()[0].headers;
                assert!(!fields.contains_key("content-encoding"));
                assert!(!fields.contains_key("content-length"));
            }
        }
    }
}

#[tokio::test(start_paused = true)]
async fn codings_within_codings_come_off_in_reverse() {
    let plain = text(9_000);
    let gzip = encoded(Coding::Gzip, plain.clone()).await;
    let both = encoded(Coding::Br, gzip.clone()).await;
    let all = encoded(Coding::Zstd, both.clone()).await;
    let twice = [&gzip[..], &gzip[..]].concat();
    for (codings, content, meant) in [
        ("x-gzip", gzip, Some(plain.clone())),
        ("gzip, br", both.clone(), Some(plain.clone())),
        ("gzip, br, zstd", all.clone(), Some(plain.clone())),
        ("gzip", twice.into(), Some([&plain[..], &plain[..]].concat())),
        ("br, gzip", both, None),
        ("identity", Bytes::from("as it is"), Some(b"as it is".to_vec())),
    ] {
        let body = MockBody::new().data(content);
        let (_, service) = sent(DecompressRequestLayer::new(), codings, body).await;
        let received = received(&service);
        assert_eq!(received.error.is_some(), meant.is_none(), "{codings}");
        if let Some(meant) = meant {
            assert!(received.bytes() == meant, "{codings}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn what_is_not_known_is_not_passed_on() {
    for codings in ["compress", "gzip, sdch", "gzip, gzip, gzip, gzip", "g zip"] {
        let body = MockBody::new().data("ab");
        let (status, service) = sent(DecompressRequestLayer::new(), codings, body).await;
        assert_eq!((status, service.calls()), (415, 0), "{codings}");
    }
}

#[tokio::test(start_paused = true)]
async fn content_that_breaks_off_is_an_error() {
    for coding in CODINGS {
        let content = encoded(coding, text(5_000)).await;
        let broken = MockBody::new().data(content.slice(..content.len() / 2)).fail();
        let garbage = [&content[..], b"garbage"].concat();
        for body in [
            MockBody::new().data(content.slice(..content.len() - 1)),
            MockBody::new().data(content.slice(..1)),
            MockBody::new().data(garbage),
            MockBody::new().data(text(100)),
            broken,
        ] {
            let layer = DecompressRequestLayer::new();
            let (status, service) = sent(layer, coding.as_str(), body).await;
            assert!(received(&service).error.is_some(), "{coding:?}");
            assert_eq!(status, 200, "it is the service's to say");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn content_up_to_the_bounds_passes_and_no_more() {
    for coding in CODINGS {
        let content = encoded(coding, text(10_000)).await;
        for (most, status) in [(10_000, 200), (9_999, 413)] {
            let layer = DecompressRequestLayer::new().max_size(most);
            let body = MockBody::new().data(content.clone());
            let (found, service) = sent(layer, coding.as_str(), body).await;
            assert_eq!(found, status, "{coding:?}");
            assert_eq!(received(&service).error.is_some(), status == 413);
        }
    }
    let zeros = encoded(Coding::Gzip, vec![0; 1_200_000]).await;
    for (ratio, status) in [(2_000, 200), (200, 413)] {
        let layer = DecompressRequestLayer::new().max_ratio(NonZeroU64::new(ratio).unwrap());
        let (found, _) = sent(layer, "gzip", MockBody::new().data(zeros.clone())).await;
        assert_eq!(found, status, "{} bytes", zeros.len());
    }
}
