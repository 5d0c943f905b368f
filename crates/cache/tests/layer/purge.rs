//! Purges: by URI, by tag, by prefix, and of everything.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use http::{HeaderName, Uri};
use tower_edge_cache::{CacheHandle, CacheLayer, Purge};
use tower_edge_core::Event;
use tower_edge_testkit::Gate;

use crate::play::{Got, Play, answer, cache, request, seconds, tasks};
use crate::shelf::Shelf;

fn uri(text: &str) -> Uri {
    text.parse().unwrap()
}

async fn got(play: &Play, target: &str) -> Got {
    play.ask(request("GET", target, &[])).await
}

/// An origin that says how often it was called; tags are what is in the path.
fn tagged() -> Play {
    Play::new(|number, head| {
        let tags = head.uri().path().replace('/', " ");
        let fields = [("cache-control", "max-age=60"), ("surrogate-key", &tags)];
        answer(200, &fields, &number.to_string())
    })
}

#[tokio::test(start_paused = true)]
async fn a_purge_removes_what_it_is_about_and_nothing_else() {
    type Apply = fn(&CacheHandle, Purge);
    const TARGETS: [&str; 5] = ["/", "/a", "/a?q", "/a/b", "/ab"];
    let purges: [(&str, Apply, [bool; 5]); 7] = [
        (
            "uri",
            |c, p| c.purge(&uri("http://origin.example/a"), p),
            [false, true, false, false, false],
        ),
        ("relative", |c, p| c.purge(&uri("/a"), p), [false; 5]),
        ("tag", |c, p| c.purge_tag("a", p), [false, true, true, true, false]),
        ("no tag", |c, p| c.purge_tag("A", p), [false; 5]),
        (
            "prefix",
            |c, p| c.purge_prefix(&uri("http://Origin.example:80/a"), p),
            [false, true, true, true, false],
        ),
        ("origin", |c, p| c.purge_prefix(&uri("http://origin.example"), p), [true; 5]),
        ("everything", CacheHandle::purge_all, [true; 5]),
    ];
    for (name, apply, purged) in purges {
        for purge in [Purge::Soft, Purge::Hard] {
            let play = tagged();
            for target in TARGETS {
                got(&play, target).await;
            }
            apply(&play.cache, purge);
            for (target, purged) in TARGETS.into_iter().zip(purged) {
                let did = match (purged, purge) {
                    (false, _) => "hit",
                    (true, Purge::Soft) => "fwd=stale; stored",
                    (true, _) => "fwd=uri-miss; stored",
                };
                assert_eq!(got(&play, target).await.did(), did, "{name} {purge:?} {target}");
                assert_eq!(got(&play, target).await.did(), "hit", "{name} {purge:?} {target}");
            }
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_soft_purge_leaves_a_response_to_be_validated_or_refreshed() {
    const TAGGED: &[(&str, &str)] = &[
        ("cache-control", "max-age=60, stale-while-revalidate=10"),
        ("etag", "\"a\""),
        ("surrogate-key", "s"),
    ];
    let play = Play::new(|_, head| match head.headers().contains_key("if-none-match") {
        true => answer(304, TAGGED, ""),
        false => answer(200, TAGGED, "body"),
    });
    play.get(&[]).await;
    seconds(20).await;
    play.cache.purge_tag("s", Purge::Soft);
    seconds(9).await;
    let stale = play.get(&[]).await;
    assert_eq!((stale.text(), stale.field("age")), ("body".into(), "29"));
    assert_eq!(stale.field("cache-status"), "tower-edge; hit; ttl=-9");
    tasks().await;
    assert_eq!(play.origin.calls(), 2);
    assert_eq!(play.get(&[]).await.field("cache-status"), "tower-edge; hit; ttl=60");
    play.cache.purge_tag("s", Purge::Soft);
    seconds(10).await;
    assert_eq!(play.get(&[]).await.did(), "fwd=stale; fwd-status=304");
    assert_eq!((play.get(&[]).await.did(), play.origin.calls()), ("hit", 3));
}

#[tokio::test(start_paused = true)]
async fn only_what_was_purged_softly_replaces_an_error() {
    const FIELDS: &[(&str, &str)] =
        &[("cache-control", "max-age=60, stale-if-error=60"), ("cache-tag", "x, s,y")];
    for (purge, status) in [(Purge::Soft, 200), (Purge::Hard, 500)] {
        let play = Play::new(|number, _| match number {
            0 => answer(200, FIELDS, "body"),
            _ => answer(500, &[], "failed"),
        });
        play.get(&[]).await;
        play.cache.purge_tag("s", purge);
        assert_eq!(play.get(&[]).await.status, status, "{purge:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_hard_purge_counts_for_who_waits_for_an_error_already() {
    const FIELDS: &[(&str, &str)] = &[
        ("cache-control", "max-age=5, stale-if-error=60"),
        ("etag", "\"a\""),
        ("surrogate-key", "s"),
    ];
    for purge_all in [false, true] {
        let gate = Gate::closed();
        let held = gate.clone();
        let play = Arc::new(Play::new(move |number, _| match number {
            0 => answer(200, FIELDS, "body"),
            _ => answer(500, &[], "failed").hold(&held),
        }));
        play.get(&[]).await;
        seconds(6).await;
        let clients = [(); 3].map(|()| {
            let play = play.clone();
            tokio::spawn(async move { play.get(&[]).await.status })
        });
        tasks().await;
        match purge_all {
            true => play.cache.purge_all(Purge::Hard),
            false => play.cache.purge_tag("s", Purge::Hard),
        }
        gate.open();
        for client in clients {
            assert_eq!(client.await.unwrap(), 500);
        }
    }
}

#[tokio::test(start_paused = true)]
async fn what_is_on_its_way_when_a_purge_comes_is_not_stored_as_fresh() {
    const FIELDS: &[(&str, &str)] = &[("cache-control", "max-age=60"), ("surrogate-key", "s")];
    for (purge, did) in [(Purge::Soft, "fwd=stale; stored"), (Purge::Hard, "fwd=uri-miss; stored")]
    {
        let gate = Gate::closed();
        let held = gate.clone();
        let play = Arc::new(Play::new(move |number, _| match number {
            0 => answer(200, FIELDS, "old").hold(&held),
            _ => answer(200, FIELDS, "new"),
        }));
        let early = play.clone();
        let early = tokio::spawn(async move { early.get(&[]).await });
        tasks().await;
        play.cache.purge_tag("s", purge);
        // It does not wait for a request from before the purge.
        let late = got(&play, "/").await;
        assert_eq!((late.text(), late.did()), ("new".into(), "fwd=uri-miss; stored"));
        gate.open();
        assert_eq!(early.await.unwrap().text(), "old");
        assert_eq!(got(&play, "/").await.text(), "new");
        play.cache.purge_tag("s", purge);
        assert_eq!(got(&play, "/").await.did(), did);
    }
}

#[tokio::test(start_paused = true)]
async fn a_response_that_was_purged_on_its_way_is_asked_for_again() {
    const FIELDS: &[(&str, &str)] = &[("cache-control", "max-age=60"), ("surrogate-key", "s")];
    for purge in [Purge::Soft, Purge::Hard] {
        let gate = Gate::closed();
        let held = gate.clone();
        let play = Arc::new(Play::new(move |_, _| answer(200, FIELDS, "body").hold(&held)));
        let early = play.clone();
        let early = tokio::spawn(async move { early.get(&[]).await });
        tasks().await;
        play.cache.purge_tag("s", purge);
        gate.open();
        early.await.unwrap();
        assert_eq!(play.origin.calls(), 1);
        assert_ne!(got(&play, "/").await.did(), "hit");
        assert_eq!(got(&play, "/").await.did(), "hit");
    }
}

#[tokio::test(start_paused = true)]
async fn a_head_does_not_undo_a_purge() {
    const FIELDS: &[(&str, &str)] = &[("cache-control", "max-age=60"), ("surrogate-key", "s")];
    let play = Play::always(FIELDS);
    play.get(&[]).await;
    play.cache.purge_tag("s", Purge::Soft);
    let head = [("cache-control", "no-cache")];
    assert_eq!(play.ask(request("HEAD", "/", &head)).await.did(), "fwd=stale");
    assert_eq!(play.get(&[]).await.did(), "fwd=stale; stored");
}

#[tokio::test(start_paused = true)]
async fn a_304_may_bring_new_tags() {
    let play = Play::new(|_, head| match head.headers().contains_key("if-none-match") {
        true => answer(304, &[("etag", "\"a\""), ("surrogate-key", "new")], ""),
        false => answer(
            200,
            &[("cache-control", "max-age=60"), ("etag", "\"a\""), ("surrogate-key", "old")],
            "body",
        ),
    });
    play.get(&[]).await;
    play.cache.purge_tag("old", Purge::Soft);
    assert_eq!(play.get(&[]).await.did(), "fwd=stale; fwd-status=304");
    play.cache.purge_tag("old", Purge::Hard);
    assert_eq!(play.get(&[]).await.did(), "hit");
    play.cache.purge_tag("new", Purge::Hard);
    assert_eq!(play.get(&[]).await.did(), "fwd=uri-miss; stored");
}

#[tokio::test(start_paused = true)]
async fn variants_are_purged_by_the_tags_of_each() {
    let play = Play::new(|_, head| {
        let language = head.headers()["accept-language"].to_str().unwrap().to_owned();
        let vary = ("vary", "accept-language");
        let fields = [("cache-control", "max-age=60"), vary, ("surrogate-key", &language)];
        answer(200, &fields, &language)
    });
    let (de, en) = ([("accept-language", "de")], [("accept-language", "en")]);
    for language in [&de, &en] {
        play.get(language).await;
    }
    play.cache.purge_tag("en", Purge::Hard);
    assert_eq!(play.get(&de).await.did(), "hit");
    assert_eq!(play.get(&en).await.did(), "fwd=vary-miss; stored");
    play.cache.purge(&uri("http://origin.example/"), Purge::Hard);
    assert_eq!(play.get(&de).await.did(), "fwd=uri-miss; stored");
    assert_eq!(play.get(&en).await.did(), "fwd=vary-miss; stored");
}

#[tokio::test(start_paused = true)]
async fn the_fields_that_have_tags_are_chosen() {
    const FIELDS: &[(&str, &str)] =
        &[("cache-control", "max-age=60"), ("surrogate-key", "s"), ("x-tags", "t")];
    let layer = cache().tag_fields([HeaderName::from_static("x-tags")]);
    let play = Play::with(layer, |_, _| answer(200, FIELDS, "body"));
    assert_eq!(play.get(&[]).await.field("x-tags"), "t");
    play.cache.purge_tag("s", Purge::Hard);
    let hit = play.get(&[]).await;
    assert_eq!((hit.did(), hit.field("x-tags")), ("hit", "t"));
    play.cache.purge_tag("t", Purge::Hard);
    assert_eq!(play.get(&[]).await.did(), "fwd=uri-miss; stored");
}

#[tokio::test(start_paused = true)]
async fn the_oldest_purges_become_one_of_all_that_is_older() {
    const FIELDS: &[(&str, &str)] =
        &[("cache-control", "max-age=60, stale-if-error=60"), ("surrogate-key", "hard")];
    let told = Arc::new(Mutex::new(Vec::new()));
    let seen = told.clone();
    let layer = cache().observe(Arc::new(move |event: &Event<'_>| {
        if let Event::CachePurgesCollapsed { limit } = event {
            seen.lock().unwrap().push(*limit);
        }
    }));
    let play = Play::with(layer, |number, head| match (number, head.uri().path()) {
        (0..3, "/tagged") => answer(200, FIELDS, "body"),
        (0..3, _) => answer(200, &FIELDS[..1], "body"),
        _ => answer(500, &[], "failed"),
    });
    for target in ["/", "/tagged", "/seen"] {
        got(&play, target).await;
    }
    let empty = play.cache.stats().bytes;
    play.cache.purge_tag("hard", Purge::Hard);
    assert_eq!(play.cache.stats().bytes, empty + 128);
    assert_eq!(got(&play, "/seen").await.did(), "hit");
    for tag in 0..128 {
        play.cache.purge_tag(&tag.to_string(), Purge::Soft);
    }
    assert_eq!(*told.lock().unwrap(), [128]);
    assert_eq!(play.cache.stats().bytes, empty + 128 * 128);
    // What it does not know to be worse may stand for an error no longer.
    assert_eq!(got(&play, "/tagged").await.status, 500);
    assert_eq!(got(&play, "/").await.status, 500);
    assert_eq!(got(&play, "/seen").await.did(), "hit");
}

/// An origin whose pages say at which of its changes they were made.
#[derive(Default)]
struct Origin([AtomicU64; PAGES]);

const PAGES: usize = 12;

/// What is changed at once: a page, the pages of a tag, those below a prefix, all.
fn change(origin: &Origin, cache: &CacheHandle, which: u64, purge: Purge) {
    let page = (which >> 8) as usize % PAGES;
    let (tag, group) = (page % 3, page / 4);
    let covers = |other: usize| match which % 8 {
        0 => true,
        1..4 => other % 3 == tag,
        4..6 => other / 4 == group,
        _ => other == page,
    };
    for (_, version) in origin.0.iter().enumerate().filter(|&(other, _)| covers(other)) {
        version.fetch_add(1, Ordering::SeqCst);
    }
    match which % 8 {
        0 => cache.purge_all(purge),
        1..4 => cache.purge_tag(&format!("t{tag}"), purge),
        4..6 => cache.purge_prefix(&uri(&format!("http://origin.example/{group}")), purge),
        _ => cache.purge(&uri(&format!("http://origin.example/{group}/{page}")), purge),
    }
}

/// Readers on several threads, while pages change and are purged: none gets a page
/// that is older than a purge that was over when it asked.
async fn nothing_older_than_its_purge(layer: CacheLayer, rounds: u64) -> (u64, u64) {
    let (origin, script) = {
        let origin = Arc::new(Origin::default());
        (origin.clone(), origin)
    };
    let play = Arc::new(Play::with(layer, move |_, head| {
        let page: usize = head.uri().path().rsplit('/').next().unwrap().parse().unwrap();
        let version = script.0[page].load(Ordering::SeqCst);
        let tag = format!("t{}", page % 3);
        let fields = [("cache-control", "max-age=600"), ("surrogate-key", &tag)];
        // Others run between the look at the page and its answer.
        answer(200, &fields, &version.to_string()).pause()
    }));
    let purged = Arc::new(Origin::default());
    let readers = (0..6_u64).map(|reader| {
        let (play, purged) = (play.clone(), purged.clone());
        tokio::spawn(async move {
            let mut random = reader + 1;
            for _ in 0..rounds {
                let page = (next(&mut random) % PAGES as u64) as usize;
                let least = purged.0[page].load(Ordering::SeqCst);
                let got = got(&play, &format!("/{}/{page}", page / 4)).await;
                let version: u64 = got.text().parse().unwrap();
                assert!(version >= least, "page {page}: {version} after {least}: {}", got.did());
                tokio::task::yield_now().await;
            }
        })
    });
    let readers = readers.collect::<Vec<_>>();
    let mut random = 99;
    while !readers.iter().all(|reader| reader.is_finished()) {
        let which = next(&mut random);
        let purge = if which & 64 == 0 { Purge::Soft } else { Purge::Hard };
        change(&origin, &play.cache, which, purge);
        // Only this task changes anything: what is, was purged.
        for (over, version) in purged.0.iter().zip(&origin.0) {
            over.store(version.load(Ordering::SeqCst), Ordering::SeqCst);
        }
        for _ in 0..which >> 20 & 7 {
            tokio::task::yield_now().await;
        }
    }
    for reader in readers {
        reader.await.unwrap();
    }
    (play.cache.stats().hits, play.origin.calls())
}

fn next(state: &mut u64) -> u64 {
    *state ^= *state << 13;
    *state ^= *state >> 7;
    *state ^= *state << 17;
    state.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 16
}

#[tokio::test(flavor = "multi_thread", worker_threads = 3)]
async fn nobody_gets_what_is_older_than_its_purge() {
    let long = std::env::var_os("TOWER_EDGE_LONG").is_some_and(|long| long == "1");
    let rounds = if long { 20_000 } else { 2_000 };
    // The second one tells three purges apart.
    for capacity in [1 << 20, 64 * 3 * 128] {
        for layer in [CacheLayer::new(capacity), CacheLayer::new(capacity).tier(Shelf::new())] {
            let (hits, calls) = nothing_older_than_its_purge(layer, rounds).await;
            assert!(hits > rounds / 10 && calls > rounds / 10, "{hits} hits, {calls} calls");
        }
    }
}
