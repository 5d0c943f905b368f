//! A tier behind memory: what it gives back, and what it must not.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use futures_util::FutureExt;
use http::{HeaderMap, Uri};
use tower_edge_cache::{CacheLayer, Purge};
use tower_edge_core::{Clock, Event, RequestHead};
use tower_edge_testkit::{Answer, MockBody};

use crate::play::{Got, Play, answer, cache, request, respond, seconds, start, tasks};
use crate::shelf::Shelf;

const FRESH: (&str, &str) = ("cache-control", "max-age=60, stale-while-revalidate=30");

/// A cache before a shelf.
fn before<F>(shelf: &Shelf, script: F) -> Arc<Play>
where
    F: FnMut(u64, &RequestHead<'_>) -> Answer + Send + 'static,
{
    Arc::new(Play::with(cache().tier(shelf.clone()), script))
}

/// The same, so many seconds after the first start, and with an origin that tells
/// so.
fn again(shelf: &Shelf, after: u64) -> Arc<Play> {
    let clock = Clock::anchored(start() + std::time::Duration::from_secs(after));
    let script = |_, _: &RequestHead<'_>| answer(200, &[FRESH], "later");
    Arc::new(Play::with(cache().clock(clock).tier(shelf.clone()), script))
}

async fn ask(play: &Play, target: &str, fields: &[(&str, &str)]) -> Got {
    play.ask(request("GET", target, fields)).await
}

fn uri(path: &str) -> Uri {
    format!("http://origin.example{path}").parse().unwrap()
}

#[tokio::test(start_paused = true)]
async fn a_response_comes_back_after_a_restart_with_all_of_it() {
    let shelf = Shelf::new();
    let first = before(&shelf, |_, _| {
        let body = MockBody::new()
            .data("first ")
            .data("second")
            .trailers(HeaderMap::from_iter([("x-sum".parse().unwrap(), "1".parse().unwrap())]));
        respond(200, &[FRESH, ("age", "5"), ("x-a", "1"), ("x-a", "2"), ("etag", "\"e\"")], body)
    });
    ask(&first, "/", &[]).await;
    first.cache.flush().await.unwrap();
    seconds(10).await;
    let second = again(&shelf, 12);
    let got = ask(&second, "/", &[]).await;
    assert_eq!((got.did(), got.field("age"), got.text()), ("hit", "17", "first second".into()));
    assert_eq!(got.fields.get_all("x-a").iter().collect::<Vec<_>>(), ["1", "2"]);
    assert_eq!((got.field("etag"), got.field("date")), ("\"e\"", "Sun, 06 Nov 1994 08:49:37 GMT"));
    assert_eq!(got.body.trailers.as_ref().unwrap()["x-sum"], "1");
    assert_eq!(ask(&second, "/", &[("if-none-match", "\"e\"")]).await.status, 304);
    let stats = second.cache.stats();
    assert_eq!(
        (second.origin.calls(), shelf.state().gets, stats.hits, stats.entries),
        (0, 2, 2, 1)
    );
}

#[tokio::test(start_paused = true)]
async fn what_memory_has_is_not_looked_for_elsewhere() {
    let shelf = Shelf::new();
    let play = before(&shelf, |_, _| answer(200, &[FRESH], "body"));
    for did in ["fwd=uri-miss; stored", "hit", "hit"] {
        assert_eq!(play.get(&[]).await.did(), did);
    }
    assert_eq!(shelf.state().gets, 1);
}

#[tokio::test(start_paused = true)]
async fn all_who_want_the_same_look_once() {
    let shelf = Shelf::new();
    let first = before(&shelf, |_, _| answer(200, &[FRESH], "body"));
    ask(&first, "/there", &[]).await;
    first.cache.flush().await.unwrap();
    for (target, calls, text) in [("/there", 0, "body"), ("/missing", 1, "later")] {
        let play = again(&shelf, 0);
        shelf.state().gets = 0;
        shelf.reads.close();
        let client = |_| {
            let play = play.clone();
            tokio::spawn(async move { ask(&play, target, &[]).await })
        };
        let clients: Vec<_> = (0..50).map(client).collect();
        tasks().await;
        shelf.reads.open();
        for client in clients {
            assert_eq!(client.await.unwrap().text(), text);
        }
        assert_eq!((shelf.state().gets, play.origin.calls()), (1, calls));
    }
}

#[tokio::test(start_paused = true)]
async fn what_would_put_out_others_is_kept_in_memory_from_the_second_look_on() {
    let shelf = Shelf::new();
    let body = "x".repeat(10_000);
    let play = before(&shelf, move |_, _| answer(200, &[FRESH], &body));
    for number in 0..200 {
        ask(&play, &format!("/{number}"), &[]).await;
        play.cache.flush().await.unwrap();
    }
    let count = |play: &Play| (shelf.state().gets, play.cache.stats().evicted);
    let (gets, evicted) = count(&play);
    assert!(evicted > 90, "memory is full");
    // What is taken in puts out something, if only itself.
    for (look, puts_out) in [(1, false), (2, true)] {
        let got = ask(&play, "/0", &[]).await;
        assert_eq!((got.did(), got.text().len()), ("hit", 10_000));
        let fields = ["cache-control", "content-length", "date"].map(|name| got.field(name));
        assert_eq!(fields, [FRESH.1, "10000", "Sun, 06 Nov 1994 08:49:37 GMT"]);
        let now = count(&play);
        assert_eq!((now.0, now.1 > evicted), (gets + look, puts_out));
    }
    // In a cache that has room the first one is enough.
    let roomy = again(&shelf, 0);
    for _ in 0..2 {
        ask(&roomy, "/0", &[]).await;
    }
    assert_eq!((count(&roomy), roomy.cache.stats().entries), ((gets + 3, 0), 1));
}

#[tokio::test(start_paused = true)]
async fn all_who_want_the_same_look_once_also_where_memory_has_no_room() {
    let shelf = Shelf::new();
    let first = before(&shelf, |_, _| answer(200, &[FRESH], "body"));
    ask(&first, "/", &[]).await;
    first.cache.flush().await.unwrap();
    shelf.state().gets = 0;
    shelf.reads.close();
    let layer = CacheLayer::new(1).clock(Clock::anchored(start())).tier(shelf.clone());
    let play = Arc::new(Play::with(layer, |_, _| answer(200, &[FRESH], "later")));
    let client = |_| {
        let play = play.clone();
        tokio::spawn(async move { ask(&play, "/", &[]).await.text() })
    };
    let clients: Vec<_> = (0..50).map(client).collect();
    tasks().await;
    shelf.reads.open();
    for client in clients {
        assert_eq!(client.await.unwrap(), "body");
    }
    let gets = shelf.state().gets;
    assert_eq!((gets, play.cache.stats().entries), (1, 0));
}

#[tokio::test(start_paused = true)]
async fn who_leaves_while_it_looks_leaves_the_look_to_the_others() {
    let shelf = Shelf::new();
    shelf.reads.close();
    let play = before(&shelf, |_, _| answer(200, &[FRESH], "body"));
    let client = |play: &Arc<Play>| {
        let play = play.clone();
        tokio::spawn(async move { play.get(&[]).await })
    };
    let (leaver, stayer) = (client(&play), client(&play));
    tasks().await;
    leaver.abort();
    tasks().await;
    shelf.reads.open();
    assert_eq!(stayer.await.unwrap().text(), "body");
    assert_eq!((shelf.state().gets, play.origin.calls()), (2, 1));
}

#[tokio::test(start_paused = true)]
async fn what_went_stale_meanwhile_is_refreshed_or_validated() {
    let shelf = Shelf::new();
    let script = |_: u64, head: &RequestHead<'_>| match head.headers().get("if-none-match") {
        Some(_) => answer(304, &[FRESH, ("etag", "\"e\"")], ""),
        None => answer(200, &[FRESH, ("etag", "\"e\"")], "body"),
    };
    let first = before(&shelf, script);
    ask(&first, "/", &[]).await;
    first.cache.flush().await.unwrap();
    let at = |after| {
        let clock = Clock::anchored(start() + std::time::Duration::from_secs(after));
        Arc::new(Play::with(cache().clock(clock).tier(shelf.clone()), script))
    };
    let later = at(95);
    let got = ask(&later, "/", &[]).await;
    assert_eq!((got.text().as_str(), got.did()), ("body", "fwd=stale; fwd-status=304"));
    assert_eq!(ask(&later, "/", &[]).await.did(), "hit");
    let sooner = at(70);
    let got = ask(&sooner, "/", &[]).await;
    assert_eq!((got.text().as_str(), got.did(), got.field("age")), ("body", "hit", "70"));
    tasks().await;
    assert_eq!((sooner.origin.calls(), ask(&sooner, "/", &[]).await.field("age")), (1, "0"));
}

