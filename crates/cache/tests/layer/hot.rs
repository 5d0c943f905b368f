//! What is asked for so often that threads hold copies of it.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use tower_edge_cache::{CacheLayer, Purge};
use tower_edge_core::{Clock, HeaderKey};

use crate::play::{Got, Play, answer, cache, request, seconds, start};

async fn got(play: &Play, target: &str) -> Got {
    play.ask(request("GET", target, &[])).await
}

/// Asks so often that it is held in front of the store.
async fn heat(play: &Play, target: &str) {
    for _ in 0..10 {
        got(play, target).await;
    }
    assert_eq!(got(play, target).await.did(), "hit");
}

#[tokio::test(start_paused = true)]
async fn a_hot_response_is_the_stored_one_and_ages() {
    let fields = [("cache-control", "max-age=60"), ("x-long-name-of-a-field", "1"), ("age", "3")];
    let play = Play::new(move |_, _| answer(200, &fields, "abc"));
    got(&play, "/").await;
    let first = got(&play, "/").await;
    heat(&play, "/").await;
    let hot = got(&play, "/").await;
    assert_eq!((hot.text(), &hot.fields), (first.text(), &first.fields));
    let (age, ttl) = (hot.field("age").to_owned(), hot.field("cache-status").to_owned());
    assert_eq!((age.as_str(), ttl.as_str()), ("3", "tower-edge; hit; ttl=57"));
    seconds(7).await;
    let later = got(&play, "/").await;
    assert_eq!((later.field("age"), later.did()), ("10", "hit"));
    seconds(50).await;
    assert_eq!(got(&play, "/").await.did(), "fwd=stale; stored");
    assert_eq!(play.cache.stats().hits, 14);
}

#[tokio::test(start_paused = true)]
async fn variants_ranges_and_conditions_of_what_is_hot_are_told_apart() {
    let play = Play::new(|_, head| {
        let language = head.headers().get("accept-language").map_or("any", |l| l.to_str().unwrap());
        let tag = format!("\"{language}\"");
        let fields = [("cache-control", "max-age=60"), ("vary", "accept-language"), ("etag", &tag)];
        answer(200, &fields, language)
    });
    let ask = |fields: &'static [(&str, &str)]| play.get(fields);
    for _ in 0..20 {
        assert_eq!(ask(&[("accept-language", "de")]).await.text(), "de");
        assert_eq!(ask(&[("accept-language", "en")]).await.text(), "en");
        let part = ask(&[("accept-language", "en"), ("range", "bytes=1-")]).await;
        assert_eq!((part.status.as_u16(), part.text()), (206, "n".to_owned()));
        let known = ask(&[("accept-language", "de"), ("if-none-match", "\"de\"")]).await;
        assert_eq!(known.status, 304);
    }
    assert_eq!(play.origin.calls(), 2);
    assert_eq!(ask(&[("accept-language", "fr")]).await.text(), "fr");
    assert_eq!(
        ask(&[("accept-language", "de"), ("cache-control", "no-cache")]).await.did(),
        "fwd=request; stored"
    );
}

#[tokio::test(start_paused = true)]
async fn what_changes_is_hot_no_longer() {
    for change in ["post", "purge", "soft purge", "refresh"] {
        let play = Play::new(|number, _| {
            answer(200, &[("cache-control", "max-age=60")], &number.to_string())
        });
        heat(&play, "/").await;
        match change {
            "post" => drop(play.ask(request("POST", "/", &[])).await),
            "purge" => play.cache.purge_all(Purge::Hard),
            "soft purge" => play.cache.purge_all(Purge::Soft),
            _ => drop(play.get(&[("cache-control", "no-cache")]).await),
        }
        let calls = play.origin.calls();
        let next = got(&play, "/").await;
        assert_ne!(next.text(), "0", "{change}");
        assert_eq!(play.origin.calls() - calls, u64::from(change != "refresh"), "{change}");
        heat(&play, "/").await;
        assert_eq!(got(&play, "/").await.text(), next.text(), "{change}");
    }
}

