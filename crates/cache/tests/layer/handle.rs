//! Statistics, and warming up.

use std::num::NonZeroUsize;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use http::Response;
use tower_edge_cache::{CacheLayer, Purge};
use tower_edge_core::Clock;
use tower_edge_testkit::{Answer, Gate, MockBody, Upstream, UpstreamError};
use tower_layer::Layer;

use crate::play::{Play, answer, cache, request, seconds, start, tasks};

const FRESH: &[(&str, &str)] = &[("cache-control", "max-age=60"), ("vary", "accept-language")];

#[tokio::test(start_paused = true)]
async fn every_request_counts_once() {
    let play = Play::new(|number, head| match (head.method().as_str(), number) {
        ("GET", 4..) => answer(500, &[], "failed"),
        ("GET", 3) => answer(304, &[], ""),
        _ => {
            let language =
                head.headers().get("accept-language").map_or("none", |of| of.to_str().unwrap());
            let control = ("cache-control", "max-age=60, stale-if-error=999");
            answer(200, &[control, ("etag", &format!("\"{language}\"")), FRESH[1]], "body")
        }
    });
    assert_eq!(play.cache.stats().hit_ratio(), 0.0);
    for language in ["de", "en", "de", "de"] {
        play.get(&[("accept-language", language)]).await;
    }
    play.ask(request("POST", "/other", &[])).await;
    play.get(&[("cache-control", "only-if-cached"), ("accept-language", "fr")]).await;
    seconds(61).await;
    play.get(&[("accept-language", "en")]).await;
    play.get(&[("accept-language", "de")]).await;
    let stats = play.cache.stats();
    let counts = [stats.hits, stats.misses, stats.validated, stats.stale, stats.passed];
    assert_eq!((counts, stats.stored), ([2, 2, 1, 1, 2], 2));
    assert_eq!((stats.resources, stats.entries, stats.evicted), (1, 2, 0));
    assert_eq!(stats.hit_ratio(), 0.5);
    play.cache.purge_all(Purge::Hard);
    let stats = play.cache.stats();
    assert_eq!((stats.resources, stats.entries, stats.bytes), (0, 0, 0));
}

#[tokio::test(start_paused = true)]
async fn what_does_not_fit_is_evicted() {
    let layer = CacheLayer::new(20_000).clock(Clock::anchored(start()));
    let play = Play::with(layer, |_, _| answer(200, FRESH, "body"));
    for page in 0..200 {
        play.ask(request("GET", &format!("/{page}"), &[])).await;
    }
    let stats = play.cache.stats();
    assert_eq!((stats.entries + stats.evicted, stats.entries), (200, stats.resources));
    assert!(stats.entries > 2 && stats.bytes <= 20_000, "{stats:?}");
}

fn at_once(calls: usize) -> NonZeroUsize {
    NonZeroUsize::new(calls).unwrap()
}

#[tokio::test(start_paused = true)]
async fn warming_up_fetches_what_is_missing_a_few_at_once() {
    let most = Arc::new(AtomicUsize::new(0));
    let (cache, gate) = (cache(), Gate::closed());
    let held = gate.clone();
    let (upstream, origin) = Upstream::new(move |_, head| match head.uri().path() {
        "/broken" => Answer::from(Response::new(MockBody::new().data("bro").fail())),
        "/down" => Answer::error(UpstreamError::new("down")),
        "/missing" => answer(404, FRESH, "none"),
        _ => answer(200, FRESH, "body").hold(&held),
    });
    let service = cache.layer(upstream);
    let targets = ["/a", "/b", "/c", "/broken", "/a", "/d", "/down", "/missing"];
    let requests = targets.map(|target| request("GET", target, &[]));
    let handle = cache.handle();
    let (seen, progress) = (most.clone(), move |warmed: &tower_edge_cache::Warmed| {
        let done = warmed.succeeded + warmed.failed;
        assert_eq!(most.fetch_add(1, Ordering::Relaxed) + 1, done as usize);
    });
    let warming = {
        let (handle, service) = (handle.clone(), service.clone());
        tokio::spawn(async move { handle.warm(service, requests, at_once(2), progress).await })
    };
    tasks().await;
    assert_eq!((origin.calls(), origin.in_flight()), (2, 2));
    gate.open();
    let warmed = warming.await.unwrap();
    assert_eq!((warmed.succeeded, warmed.failed, warmed.bytes), (5, 3, 5 * 4 + 3 + 4));
    assert_eq!((seen.load(Ordering::Relaxed), origin.calls()), (targets.len(), 7));
    assert_eq!((handle.stats().entries, handle.stats().hits), (5, 1));
}

#[tokio::test(start_paused = true)]
async fn warming_up_ends_when_it_is_dropped() {
    let (upstream, origin) = Upstream::new(|_, _| Answer::never());
    let cache = cache();
    let requests = (0..9).map(|page| request("GET", &format!("/{page}"), &[]));
    let (handle, service) = (cache.handle(), cache.layer(upstream));
    let mut warming = Box::pin(handle.warm(service, requests, at_once(3), |_| {}));
    tokio::select! {
        biased;
        _ = &mut warming => unreachable!(),
        () = tasks() => {}
    }
    assert_eq!(origin.in_flight(), 3);
    drop(warming);
    tasks().await;
    assert_eq!((origin.in_flight(), origin.calls()), (0, 3));
}

#[tokio::test(start_paused = true)]
async fn the_handle_names_what_is_asked_for_most() {
    let play = Play::new(|_, _| answer(200, &[("cache-control", "max-age=600")], "abc"));
    assert_eq!(play.cache.top_keys(3), []);
    for round in 0..4_000 {
        play.ask(request("GET", "/a?b", &[])).await;
        if round % 2 == 0 {
            play.ask(request("HEAD", "/c", &[])).await;
        }
        play.ask(request("GET", &format!("/once/{round}"), &[])).await;
        play.ask(request("POST", "/posted", &[])).await;
    }
    let top = play.cache.top_keys(2);
    let found = top.iter().map(|key| key.uri.to_string()).collect::<Vec<_>>();
    assert_eq!(found, ["http://origin.example/a?b", "http://origin.example/c"]);
    for (key, times) in top.iter().zip([4_000_u64, 2_000]) {
        let chance = 8 * times.isqrt();
        assert!(key.requests.abs_diff(times) <= key.error + chance, "{key:?}");
        assert!(key.error < 400, "{key:?}");
    }
    assert!(play.cache.top_keys(99).len() <= 64);
    // What was asked for in the span before is told for another one, then no more.
    seconds(400).await;
    assert_eq!(play.cache.top_keys(1)[0].uri, top[0].uri);
    seconds(400).await;
    assert_eq!(play.cache.top_keys(1), []);
}

#[tokio::test(start_paused = true)]
async fn what_memory_has_no_room_for_is_not_counted_as_held() {
    for (capacity, length) in [(1, 10), (1 << 20, 2 << 20)] {
        let layer = CacheLayer::new(capacity).max_entry(4 << 20).clock(Clock::anchored(start()));
        let play = Play::with(layer, move |_, _| answer(200, FRESH, &"x".repeat(length)));
        for _ in 0..3 {
            play.get(&[]).await;
        }
        let stats = play.cache.stats();
        assert_eq!((stats.entries, stats.resources), (0, 0), "{capacity}");
    }
}