#[tokio::test(start_paused = true)]
async fn variants_and_parts_come_back_each_for_who_selects_it() {
    let shelf = Shelf::new();
    let first = before(&shelf, |_, head| {
        let language = head.headers().get("accept-language");
        match (head.headers().get("range"), language) {
            (Some(_), _) => {
                let range = ("content-range", "bytes 2-4/10");
                answer(206, &[FRESH, range, ("etag", "\"p\"")], "234")
            }
            (None, Some(language)) => {
                answer(200, &[FRESH, ("vary", "accept-language")], language.to_str().unwrap())
            }
            (None, None) => answer(404, &[FRESH, ("vary", "accept-language")], "none"),
        }
    });
    for language in ["de", "en"] {
        ask(&first, "/varied", &[("accept-language", language)]).await;
    }
    ask(&first, "/varied", &[]).await;
    ask(&first, "/part", &[("range", "bytes=2-4")]).await;
    first.cache.flush().await.unwrap();
    shelf.state().gets = 0;
    let second = again(&shelf, 1);
    for (target, field, status, text) in [
        ("/varied", Some(("accept-language", "en")), 200, "en"),
        ("/varied", Some(("accept-language", "de")), 200, "de"),
        ("/varied", None, 404, "none"),
        ("/part", Some(("range", "bytes=3-4")), 206, "34"),
    ] {
        let got = ask(&second, target, field.as_slice()).await;
        assert_eq!((got.status.as_u16(), got.text().as_str(), got.did()), (status, text, "hit"));
    }
    assert_eq!((second.origin.calls(), shelf.state().gets), (0, 2));
}

