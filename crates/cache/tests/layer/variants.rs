//! How many responses one target may have.

use tower_edge_cache::CacheLayer;

use crate::play::{Play, answer, request};

const VARIES: &[(&str, &str)] = &[("cache-control", "max-age=60"), ("vary", "accept-language")];

#[tokio::test(start_paused = true)]
async fn a_client_that_asks_in_every_language_gets_no_more_than_a_few_stored() {
    let play = Play::always(VARIES);
    for number in 0..languages() {
        let got = play.get(&[("accept-language", &format!("x-{number}"))]).await;
        assert_eq!(got.text(), format!("body {number}"));
    }
    let stats = play.cache.stats();
    assert_eq!((stats.resources, stats.entries), (1, 32));
    assert!(stats.bytes < 96 << 10, "{stats:?}");
    // The latest are those that stay.
    let last = languages() - 1;
    assert_eq!(play.get(&[("accept-language", &format!("x-{last}"))]).await.did(), "hit");
}

#[tokio::test(start_paused = true)]
async fn the_variants_of_one_target_leave_room_for_others() {
    let layer = CacheLayer::new(1 << 20);
    let play = Play::with(layer, |_, head| match head.uri().path() {
        "/large" => answer(200, VARIES, &"x".repeat(100_000)),
        _ => answer(200, VARIES, "body"),
    });
    play.get(&[]).await;
    for number in 0..50 {
        let language = format!("x-{number}");
        play.ask(request("GET", "/large", &[("accept-language", &language)])).await;
        let stats = play.cache.stats();
        assert!(stats.resources == 2 && stats.bytes < 300 << 10, "{number} {stats:?}");
    }
    assert_eq!(play.get(&[]).await.did(), "hit");
    let last = [("accept-language", "x-49")];
    assert_eq!(play.ask(request("GET", "/large", &last)).await.did(), "hit");
}

/// How many; 100,000 in the long form.
fn languages() -> u64 {
    let long = std::env::var_os("TOWER_EDGE_LONG").is_some_and(|long| long == "1");
    if long { 100_000 } else { 500 }
}