#[tokio::test(start_paused = true)]
async fn what_a_response_is_stored_for_since_is_hot_for_it_alone() {
    // The key in front is that of the user too.
    let layer = cache().keyed(HeaderKey::new("x-user".parse().unwrap()));
    let play = Play::with(layer, |number, _| {
        answer(200, &[("cache-control", "max-age=60")], &number.to_string())
    });
    for _ in 0..20 {
        assert_eq!(play.get(&[("x-user", "a")]).await.text(), "0");
        assert_eq!(play.get(&[("x-user", "b")]).await.text(), "1");
    }
}

#[tokio::test(start_paused = true)]
async fn what_is_hot_is_counted_and_goes_with_what_is_stored() {
    let play = Play::new(|_, _| answer(200, &[("cache-control", "max-age=60")], "abc"));
    let empty = play.cache.stats().bytes;
    got(&play, "/").await;
    let stored = play.cache.stats().bytes;
    heat(&play, "/").await;
    let hot = play.cache.stats().bytes;
    assert!(empty < stored && stored < hot, "{empty} {stored} {hot}");
    play.ask(request("DELETE", "/", &[])).await;
    assert_eq!(play.cache.stats().bytes, empty);
    heat(&play, "/").await;
    play.cache.purge_all(Purge::Hard);
    assert_eq!(play.cache.stats().bytes, empty);
}

#[tokio::test(start_paused = true)]
async fn the_store_learns_of_hits_in_front_of_it() {
    let layer = CacheLayer::new(1 << 18).clock(Clock::anchored(start()));
    let body = "x".repeat(8_000);
    let play =
        Play::with(layer, move |_, _| answer(200, &[("cache-control", "max-age=600")], &body));
    let mut missed = 0;
    for round in 0..2_000 {
        // The others do not all fit, and are asked for again and again.
        got(&play, &format!("/{}", round % 100)).await;
        for _ in 0..2 {
            missed += u32::from(got(&play, "/hot").await.did() != "hit");
        }
    }
    assert!(missed <= 2, "{missed}");
}

const PAGES: usize = 3;

/// Readers on several threads, while pages change, which an unsafe request tells of:
/// none gets a page that is older than what was told when it asked.
#[tokio::test(flavor = "multi_thread", worker_threads = 3)]
async fn nobody_gets_what_is_older_than_its_invalidation() {
    let long = std::env::var_os("TOWER_EDGE_LONG").is_some_and(|long| long == "1");
    let rounds = if long { 100_000 } else { 5_000 };
    let origin = Arc::new([const { AtomicU64::new(0) }; PAGES]);
    let told = Arc::new([const { AtomicU64::new(0) }; PAGES]);
    let pages = origin.clone();
    let play = Arc::new(Play::with(CacheLayer::new(1 << 20), move |_, head| {
        let page: usize = head.uri().path()[1..].parse().unwrap();
        let version = pages[page].load(Ordering::SeqCst);
        answer(200, &[("cache-control", "max-age=600")], &version.to_string()).pause()
    }));
    let readers = (0..6_usize).map(|reader| {
        let (play, told) = (play.clone(), told.clone());
        tokio::spawn(async move {
            for round in 0..rounds {
                let page = (reader + round / 16) % PAGES;
                let least = told[page].load(Ordering::SeqCst);
                let got = got(&play, &format!("/{page}")).await;
                let version: u64 = got.text().parse().unwrap();
                assert!(version >= least, "page {page}: {version} after {least}: {}", got.did());
                if round % 8 == 0 {
                    tokio::task::yield_now().await;
                }
            }
        })
    });
    let readers = readers.collect::<Vec<_>>();
    let mut turn = 0;
    while !readers.iter().all(|reader| reader.is_finished()) {
        turn += 1;
        let page = turn % PAGES;
        let version = origin[page].fetch_add(1, Ordering::SeqCst) + 1;
        play.ask(request("PUT", &format!("/{page}"), &[])).await;
        told[page].store(version, Ordering::SeqCst);
        for _ in 0..64 {
            tokio::task::yield_now().await;
        }
    }
    for reader in readers {
        reader.await.unwrap();
    }
    let (hits, calls) = (play.cache.stats().hits, play.origin.calls());
    assert!(hits > rounds as u64 && calls > rounds as u64 / 100, "{hits} hits, {calls} calls");
}