#[tokio::test(start_paused = true)]
async fn users_who_are_kept_apart_stay_so() {
    let shelf = Shelf::new();
    let layer = |after| {
        let clock = Clock::anchored(start() + std::time::Duration::from_secs(after));
        let user = tower_edge_core::HeaderKey::new("x-user".parse().unwrap());
        cache().clock(clock).keyed(user).tier(shelf.clone())
    };
    let script = |_: u64, head: &RequestHead<'_>| {
        answer(200, &[FRESH], head.headers()["x-user"].to_str().unwrap())
    };
    let first = Play::with(layer(0), script);
    ask(&first, "/", &[("x-user", "one")]).await;
    first.cache.flush().await.unwrap();
    let second = Play::with(layer(1), script);
    let dids = ["two", "one"].map(|user| (user, [("x-user", user)]));
    for ((user, fields), did) in dids.iter().zip(["fwd=uri-miss; stored", "hit"]) {
        let got = ask(&second, "/", fields).await;
        assert_eq!((got.text().as_str(), got.did()), (*user, did));
    }
}

#[tokio::test(start_paused = true)]
async fn only_if_cached_is_answered_from_the_tier_or_not_at_all() {
    let shelf = Shelf::new();
    let first = before(&shelf, |_, _| answer(200, &[FRESH], "body"));
    ask(&first, "/there", &[]).await;
    first.cache.flush().await.unwrap();
    let second = again(&shelf, 0);
    let wish = [("cache-control", "only-if-cached")];
    assert_eq!(ask(&second, "/there", &wish).await.did(), "hit");
    assert_eq!(ask(&second, "/missing", &wish).await.status, 504);
    assert_eq!((second.origin.calls(), shelf.state().gets), (0, 3));
}

