//! Validation: which stored response a 304 means, and what HEAD tells.

use crate::play::{Play, answer, cache, request, seconds};

/// An origin with a page in two languages, each with its own tag.
fn bilingual() -> Play {
    Play::new(|_, head| {
        let german = head
            .headers()
            .get("accept-language")
            .is_some_and(|l| l.to_str().unwrap().starts_with("de"));
        let tag = if german { "\"de\"" } else { "\"en\"" };
        let known = head.headers().get("if-none-match");
        let known = known.is_some_and(|known| known.to_str().unwrap().contains(tag));
        let fields = [("cache-control", "max-age=60"), ("etag", tag), ("vary", "accept-language")];
        match known {
            true => answer(304, &fields, ""),
            false => answer(200, &fields, tag),
        }
    })
}

#[tokio::test(start_paused = true)]
async fn a_new_variant_may_be_one_that_is_stored() {
    let play = bilingual();
    for language in ["en", "de"] {
        play.get(&[("accept-language", language)]).await;
    }
    let swiss = play.get(&[("accept-language", "de-CH")]).await;
    assert_eq!((swiss.status.as_u16(), swiss.text()), (200, "\"de\"".into()));
    assert_eq!(swiss.did(), "fwd=vary-miss; fwd-status=304");
    assert_eq!(play.origin.requests()[2].headers["if-none-match"], "\"de\", \"en\"");
    for (language, text) in [("de-CH", "\"de\""), ("de", "\"de\""), ("en", "\"en\"")] {
        let got = play.get(&[("accept-language", language)]).await;
        assert_eq!((got.text(), got.did()), (text.into(), "hit"));
    }
}

#[tokio::test(start_paused = true)]
async fn the_clients_conditions_hold_for_the_variant_that_was_chosen() {
    let play = bilingual();
    play.get(&[("accept-language", "de")]).await;
    let known = [("accept-language", "de-AT"), ("if-none-match", "\"de\"")];
    assert_eq!(play.get(&known).await.status, 304);
    let other = [("accept-language", "de-LI"), ("if-none-match", "\"en\"")];
    let got = play.get(&other).await;
    assert_eq!((got.status.as_u16(), got.text()), (200, "\"de\"".into()));
}

#[tokio::test(start_paused = true)]
async fn a_304_about_none_of_several_variants_is_an_error_of_the_origin() {
    let play = Play::new(|number, _| match number {
        0 => answer(200, &[("cache-control", "max-age=60"), ("etag", "\"a\""), ("vary", "x")], "a"),
        _ => answer(304, &[("etag", "\"z\"")], ""),
    });
    play.get(&[("x", "1")]).await;
    assert_eq!(play.get(&[("x", "2")]).await.status, 502);
    assert_eq!(play.cache.stats().resources, 0);
}

#[tokio::test(start_paused = true)]
async fn what_one_client_may_not_leave_behind_stays_for_the_others() {
    for wish in [("authorization", "Bearer x"), ("cache-control", "no-store")] {
        let play = Play::new(|_, head| match head.headers().contains_key("if-none-match") {
            true => answer(304, &[("cache-control", "max-age=60")], ""),
            false => answer(200, &[("cache-control", "max-age=5"), ("etag", "\"a\"")], "body"),
        });
        play.get(&[]).await;
        seconds(5).await;
        assert_eq!(play.get(&[wish]).await.text(), "body");
        assert_eq!(play.get(&[]).await.did(), "fwd=stale; fwd-status=304", "{wish:?}");
        assert_eq!(play.get(&[]).await.did(), "hit");
    }
}

#[tokio::test(start_paused = true)]
async fn a_head_updates_or_removes_what_is_stored() {
    const OLD: &[(&str, &str)] =
        &[("cache-control", "max-age=5"), ("etag", "\"a\""), ("content-length", "4")];
    for (fields, did) in [
        (&[("cache-control", "max-age=60"), ("etag", "\"a\"")][..], "hit"),
        (&[("cache-control", "max-age=60"), ("content-length", "4")], "hit"),
        (&[("cache-control", "max-age=60"), ("etag", "\"b\"")], "fwd=uri-miss; stored"),
        (&[("cache-control", "max-age=60"), ("content-length", "5")], "fwd=uri-miss; stored"),
        (&[("cache-control", "no-store"), ("etag", "\"a\"")], "fwd=uri-miss; stored"),
    ] {
        let play = Play::new(move |_, head| match head.method().as_str() {
            "HEAD" => answer(200, fields, ""),
            _ => answer(200, OLD, "body"),
        });
        play.get(&[]).await;
        seconds(5).await;
        assert_eq!(play.ask(request("HEAD", "/", &[])).await.did(), "fwd=stale");
        assert_eq!(play.get(&[]).await.did(), did, "{fields:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_stored_response_without_a_tag_gets_one_of_its_content() {
    let play = Play::new(|number, head| {
        let since = head.headers().contains_key("if-modified-since");
        assert!(!head.headers().contains_key("if-none-match"));
        let modified = ("last-modified", "Sun, 06 Nov 1994 08:00:00 GMT");
        match since {
            true if number < 3 => answer(304, &[("cache-control", "max-age=5")], ""),
            true => answer(200, &[("cache-control", "max-age=5"), modified], "other"),
            false => answer(200, &[("cache-control", "max-age=5"), modified], "abc"),
        }
    });
    assert!(!play.get(&[]).await.fields.contains_key("etag"));
    let tag = "\"ba7816bf8f01cfea414140de5dae2223\"";
    assert_eq!(play.get(&[]).await.field("etag"), tag);
    assert_eq!(play.get(&[("if-none-match", tag)]).await.status, 304);
    for _ in 0..2 {
        seconds(5).await;
        let validated = play.get(&[]).await;
        assert_eq!((validated.field("etag"), validated.did()), (tag, "fwd=stale; fwd-status=304"));
    }
    seconds(5).await;
    assert_eq!(play.get(&[]).await.text(), "other");
    assert_eq!(play.get(&[("if-none-match", tag)]).await.text(), "other");
}

#[tokio::test(start_paused = true)]
async fn no_tag_is_made_where_one_is_or_none_is_wanted() {
    const FRESH: (&str, &str) = ("cache-control", "max-age=60");
    let tagged = Play::always(&[FRESH, ("etag", "W/\"a\"")]);
    let unwanted = Play::with(cache().generate_etag(false), |_, _| answer(200, &[FRESH], "x"));
    let missing = Play::new(|_, _| answer(404, &[FRESH], "x"));
    for (play, tag) in [(tagged, "W/\"a\""), (unwanted, ""), (missing, "")] {
        play.get(&[]).await;
        let hit = play.get(&[]).await;
        assert_eq!((hit.did(), hit.field("etag")), ("hit", tag));
    }
}
