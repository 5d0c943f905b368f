//! The rules, seen from outside: what a client gets, and what the origin is asked.

use tower_edge_testkit::{Gate, MockBody, Received};

use crate::play::{Play, answer, request, respond, seconds};

const FRESH: &[(&str, &str)] = &[("cache-control", "max-age=60"), ("etag", "\"a\"")];
const VALIDATED: &str = "fwd=stale; fwd-status=304";

#[tokio::test(start_paused = true)]
async fn a_fresh_response_is_served_with_its_age() {
    let play = Play::always(FRESH);
    let first = play.get(&[]).await;
    assert_eq!((first.text(), first.did()), ("body 0".into(), "fwd=uri-miss; stored"));
    assert!(!first.fields.contains_key("age"));
    seconds(7).await;
    let second = play.get(&[]).await;
    assert_eq!((second.text(), second.did()), ("body 0".into(), "hit"));
    assert_eq!(second.field("cache-status"), "tower-edge; hit; ttl=53");
    assert_eq!((second.field("age"), second.field("content-length")), ("7", "6"));
    assert_eq!(second.field("date"), "Sun, 06 Nov 1994 08:49:37 GMT");
    assert_eq!(second.field("etag"), "\"a\"");
    assert_eq!(play.origin.calls(), 1);
}

#[tokio::test(start_paused = true)]
async fn the_age_counts_what_other_caches_and_the_way_took() {
    let play = Play::always(&[("cache-control", "max-age=60"), ("age", "50")]);
    play.get(&[]).await;
    seconds(9).await;
    assert_eq!(play.get(&[]).await.field("age"), "59");
    seconds(1).await;
    assert_eq!(play.get(&[]).await.did(), "fwd=stale; stored");
}

#[tokio::test(start_paused = true)]
async fn what_has_an_age_that_cannot_be_read_is_stale() {
    for (age, did) in [("5", "hit"), ("5, 6", VALIDATED), ("-1", VALIDATED), ("soon", VALIDATED)] {
        let play = Play::new(move |_, head| match head.headers().contains_key("if-none-match") {
            true => answer(304, &[("cache-control", "max-age=60")], ""),
            false => answer(200, &[FRESH[0], FRESH[1], ("age", age)], "body"),
        });
        play.get(&[]).await;
        assert_eq!(play.get(&[]).await.did(), did, "{age}");
        let hit = play.get(&[]).await;
        assert_eq!((hit.did(), hit.field("age")), ("hit", if age == "5" { "5" } else { "0" }));
    }
}

#[tokio::test(start_paused = true)]
async fn targets_are_told_apart_by_all_their_parts() {
    let play = Play::always(FRESH);
    for (target, host, body) in [
        ("/a", "x", "body 0"),
        ("/b", "x", "body 1"),
        ("/a?q", "x", "body 2"),
        ("/a", "y", "body 3"),
        ("https://x/a", "x", "body 4"),
        ("http://X:80/a", "y", "body 0"),
        ("/a", "X", "body 0"),
    ] {
        let got = play.ask(request("GET", target, &[("host", host)])).await;
        assert_eq!(got.text(), body, "{target} {host}");
    }
}

#[tokio::test(start_paused = true)]
async fn requests_whose_host_is_in_doubt_are_passed_on() {
    let play = Play::always(FRESH);
    for _ in 0..2 {
        let mut doubtful = request("GET", "/", &[("host", "a")]);
        doubtful.headers_mut().append("host", "b".parse().unwrap());
        assert_eq!(play.ask(doubtful).await.did(), "fwd=uri-miss");
    }
    assert_eq!(play.origin.calls(), 2);
}

#[tokio::test(start_paused = true)]
async fn what_the_origin_forbids_is_not_stored() {
    for (fields, token) in [
        (&[("cache-control", "max-age=60, no-store")][..], None),
        (&[("cache-control", "max-age=60, private")], None),
        (&[("cache-control", "max-age=60")], Some("Bearer a")),
        (&[("cache-control", "max-age=60"), ("set-cookie", "a=b")], None),
        (&[("cache-control", "max-age=60"), ("vary", "*")], None),
        (&[], None),
    ] {
        let play = Play::new(move |_, _| answer(200, fields, "x"));
        let token = token.map(|token| ("authorization", token));
        for _ in 0..2 {
            assert_eq!(play.get(token.as_slice()).await.did(), "fwd=uri-miss", "{fields:?}");
        }
        assert_eq!(play.cache.stats().resources, 0);
    }
}

