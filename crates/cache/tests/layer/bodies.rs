//! Bodies: what streams, what is stored of it, and what is not.

use std::pin::pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Waker};

use http::HeaderMap;
use http_body::Body;
use tower_edge_cache::{CacheLayer, Purge};
use tower_edge_core::Event;
use tower_edge_testkit::{Gate, MockBody, Received};

use crate::play::{Play, answer, request, respond, tasks};

const FRESH: &[(&str, &str)] = &[("cache-control", "max-age=60")];

#[tokio::test(start_paused = true)]
async fn a_body_streams_while_it_is_stored() {
    let gate = Gate::closed();
    let slow = gate.clone();
    let play = Play::new(move |_, _| {
        respond(200, FRESH, MockBody::new().data("first").hold(&slow).data(" second"))
    });
    let response = play.send(request("GET", "/", &[])).await;
    let mut body = pin!(response.into_body());
    let mut cx = Context::from_waker(Waker::noop());
    let first = body.as_mut().poll_frame(&mut cx);
    assert!(
        matches!(first, std::task::Poll::Ready(Some(Ok(frame))) if frame.data_ref().unwrap() == "first")
    );
    assert!(body.as_mut().poll_frame(&mut cx).is_pending());
    gate.open();
    assert_eq!(Received::from(body).await.bytes(), " second");
    let hit = play.get(&[]).await;
    assert_eq!((hit.did(), hit.text()), ("hit", "first second".into()));
    assert_eq!(hit.body.frames.len(), 1);
}

#[tokio::test(start_paused = true)]
async fn trailers_are_stored_behind_the_body() {
    let trailers = HeaderMap::from_iter([("x".parse().unwrap(), "y".parse().unwrap())]);
    let sent = trailers.clone();
    let play = Play::new(move |_, _| {
        respond(200, FRESH, MockBody::new().data("body").trailers(sent.clone()))
    });
    for did in ["fwd=uri-miss; stored", "hit"] {
        let got = play.get(&[]).await;
        assert_eq!((got.did(), got.text()), (did, "body".into()));
        assert_eq!(got.body.trailers, Some(trailers.clone()));
        assert!(!got.fields.contains_key("content-length"));
    }
}

#[tokio::test(start_paused = true)]
async fn a_body_that_is_not_whole_is_not_stored() {
    const LONGER: &[(&str, &str)] = &[("cache-control", "max-age=60"), ("content-length", "9")];
    for (why, fields) in [("broke off", FRESH), ("length is not as announced", LONGER)] {
        let play = Play::new(move |_, _| {
            let body = MockBody::new().data("a");
            respond(200, fields, if why == "broke off" { body.fail() } else { body.pause() })
        });
        let got = play.get(&[]).await;
        assert!(got.body.error.is_some(), "{why}");
        assert_eq!(play.cache.stats().resources, 0, "{why}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_body_that_its_client_has_left_is_stored_all_the_same() {
    let play = Play::new(|_, _| respond(200, FRESH, MockBody::new().data("a").pause().data("b")));
    drop(play.send(request("GET", "/", &[])).await);
    assert_eq!(play.cache.stats().resources, 0);
    tasks().await;
    assert_eq!(play.get(&[]).await.did(), "hit");
    assert_eq!(play.origin.in_flight(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_body_dropped_after_its_announced_length_is_stored() {
    const SIZED: &[(&str, &str)] = &[("cache-control", "max-age=60"), ("content-length", "1")];
    let play = Play::new(|_, _| respond(200, SIZED, MockBody::new().data("a").pause()));
    let mut body = Box::pin(play.send(request("GET", "/", &[])).await.into_body());
    let mut cx = Context::from_waker(Waker::noop());
    assert!(body.as_mut().poll_frame(&mut cx).is_ready());
    drop(body);
    assert_eq!(play.get(&[]).await.did(), "hit");
}

#[tokio::test(start_paused = true)]
async fn a_body_above_the_bound_passes_and_is_not_stored() {
    let told = Arc::new(Mutex::new(Vec::new()));
    let notes = told.clone();
    let observe = move |event: &Event<'_>| {
        if let Event::CacheNotStored { why } = event {
            notes.lock().unwrap().push(*why);
        }
    };
    let layer = CacheLayer::new(1 << 20).max_entry(3).observe(Arc::new(observe));
    let play = Play::with(layer, |_, head| match head.uri().path() {
        "/sized" => respond(200, FRESH, MockBody::new().data("abcd").sized()),
        "/streamed" => respond(200, FRESH, MockBody::new().data("ab").data("cd")),
        _ => answer(200, FRESH, "abc"),
    });
    for (path, did) in [("/sized", "fwd=uri-miss"), ("/streamed", "fwd=uri-miss; stored")] {
        let got = play.ask(request("GET", path, &[])).await;
        assert_eq!((got.text(), got.did()), ("abcd".into(), did));
    }
    assert_eq!(play.cache.stats().resources, 0);
    assert_eq!(*told.lock().unwrap(), ["too large", "too large"]);
    play.get(&[]).await;
    assert_eq!(play.get(&[]).await.did(), "hit");
}

#[tokio::test(start_paused = true)]
async fn memory_stays_within_the_capacity() {
    let layer = CacheLayer::new(256 << 10);
    let play = Play::with(layer, |_, _| answer(200, FRESH, &"x".repeat(4 << 10)));
    for number in 0..1_000 {
        play.ask(request("GET", &format!("/{number}"), &[])).await;
    }
    let stats = play.cache.stats();
    assert_eq!(stats.stored, 1_000);
    assert!(stats.bytes <= 256 << 10, "{stats:?}");
    assert!(stats.resources > 30, "{stats:?}");
}

#[tokio::test(start_paused = true)]
async fn a_cleared_cache_is_empty() {
    let play = Play::always(FRESH);
    play.get(&[]).await;
    assert_eq!(play.cache.stats().resources, 1);
    play.cache.purge_all(Purge::Hard);
    assert_eq!(play.get(&[]).await.did(), "fwd=uri-miss; stored");
    assert_eq!(play.get(&[]).await.did(), "hit");
}