#[tokio::test(start_paused = true)]
async fn a_tier_that_fails_is_a_miss_and_is_told_of() {
    let (shelf, told) = (Shelf::new(), Arc::new(Mutex::new(Vec::new())));
    let notes = told.clone();
    let layer = cache().tier(shelf.clone()).observe(Arc::new(move |event: &Event<'_>| {
        if let Event::CacheTierFailed { tier, doing, .. } = event {
            notes.lock().unwrap().push((*tier, *doing));
        }
    }));
    let play = Play::with(layer, |number, _| answer(200, &[FRESH], &number.to_string()));
    ask(&play, "/a", &[]).await;
    play.cache.flush().await.unwrap();
    shelf.state().fails = true;
    assert_eq!(ask(&play, "/b", &[]).await.text(), "1");
    assert_eq!(play.ask(request("POST", "/a", &[])).await.text(), "2");
    assert!(play.cache.flush().await.is_err());
    assert_eq!(ask(&play, "/a", &[]).await.text(), "3");
    tasks().await;
    let told = std::mem::take(&mut *told.lock().unwrap());
    assert!(told.contains(&("shelf", "get")) && told.contains(&("shelf", "write")), "{told:?}");
    // What could not be written is gone once it works again, and nothing else.
    shelf.state().fails = false;
    ask(&play, "/c", &[]).await;
    play.cache.flush().await.unwrap();
    let second = again(&shelf, 0);
    for (target, text) in [("/a", "later"), ("/b", "later"), ("/c", "4")] {
        assert_eq!(ask(&second, target, &[]).await.text(), text, "{target}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_tier_that_fails_at_the_start_is_asked_again() {
    let shelf = Shelf::new();
    let first = before(&shelf, |_, _| answer(200, &[FRESH], "body"));
    ask(&first, "/a", &[]).await;
    first.cache.flush().await.unwrap();
    shelf.state().fails = true;
    let second = again(&shelf, 0);
    assert_eq!(ask(&second, "/b", &[]).await.text(), "later");
    shelf.state().fails = false;
    assert_eq!(ask(&second, "/a", &[]).await.text(), "body");
}

#[tokio::test(start_paused = true)]
async fn a_record_that_is_torn_or_another_keys_is_a_miss() {
    let shelf = Shelf::new();
    let first = before(&shelf, |_, head| answer(200, &[FRESH], head.uri().path()));
    for target in ["/a", "/b", "/c"] {
        ask(&first, target, &[]).await;
    }
    first.cache.flush().await.unwrap();
    let key = |target: &str| {
        let text = format!("http://origin.example{target}");
        let state = shelf.state();
        let key = state.records.keys().find(|(key, _)| key.starts_with(text.as_bytes()));
        key.unwrap().0.clone()
    };
    let record = |target: &str| {
        let key = (key(target), 0);
        shelf.state().records[&key].clone()
    };
    let (other, mut torn) = (record("/b"), record("/c"));
    torn.0.truncate(torn.0.len() - 1);
    for (target, record) in [("/a", other), ("/c", torn)] {
        let key = (key(target), 0);
        shelf.state().records.insert(key, record);
    }
    let second = again(&shelf, 0);
    for (target, text) in [("/a", "later"), ("/b", "/b"), ("/c", "later")] {
        assert_eq!(ask(&second, target, &[]).await.text(), text, "{target}");
    }
}

#[tokio::test(start_paused = true)]
async fn what_an_unsafe_request_invalidates_is_gone_before_it_is_written() {
    let shelf = Shelf::new();
    let play = before(&shelf, |number, _| answer(200, &[FRESH], &number.to_string()));
    assert_eq!(ask(&play, "/", &[]).await.text(), "0");
    play.cache.flush().await.unwrap();
    shelf.writes.close();
    play.ask(request("DELETE", "/", &[])).await;
    assert_eq!(ask(&play, "/", &[]).await.text(), "2");
    // Even where memory does not have what came since.
    play.ask(request("DELETE", "/", &[])).await;
    shelf.reads.close();
    let late = tokio::spawn({
        let play = play.clone();
        async move { ask(&play, "/", &[]).await.text() }
    });
    tasks().await;
    shelf.reads.open();
    assert_eq!(late.await.unwrap(), "4");
    shelf.writes.open();
    play.cache.flush().await.unwrap();
    assert_eq!(ask(&again(&shelf, 0), "/", &[]).await.text(), "4");
}

#[tokio::test(start_paused = true)]
async fn what_is_invalidated_or_purged_while_it_is_looked_for_is_not_served() {
    for hard in [None, Some(Purge::Hard)] {
        let shelf = Shelf::new();
        let first = before(&shelf, |_, _| answer(200, &[FRESH], "before"));
        ask(&first, "/", &[]).await;
        first.cache.flush().await.unwrap();
        let second = again(&shelf, 0);
        shelf.reads.close();
        let asking = tokio::spawn({
            let second = second.clone();
            async move { ask(&second, "/", &[]).await.text() }
        });
        tasks().await;
        match hard {
            Some(purge) => second.cache.purge(&uri("/"), purge),
            None => drop(second.ask(request("DELETE", "/", &[])).await),
        }
        shelf.reads.open();
        assert_eq!(asking.await.unwrap(), "later", "{hard:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn purges_hold_after_a_restart_for_what_was_there_and_for_nothing_else() {
    for (purge, purged) in [(Purge::Hard, "fwd=uri-miss; stored"), (Purge::Soft, "fwd=stale")] {
        let shelf = Shelf::new();
        let script = |_: u64, head: &RequestHead<'_>| {
            let path = head.uri().path();
            let fields = [("cache-control", "max-age=60"), ("cache-tag", &path[1..2])];
            answer(200, &fields, path)
        };
        let first = before(&shelf, script);
        for target in ["/a", "/b/1", "/c/1", "/d"] {
            ask(&first, target, &[]).await;
        }
        first.cache.purge(&uri("/a"), purge);
        first.cache.purge_tag("b", purge);
        first.cache.purge_prefix(&uri("/c"), purge);
        // It is about nothing at all.
        first.cache.purge(&"/d".parse().unwrap(), purge);
        ask(&first, "/b/2", &[]).await;
        first.cache.flush().await.unwrap();
        let second = again(&shelf, 0);
        for target in ["/a", "/b/1", "/c/1"] {
            let got = ask(&second, target, &[]).await;
            assert!(got.did().starts_with(purged), "{purge:?} {target} {}", got.did());
        }
        for target in ["/b/2", "/d"] {
            assert_eq!(ask(&second, target, &[]).await.did(), "hit", "{purge:?} {target}");
        }
        second.cache.purge_all(purge);
        second.cache.flush().await.unwrap();
        assert_eq!(shelf.state().records.is_empty(), purge == Purge::Hard);
        let third = again(&shelf, 0);
        assert!(ask(&third, "/d", &[]).await.did().starts_with(purged));
    }
}

#[tokio::test(start_paused = true)]
async fn a_purge_before_the_first_look_after_a_restart_holds_too() {
    let shelf = Shelf::new();
    let first = before(&shelf, |_, _| answer(200, &[FRESH], "before"));
    first.cache.purge_tag("another", Purge::Hard);
    first.cache.flush().await.unwrap();
    for target in ["/a", "/b"] {
        ask(&first, target, &[]).await;
    }
    first.cache.flush().await.unwrap();
    let second = again(&shelf, 0);
    second.cache.purge(&uri("/a"), Purge::Hard);
    assert_eq!(ask(&second, "/a", &[]).await.text(), "later");
    assert_eq!(ask(&second, "/b", &[]).await.text(), "before");
}

#[tokio::test(start_paused = true)]
async fn records_from_before_forgotten_purges_are_misses() {
    let shelf = Shelf::new();
    let first = before(&shelf, |_, _| answer(200, &[FRESH], "before"));
    ask(&first, "/old", &[]).await;
    first.cache.flush().await.unwrap();
    first.cache.purge_tag("none", Purge::Hard);
    first.cache.flush().await.unwrap();
    ask(&first, "/new", &[]).await;
    first.cache.flush().await.unwrap();
    shelf.state().forget();
    let second = again(&shelf, 0);
    assert_eq!(ask(&second, "/old", &[]).await.text(), "later");
    assert_eq!(ask(&second, "/new", &[]).await.text(), "before");
}

#[tokio::test(start_paused = true)]
async fn a_head_that_adds_tags_takes_the_record_away() {
    let shelf = Shelf::new();
    let tag = Arc::new(AtomicU64::new(1));
    let tags = tag.clone();
    let first = before(&shelf, move |_, head| {
        let body = if head.method() == "HEAD" { "" } else { "body" };
        let tag = tags.load(Ordering::SeqCst).to_string();
        answer(200, &[FRESH, ("etag", "\"e\""), ("cache-tag", &tag)], body)
    });
    first.ask(request("GET", "/", &[])).await;
    first.cache.flush().await.unwrap();
    assert_eq!(shelf.state().records.len(), 1);
    tag.store(2, Ordering::SeqCst);
    seconds(100).await;
    first.ask(request("HEAD", "/", &[])).await;
    first.cache.flush().await.unwrap();
    // It would answer to the new tag only.
    assert_eq!(shelf.state().records.len(), 0);
}

#[tokio::test(start_paused = true)]
async fn what_finds_no_room_to_wait_is_removed_instead() {
    let shelf = Shelf::new();
    let capacity = 1 << 20;
    let layer = CacheLayer::new(capacity).clock(Clock::anchored(start())).tier(shelf.clone());
    let sizes = [100, 1 << 16];
    let play = Play::with(layer, move |number, _| {
        let length = sizes.get(number as usize).copied().unwrap_or(100);
        answer(200, &[("cache-control", "max-age=1")], &"x".repeat(length))
    });
    for records in [1, 0, 1] {
        ask(&play, "/", &[]).await;
        play.cache.flush().await.unwrap();
        assert_eq!(shelf.state().records.len(), records);
        seconds(2).await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_flush_that_is_dropped_loses_nothing() {
    let shelf = Shelf::new();
    let play = before(&shelf, |_, _| answer(200, &[FRESH], "body"));
    shelf.writes.close();
    ask(&play, "/", &[]).await;
    play.cache.purge_tag("other", Purge::Hard);
    for _ in 0..3 {
        let mut flush = Box::pin(play.cache.flush());
        assert!((&mut flush).now_or_never().is_none());
    }
    shelf.writes.open();
    play.cache.flush().await.unwrap();
    assert_eq!(shelf.state().records.len(), 1);
    assert_eq!(shelf.state().notes.notes.len(), 1);
    assert_eq!(ask(&again(&shelf, 0), "/", &[]).await.text(), "body");
}

#[tokio::test(start_paused = true)]
async fn many_changes_are_written_together_and_each_key_as_it_is_last() {
    let shelf = Shelf::new();
    let play = before(&shelf, |number, _| {
        answer(200, &[("cache-control", "max-age=1"), ("etag", "\"e\"")], &number.to_string())
    });
    shelf.writes.close();
    for round in 0..10 {
        for page in 0..20 {
            assert_eq!(
                ask(&play, &format!("/{page}"), &[]).await.text(),
                (round * 20 + page).to_string()
            );
        }
        seconds(2).await;
    }
    shelf.writes.open();
    play.cache.flush().await.unwrap();
    let state = shelf.state();
    assert!(state.records.len() == 20 && state.batches <= 3, "{}", state.batches);
}

#[test]
fn a_cache_has_one_tier() {
    let layer = CacheLayer::new(1 << 20).tier(Shelf::new());
    let second = std::panic::AssertUnwindSafe(|| layer.tier(Shelf::new()));
    assert!(std::panic::catch_unwind(second).is_err());
}

#[tokio::test]
async fn the_shelf_passes_the_suite_of_all_tiers() {
    tower_edge_testkit::tier::all(async || Shelf::new()).await;
}

#[tokio::test(start_paused = true)]
async fn looks_are_counted_by_what_they_found_and_how_long_they_took() {
    let shelf = Shelf::new();
    assert_eq!(cache().handle().tier(), None);
    let first = before(&shelf, |_, _| answer(200, &[FRESH], "body"));
    ask(&first, "/", &[]).await;
    first.cache.flush().await.unwrap();
    let second = again(&shelf, 1);
    shelf.reads.close();
    let play = second.clone();
    let client = tokio::spawn(async move { ask(&play, "/", &[]).await });
    tasks().await;
    seconds(2).await;
    shelf.reads.open();
    client.await.unwrap();
    ask(&second, "/", &[]).await;
    ask(&second, "/other", &[]).await;
    shelf.state().fails = true;
    ask(&second, "/third", &[]).await;
    let stats = second.cache.tier().unwrap();
    assert_eq!((stats.name, stats.hits, stats.misses, stats.errors), ("shelf", 1, 1, 1));
    let two = std::time::Duration::from_secs(2);
    assert_eq!((stats.time, stats.longest), (two, two));
}
