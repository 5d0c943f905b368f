//! What the operator of a cache may decide.

use std::time::Duration;

use http::HeaderName;
use tower_edge_cache::{CacheLayer, SetCookie};

use crate::play::{Play, answer, cache, request, seconds};

const FRESH: (&str, &str) = ("cache-control", "max-age=60");

#[tokio::test(start_paused = true)]
async fn a_stored_cookie_is_the_operators_choice() {
    for (choice, did, cookie) in [
        (SetCookie::Never, "fwd=uri-miss", "a=b"),
        (SetCookie::Strip, "hit", ""),
        (SetCookie::Rfc, "hit", "a=b"),
    ] {
        let layer = cache().set_cookie(choice);
        let play = Play::with(layer, |_, _| answer(200, &[FRESH, ("set-cookie", "a=b")], "body"));
        assert_eq!(play.get(&[]).await.field("set-cookie"), "a=b");
        let second = play.get(&[]).await;
        assert_eq!((second.did(), second.field("set-cookie")), (did, cookie), "{choice:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn fields_that_are_private_or_uncached_are_left_out() {
    const FIELDS: &[(&str, &str)] = &[
        ("cache-control", "max-age=60, private=\"x-user\", no-cache=x-now"),
        ("x-user", "1"),
        ("x-now", "2"),
    ];
    let play = Play::always(FIELDS);
    let first = play.get(&[]).await;
    assert_eq!((first.field("x-user"), first.field("x-now")), ("1", "2"));
    let hit = play.get(&[]).await;
    assert_eq!((hit.did(), hit.field("x-user"), hit.field("x-now")), ("hit", "", ""));
}

#[tokio::test(start_paused = true)]
async fn targeted_fields_go_before_cache_control() {
    const FIELDS: &[(&str, &str)] = &[
        ("cache-control", "no-store"),
        ("cdn-cache-control", "max-age=5"),
        ("edge-cache-control", "max-age=9"),
    ];
    let layer = |names: &[&'static str]| {
        let names: Vec<_> = names.iter().map(|name| HeaderName::from_static(name)).collect();
        cache().targeted_fields(names)
    };
    for (layer, fresh) in [
        (cache(), Some(5)),
        (layer(&["edge-cache-control", "cdn-cache-control"]), Some(9)),
        (layer(&["missing-cache-control", "edge-cache-control"]), Some(9)),
        (layer(&[]), None),
    ] {
        let play = Play::with(layer, |_, _| answer(200, FIELDS, "body"));
        let first = play.get(&[]).await;
        assert_eq!(first.field("cdn-cache-control"), "max-age=5");
        let Some(fresh) = fresh else {
            assert_eq!(play.get(&[]).await.did(), "fwd=uri-miss");
            continue;
        };
        seconds(fresh - 1).await;
        assert_eq!(play.get(&[]).await.did(), "hit");
        seconds(1).await;
        assert_ne!(play.get(&[]).await.did(), "hit");
    }
}

#[tokio::test(start_paused = true)]
async fn origins_that_say_nothing_get_a_default() {
    let layer = cache().default_ttl_by(|head| {
        head.uri().path().starts_with("/static").then_some(Duration::from_secs(30))
    });
    let play = Play::with(layer, |_, head| match head.uri().path() {
        "/static/denied" => answer(403, &[], "x"),
        "/static/login" => answer(401, &[("cache-control", "public")], "x"),
        "/static/said" => answer(200, &[("cache-control", "max-age=1")], "x"),
        "/static/gone" => answer(404, &[], "x"),
        _ => answer(200, &[], "x"),
    });
    for (path, hits) in [
        ("/static/a", true),
        ("/static/gone", true),
        ("/static/denied", false),
        ("/static/login", false),
        ("/static/said", false),
        ("/other", false),
    ] {
        play.ask(request("GET", path, &[])).await;
        seconds(29).await;
        let did = play.ask(request("GET", path, &[])).await;
        assert_eq!(did.did() == "hit", hits, "{path}");
    }
}

#[tokio::test(start_paused = true)]
async fn no_default_is_made_up_for_who_sends_a_cookie() {
    let layer = cache().default_ttl(Duration::from_secs(30));
    let play = Play::with(layer, |_, _| answer(200, &[], "whose?"));
    for did in ["fwd=uri-miss", "fwd=uri-miss"] {
        assert_eq!(play.get(&[("cookie", "session=a")]).await.did(), did);
    }
    play.get(&[]).await;
    assert_eq!(play.get(&[]).await.did(), "hit");
}

#[tokio::test(start_paused = true)]
async fn an_unsafe_method_invalidates_what_its_response_names() {
    for (name, value, did) in [
        ("location", "/page", "fwd=uri-miss; stored"),
        ("content-location", "http://origin.example/page", "fwd=uri-miss; stored"),
        ("location", "http://elsewhere.example/page", "hit"),
        ("link", "/page", "hit"),
    ] {
        let play = Play::new(move |_, head| match head.method().as_str() {
            "GET" => answer(200, &[FRESH], "page"),
            _ => answer(201, &[(name, value)], ""),
        });
        play.ask(request("GET", "/page", &[])).await;
        play.ask(request("POST", "/pages", &[])).await;
        assert_eq!(play.ask(request("GET", "/page", &[])).await.did(), did, "{name}: {value}");
    }
}

#[tokio::test(start_paused = true)]
async fn the_cache_has_the_name_it_is_given() {
    let play = Play::with(cache().cache_status("edge one"), |_, _| answer(200, &[FRESH], "x"));
    let said = ["\"edge one\"; fwd=uri-miss; stored", "\"edge one\"; hit; ttl=60"];
    for said in said {
        assert_eq!(play.get(&[]).await.field("cache-status"), said);
    }
    let play = Play::with(cache().cache_status(None), |_, _| answer(200, &[FRESH], "x"));
    for age in [None, Some("0")] {
        let got = play.get(&[]).await;
        assert!(!got.fields.contains_key("cache-status"));
        assert_eq!(got.fields.get("age").map(|age| age.to_str().unwrap()), age);
    }
}

#[test]
#[should_panic(expected = "a name is printable ASCII")]
fn a_name_that_is_no_name_is_refused() {
    let _ = CacheLayer::new(1).cache_status("");
}
