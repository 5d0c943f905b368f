//! Whatever comes in comes out, once it is decoded.

use bytes::Bytes;
use http::{HeaderMap, Response};
use proptest::prelude::*;
use tower_edge_compress::CompressLayer;
use tower_edge_core::Coding;
use tower_edge_testkit::MockBody;

use crate::play::{CODINGS, Play, accepting, noise, text};

/// A body of these frames, some of which keep the reader waiting.
fn body(plain: &[u8], cuts: &[(usize, bool)], trailers: bool) -> MockBody {
    let mut cuts: Vec<_> =
        cuts.iter().map(|(at, pause)| (at % (plain.len() + 1), *pause)).collect();
    cuts.sort_unstable();
    let (mut body, mut start) = (MockBody::new(), 0);
    for (end, pause) in cuts {
        body = body.data(Bytes::copy_from_slice(&plain[start..end]));
        if pause {
            body = body.pause();
        }
        start = end;
    }
    let body = body.data(Bytes::copy_from_slice(&plain[start..]));
    if trailers { body.trailers(kept()) } else { body }
}

pub(crate) fn kept() -> HeaderMap {
    HeaderMap::from_iter([("x-kept".parse().unwrap(), "yes".parse().unwrap())])
}

/// A body of any sort, and where it is cut.
pub(crate) fn bodies() -> impl Strategy<Value = (Vec<u8>, Vec<(usize, bool)>)> {
    let plain = prop_oneof![
        (0..3_000_usize).prop_map(text),
        (0..400_usize).prop_map(noise),
        (60_000..80_000_usize).prop_map(text),
        prop::collection::vec(any::<u8>(), 0..64),
    ];
    (plain, prop::collection::vec((any::<usize>(), any::<bool>()), 0..12))
}

pub(crate) fn play(plain: Vec<u8>, cuts: Vec<(usize, bool)>, trailers: bool) -> Play {
    Play::new(CompressLayer::new().min_size(0), move |_| {
        Response::new(body(&plain, &cuts, trailers))
    })
}

pub(crate) fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]
    #[test]
    fn what_is_decoded_is_what_was_encoded(
        (plain, cuts) in bodies(), trailers: bool,
    ) {
        runtime().block_on(async {
            let play = play(plain.clone(), cuts, trailers);
            for coding in CODINGS {
                let reply = play.read(accepting(coding)).await;
                prop_assert!(reply.decoded() == plain, "{coding:?}");
                prop_assert_eq!(reply.body.trailers.clone(), trailers.then(kept));
                if let Some(length) = reply.field("content-length") {
                    prop_assert_eq!(length, reply.body.bytes().len().to_string());
                }
            }
            Ok(())
        })?;
    }
}

#[tokio::test(start_paused = true)]
async fn large_bodies_are_encoded_whole_or_as_a_stream() {
    let small = CODINGS.map(|coding| (coding, 150_000, true));
    for (coding, size, length) in small.into_iter().chain([(Coding::Gzip, 1_100_000, false)]) {
        let plain = text(size);
        let play = play(plain.clone(), vec![], false);
        let reply = play.read(accepting(coding)).await;
        assert!(reply.decoded() == plain, "{coding:?}");
        assert_eq!(reply.field("content-length").is_some(), length, "{coding:?}");
        assert!(reply.body.bytes().len() < size / 2);
    }
}

#[tokio::test(start_paused = true)]
async fn an_encoder_that_is_used_again_makes_the_same_bytes() {
    for coding in CODINGS {
        let bodies = [text(2_000), text(70_000), noise(500), text(300), text(2_000)];
        let (mut at, given) = (0, bodies.clone());
        let play = Play::new(CompressLayer::new(), move |_| {
            at += 1;
            Response::new(body(&given[at - 1], &[], false))
        });
        let mut seen = Vec::new();
        for plain in &bodies {
            let reply = play.read(accepting(coding)).await;
            assert!(reply.decoded() == plain);
            seen.push(reply.body.bytes());
        }
        assert_eq!(seen.first(), seen.last());
        assert_eq!(seen[2], bodies[2], "what does not get shorter goes out as it is");
    }
}

/// A strong tag vouches for the bytes.
#[tokio::test(start_paused = true)]
async fn whole_bodies_are_encoded_the_same_however_they_come() {
    for size in [2_000, 100_000] {
        let plain = text(size);
        for coding in CODINGS {
            let mut seen: Option<Bytes> = None;
            for cuts in
                [vec![], vec![(7, false)], vec![(1_000, false), (1_001, false), (1_999, false)]]
            {
                let reply = play(plain.clone(), cuts, false).read(accepting(coding)).await;
                let bytes = reply.body.bytes();
                assert!(seen.get_or_insert_with(|| bytes.clone()) == &bytes, "{coding:?}");
            }
        }
    }
}