#[tokio::test(start_paused = true)]
async fn a_stale_response_is_validated_and_kept() {
    let play = Play::new(|_, head| match head.headers().get("if-none-match") {
        Some(tag) if tag == "\"a\"" => {
            answer(304, &[("cache-control", "max-age=9"), ("x", "2")], "")
        }
        _ => answer(200, &[("cache-control", "max-age=5"), ("etag", "\"a\""), ("x", "1")], "body"),
    });
    play.get(&[]).await;
    seconds(5).await;
    let validated = play.get(&[]).await;
    assert_eq!((validated.status.as_u16(), validated.text()), (200, "body".into()));
    assert_eq!(validated.did(), "fwd=stale; fwd-status=304");
    assert_eq!((validated.field("age"), validated.field("x")), ("0", "2"));
    seconds(8).await;
    let hit = play.get(&[]).await;
    assert_eq!((hit.did(), hit.field("age"), hit.field("x")), ("hit", "8", "2"));
    assert_eq!(hit.field("cache-control"), "max-age=9");
    assert_eq!(play.origin.calls(), 2);
    assert_eq!(play.cache.stats().validated, 1);
}

#[tokio::test(start_paused = true)]
async fn last_modified_validates_too() {
    const MODIFIED: (&str, &str) = ("last-modified", "Sun, 06 Nov 1994 08:00:00 GMT");
    let play = Play::new(|_, head| match head.headers().get("if-modified-since") {
        Some(since) => {
            assert_eq!(since, MODIFIED.1);
            answer(304, &[], "")
        }
        None => answer(200, &[("cache-control", "max-age=5"), MODIFIED], "body"),
    });
    play.get(&[]).await;
    seconds(60).await;
    assert_eq!(play.get(&[]).await.text(), "body");
    seconds(4).await;
    assert_eq!(play.get(&[]).await.did(), "hit");
}

#[tokio::test(start_paused = true)]
async fn no_cache_is_stored_and_validated_each_time() {
    let play = Play::new(|_, head| match head.headers().contains_key("if-none-match") {
        true => answer(304, &[], ""),
        false => answer(200, &[("cache-control", "no-cache"), ("etag", "\"a\"")], "body"),
    });
    play.get(&[]).await;
    for calls in 2..4 {
        let got = play.get(&[]).await;
        assert_eq!((got.text(), got.did()), ("body".into(), "fwd=stale; fwd-status=304"));
        assert_eq!(play.origin.calls(), calls);
    }
}

#[tokio::test(start_paused = true)]
async fn a_changed_response_takes_the_place_of_the_stale_one() {
    let play = Play::new(|number, _| {
        let tag = format!("\"{number}\"");
        answer(200, &[("cache-control", "max-age=5"), ("etag", &tag)], &tag)
    });
    play.get(&[]).await;
    seconds(5).await;
    let changed = play.get(&[]).await;
    assert_eq!((changed.text(), changed.did()), ("\"1\"".into(), "fwd=stale; stored"));
    assert_eq!(play.get(&[]).await.text(), "\"1\"");
    assert_eq!(play.cache.stats().resources, 1);
}

