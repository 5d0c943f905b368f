//! What requests are keyed by.

use http::Uri;
use tower_edge_cache::{CacheLayer, Purge};
use tower_edge_core::{HeaderKey, Key};

use crate::play::{Got, Play, answer, cache, request};

const FRESH: &[(&str, &str)] = &[("cache-control", "max-age=60")];

fn play(layer: CacheLayer) -> Play {
    Play::with(layer, |number, _| answer(200, FRESH, &number.to_string()))
}

async fn got(play: &Play, target: &str) -> Got {
    play.ask(request("GET", target, &[])).await
}

fn uri(text: &str) -> Uri {
    text.parse().unwrap()
}

#[tokio::test(start_paused = true)]
async fn the_query_counts_as_it_is_written_unless_told_otherwise() {
    const OTHERS: [&str; 5] = ["/?b=1&a=2", "/?a=2&b=1&utm=x", "/?utm&b=1&a=2", "/?a=%32&b=1", "/"];
    for (layer, hits) in [
        (cache(), [false; 5]),
        (cache().sort_parameters(true), [true, false, false, false, false]),
        (cache().ignore_parameters(["utm"]), [false, true, false, false, false]),
        (
            cache().sort_parameters(true).ignore_parameters(["x", "utm"]),
            [true, true, true, false, false],
        ),
        (cache().ignore_parameters(["a", "b"]), [true, false, false, true, true]),
    ] {
        for (other, hit) in OTHERS.into_iter().zip(hits) {
            let play = play(layer.clone());
            got(&play, "/?a=2&b=1").await;
            assert_eq!(got(&play, other).await.did() == "hit", hit, "{other}");
            play.cache.purge_all(Purge::Hard);
        }
    }
}

#[tokio::test(start_paused = true)]
async fn the_origin_gets_the_query_as_it_was_sent() {
    let play = Play::with(cache().sort_parameters(true).ignore_parameters(["utm"]), |_, head| {
        answer(200, FRESH, head.uri().query().unwrap())
    });
    assert_eq!(got(&play, "/?b&utm=1&a").await.text(), "b&utm=1&a");
    assert_eq!(got(&play, "/?a&b").await.text(), "b&utm=1&a");
}

#[tokio::test(start_paused = true)]
async fn purges_and_invalidations_read_a_query_as_requests_do() {
    let play = play(cache().sort_parameters(true).ignore_parameters(["utm"]));
    for purge in [Purge::Soft, Purge::Hard] {
        got(&play, "/?b&a").await;
        play.cache.purge(&uri("http://origin.example/?utm=3&a&b"), purge);
        assert_ne!(got(&play, "/?b&a").await.did(), "hit", "{purge:?}");
    }
    for (method, target) in [("DELETE", "/?b&utm&a"), ("POST", "/?a&utm&b")] {
        assert_eq!(got(&play, "/?b&a").await.did(), "hit");
        play.ask(request(method, target, &[])).await;
        assert_eq!(got(&play, "/?b&a").await.did(), "fwd=uri-miss; stored", "{method}");
    }
    let located = Play::with(cache().sort_parameters(true), |_, head| {
        let place = ("location", "/?b&a");
        if head.method() == "PUT" { answer(201, &[place], "") } else { answer(200, FRESH, "body") }
    });
    got(&located, "/?a&b").await;
    located.ask(request("PUT", "/other", &[])).await;
    assert_eq!(got(&located, "/?a&b").await.did(), "fwd=uri-miss; stored");
}

fn by_tenant() -> CacheLayer {
    cache().keyed(HeaderKey::new("x-tenant".parse().unwrap()))
}

#[tokio::test(start_paused = true)]
async fn users_have_responses_of_their_own() {
    let play = play(by_tenant());
    let (one, two) = ([("x-tenant", "one")], [("x-tenant", "two")]);
    assert_eq!(
        (play.get(&one).await.text(), play.get(&two).await.text()),
        ("0".into(), "1".into())
    );
    assert_eq!(
        (play.get(&one).await.text(), play.get(&two).await.text()),
        ("0".into(), "1".into())
    );
    assert_eq!(play.cache.stats().resources, 2);
    for _ in 0..2 {
        assert_eq!(play.get(&[]).await.did(), "fwd=bypass");
    }
}

#[tokio::test(start_paused = true)]
async fn a_closure_says_whose_a_request_is() {
    let play = play(cache().keyed_by(|head| {
        let user = head.headers().get("x-user");
        Some(user.map_or(Key::GLOBAL, Key::new))
    }));
    play.get(&[]).await;
    assert_eq!(play.get(&[]).await.did(), "hit");
    assert_eq!(play.get(&[("x-user", "a")]).await.did(), "fwd=uri-miss; stored");
}

#[tokio::test(start_paused = true)]
async fn a_purge_and_an_unsafe_request_are_about_all_users() {
    let play = play(by_tenant());
    let (one, two) = ([("x-tenant", "one")], [("x-tenant", "two")]);
    let purges: [&dyn Fn(); 3] = [
        &|| play.cache.purge(&uri("http://origin.example/"), Purge::Hard),
        &|| play.cache.purge(&uri("http://origin.example/"), Purge::Soft),
        &|| play.cache.purge_prefix(&uri("http://origin.example"), Purge::Hard),
    ];
    for purge in purges {
        play.get(&one).await;
        play.get(&two).await;
        purge();
        assert_ne!(play.get(&one).await.did(), "hit");
        assert_ne!(play.get(&two).await.did(), "hit");
    }
    for method in ["DELETE", "POST"] {
        for fields in [&one[..], &[]] {
            play.ask(request(method, "/", fields)).await;
            assert_eq!(play.get(&one).await.did(), "fwd=uri-miss; stored", "{method} {fields:?}");
            assert_eq!(play.get(&two).await.did(), "fwd=uri-miss; stored", "{method} {fields:?}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_post_that_stands_for_its_target_is_not_stored_for_others() {
    let play = Play::with(by_tenant(), |_, _| {
        answer(200, &[("cache-control", "max-age=60"), ("content-location", "/")], "body")
    });
    let one = [("x-tenant", "one")];
    assert_eq!(play.ask(request("POST", "/", &one)).await.did(), "fwd=method");
    assert_eq!(play.get(&one).await.did(), "fwd=uri-miss; stored");
}