#[tokio::test(start_paused = true)]
async fn a_304_about_something_else_validates_nothing() {
    for (control, update, status) in [
        ("max-age=5", ("etag", "\"b\""), 502),
        ("max-age=5", ("last-modified", "Sun, 06 Nov 1994 08:49:37 GMT"), 200),
        ("max-age=5, must-revalidate, stale-if-error=9", ("etag", "\"b\""), 502),
        ("max-age=5, stale-if-error=9", ("etag", "\"b\""), 200),
    ] {
        let play = Play::new(move |_, head| match head.headers().contains_key("if-none-match") {
            true => answer(304, &[update, ("cache-control", "max-age=60")], ""),
            false => answer(200, &[("cache-control", control), ("etag", "\"a\"")], "body"),
        });
        play.get(&[]).await;
        seconds(5).await;
        let got = play.get(&[]).await;
        assert_eq!(got.status, status, "{control} {update:?}");
        if update.0 == "etag" {
            assert_eq!(play.get(&[]).await.did(), "fwd=uri-miss; stored");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_304_that_says_no_store_is_obeyed() {
    let play = Play::new(|_, head| match head.headers().contains_key("if-none-match") {
        true => answer(304, &[("etag", "\"a\""), ("cache-control", "no-store")], ""),
        false => answer(200, &[("cache-control", "max-age=5"), ("etag", "\"a\"")], "body"),
    });
    play.get(&[]).await;
    seconds(5).await;
    assert_eq!(play.get(&[]).await.text(), "body");
    assert_eq!(play.cache.stats().resources, 0);
}

#[tokio::test(start_paused = true)]
async fn clients_that_have_it_get_304_from_the_store() {
    let play = Play::always(&[("cache-control", "max-age=60"), ("etag", "\"a\""), ("x", "y")]);
    play.get(&[]).await;
    seconds(3).await;
    let has = play.get(&[("if-none-match", "W/\"a\"")]).await;
    assert_eq!((has.status.as_u16(), has.text(), has.did()), (304, String::new(), "hit"));
    assert_eq!((has.field("etag"), has.field("age"), has.field("x")), ("\"a\"", "3", ""));
    assert!(!has.fields.contains_key("content-length"));
    let since = play.get(&[("if-modified-since", "Sun, 06 Nov 1994 08:49:37 GMT")]).await;
    assert_eq!(since.status, 304);
    assert_eq!(play.get(&[("if-none-match", "\"b\"")]).await.status, 200);
    assert_eq!(play.origin.calls(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_validated_response_answers_the_conditions_of_the_client() {
    let play = Play::new(|_, head| match head.headers().get("if-none-match") {
        Some(tag) => {
            assert_eq!(tag, "\"a\"");
            answer(304, &[], "")
        }
        None => answer(200, &[("cache-control", "no-cache"), ("etag", "\"a\"")], "body"),
    });
    play.get(&[]).await;
    assert_eq!(play.get(&[("if-none-match", "\"a\"")]).await.status, 304);
    let other = play.get(&[("if-none-match", "\"old\"")]).await;
    assert_eq!((other.status.as_u16(), other.text()), (200, "body".into()));
}

#[tokio::test(start_paused = true)]
async fn variants_are_kept_apart() {
    let play = Play::new(|_, head| {
        let language =
            head.headers().get("accept-language").map_or("none", |l| l.to_str().unwrap());
        answer(200, &[("cache-control", "max-age=60"), ("vary", "Accept-Language")], language)
    });
    let asked: [&[(&str, &str)]; 3] =
        [&[("accept-language", "de")], &[("accept-language", "en")], &[]];
    for (did, count) in [("stored", 3), ("hit", 3)] {
        for fields in asked {
            let got = play.get(fields).await;
            assert_eq!(got.text(), fields.first().map_or("none", |field| field.1));
            assert!(got.did().ends_with(did), "{}", got.did());
        }
        assert_eq!(play.origin.calls(), count);
    }
    assert_eq!(play.get(&[("accept-language", "fr")]).await.did(), "fwd=vary-miss; stored");
    assert_eq!(play.cache.stats().resources, 1);
}

#[tokio::test(start_paused = true)]
async fn a_head_is_answered_from_a_stored_get() {
    let play = Play::always(FRESH);
    assert_eq!(play.ask(request("HEAD", "/", &[])).await.did(), "fwd=uri-miss");
    assert_eq!(play.cache.stats().resources, 0);
    play.get(&[]).await;
    let head = play.ask(request("HEAD", "/", &[])).await;
    assert_eq!(
        (head.did(), head.text(), head.field("content-length")),
        ("hit", String::new(), "6")
    );
    let has = play.ask(request("HEAD", "/", &[("if-none-match", "\"a\"")])).await;
    assert_eq!(has.status, 304);
}

#[tokio::test(start_paused = true)]
async fn an_unsafe_method_that_succeeds_invalidates() {
    for (method, status, invalidates) in [
        ("POST", 200, true),
        ("PUT", 303, true),
        ("DELETE", 204, true),
        ("INVENTED", 200, true),
        ("POST", 404, false),
        ("POST", 500, false),
        ("OPTIONS", 200, false),
    ] {
        let play = Play::new(move |_, head| match head.method().as_str() {
            "GET" => answer(200, FRESH, "body"),
            _ => answer(status, &[], ""),
        });
        play.get(&[]).await;
        assert_eq!(play.ask(request(method, "/", &[])).await.did(), "fwd=method");
        let did = if invalidates { "fwd=uri-miss; stored" } else { "hit" };
        assert_eq!(play.get(&[]).await.did(), did, "{method} {status}");
    }
}

#[tokio::test(start_paused = true)]
async fn what_was_on_its_way_during_an_invalidation_is_not_stored() {
    let gate = Gate::closed();
    let slow = gate.clone();
    let play = Play::new(move |_, head| match head.method().as_str() {
        "GET" => respond(200, FRESH, MockBody::new().data("old").hold(&slow).data(" value")),
        _ => answer(200, &[], ""),
    });
    let filling = play.send(request("GET", "/", &[])).await;
    play.ask(request("PUT", "/", &[])).await;
    gate.open();
    let got = Received::from(filling.into_body()).await;
    assert_eq!(got.bytes(), "old value");
    assert_eq!(play.get(&[]).await.did(), "fwd=uri-miss; stored");
}

#[tokio::test(start_paused = true)]
async fn the_client_may_ask_for_more_than_freshness() {
    let play = Play::always(FRESH);
    play.get(&[]).await;
    seconds(10).await;
    for (wish, did) in [
        ("max-age=10", "hit"),
        ("min-fresh=50", "hit"),
        ("max-age=9", "fwd=request; stored"),
        ("min-fresh=61", "fwd=request; stored"),
        ("no-cache", "fwd=request; stored"),
        ("no-store, max-age=0", "hit"),
    ] {
        assert_eq!(play.get(&[("cache-control", wish)]).await.did(), did, "{wish}");
    }
    assert_eq!(play.get(&[("pragma", "no-cache")]).await.did(), "fwd=request; stored");
}

/// RFC 8246: a reload asks for an age of zero, and need not reach the origin.
#[tokio::test(start_paused = true)]
async fn what_is_immutable_is_not_validated_while_it_is_fresh() {
    let play = Play::always(&[("cache-control", "max-age=60, immutable"), ("etag", "\"a\"")]);
    play.get(&[]).await;
    seconds(10).await;
    let reload = play.get(&[("cache-control", "max-age=0"), ("if-none-match", "\"a\"")]).await;
    assert_eq!((reload.status.as_u16(), reload.did()), (304, "hit"));
    let forced = play.get(&[("cache-control", "no-cache")]).await;
    assert_eq!(forced.did(), "fwd=request; stored");
    seconds(60).await;
    assert_eq!(play.get(&[("cache-control", "max-age=0")]).await.did(), "fwd=stale; stored");
}

#[tokio::test(start_paused = true)]
async fn only_if_cached_never_goes_upstream() {
    let play = Play::always(FRESH);
    let only = [("cache-control", "only-if-cached")];
    let missing = play.get(&only).await;
    assert_eq!((missing.status.as_u16(), missing.did()), (504, "detail=only-if-cached"));
    assert_eq!(missing.field("content-type"), "application/problem+json");
    play.get(&[]).await;
    assert_eq!(play.get(&only).await.did(), "hit");
    assert_eq!(play.origin.calls(), 1);
}

#[tokio::test(start_paused = true)]
async fn requests_that_a_cache_cannot_judge_are_passed_on() {
    let play = Play::always(FRESH);
    play.get(&[]).await;
    for fields in [
        &[("if-match", "\"a\"")][..],
        &[("if-unmodified-since", "Sun, 06 Nov 1994 08:49:37 GMT")],
        &[("connection", "upgrade"), ("upgrade", "websocket")],
    ] {
        assert_eq!(play.get(fields).await.did(), "fwd=bypass", "{fields:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_get_with_a_body_neither_fills_nor_hits() {
    let play = Play::always(FRESH);
    let fat = || request("GET", "/", &[]).map(|_| MockBody::new().data("poison"));
    assert_eq!(play.ask(fat()).await.did(), "fwd=bypass");
    assert_eq!(play.get(&[]).await.did(), "fwd=uri-miss; stored");
    assert_eq!(play.ask(fat()).await.text(), "body 2");
}

#[tokio::test(start_paused = true)]
async fn guesses_are_made_only_where_they_are_allowed() {
    let hour_ago = ("last-modified", "Sun, 06 Nov 1994 07:49:37 GMT");
    let play = Play::new(move |_, head| match head.uri().path() {
        "/plain" => answer(200, &[hour_ago], "x"),
        _ => answer(302, &[hour_ago], "x"),
    });
    for (path, did) in [("/plain", "hit"), ("/redirect", "fwd=uri-miss")] {
        play.ask(request("GET", path, &[])).await;
        seconds(359).await;
        assert_eq!(play.ask(request("GET", path, &[])).await.did(), did);
    }
    seconds(360).await;
    assert_eq!(play.ask(request("GET", "/plain", &[])).await.did(), "fwd=stale; stored");
}

#[tokio::test(start_paused = true)]
async fn the_statements_of_other_caches_are_kept() {
    let play = Play::always(&[("cache-control", "max-age=60"), ("cache-status", "inner; hit")]);
    for did in ["fwd=uri-miss; stored", "hit", "hit"] {
        let got = play.get(&[]).await;
        assert_eq!(got.did(), did);
        assert_eq!(got.fields.get_all("cache-status").iter().count(), 2);
        assert_eq!(got.field("cache-status"), "inner; hit");
    }
}
