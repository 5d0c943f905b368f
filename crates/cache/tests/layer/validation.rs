//! Validation: which stored response a 304 means, and what HEAD tells.

use tower_edge_cache::SetCookie;
use tower_edge_testkit::MockBody;

use crate::play::{Play, answer, cache, request, respond, seconds, tasks};

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

/// An origin that encodes as nginx does: the tag of what is encoded is the weak form
/// of the plain one, and a 304 has that.
fn weakening() -> Play {
    Play::new(|_, head| {
        let field = |name| head.headers().get(name).map_or("", |value| value.to_str().unwrap());
        let vary = ("vary", "accept-encoding");
        match (field("if-none-match").contains("\"v1\""), field("accept-encoding").contains("gzip"))
        {
            (true, _) => answer(304, &[("etag", "\"v1\""), FRESH], ""),
            (false, true) => {
                let fields = [FRESH, vary, ("etag", "W/\"v1\""), ("content-encoding", "gzip")];
                answer(200, &fields, "encoded")
            }
            (false, false) => answer(200, &[FRESH, vary, ("etag", "\"v1\"")], "plain"),
        }
    })
}

const FRESH: (&str, &str) = ("cache-control", "max-age=60");

#[tokio::test(start_paused = true)]
async fn a_304_may_name_the_strong_form_of_a_weak_tag() {
    let play = weakening();
    for did in ["fwd=uri-miss; stored", "fwd=stale; fwd-status=304", "fwd=stale; fwd-status=304"] {
        let got = play.get(&[("accept-encoding", "gzip")]).await;
        assert_eq!((got.status.as_u16(), got.text()), (200, "encoded".into()));
        // The strong one is for other bytes.
        assert_eq!((got.field("etag"), got.field("content-encoding")), ("W/\"v1\"", "gzip"));
        assert_eq!(got.did(), did);
        assert_eq!(play.get(&[("accept-encoding", "gzip")]).await.did(), "hit");
        seconds(60).await;
    }
}

#[tokio::test(start_paused = true)]
async fn who_comes_first_does_not_decide_in_which_coding_others_get_it() {
    for order in [["gzip", "identity", "gzip, br"], ["identity", "gzip, br", "gzip"]] {
        let play = weakening();
        for accepts in order.iter().chain(&order) {
            let got = play.get(&[("accept-encoding", accepts)]).await;
            let text = if *accepts == "identity" { "plain" } else { "encoded" };
            assert_eq!((got.status.as_u16(), got.text()), (200, text.into()), "{accepts}");
        }
        assert_eq!(play.origin.calls(), 3);
    }
}

#[tokio::test(start_paused = true)]
async fn an_encoded_variant_whose_tag_tells_it_apart_is_asked_about() {
    let play = Play::new(|_, head| match head.headers().get("if-none-match") {
        Some(known) => answer(304, &[("etag", known.to_str().unwrap()), FRESH], ""),
        None => {
            let fields = [("vary", "accept-encoding"), ("etag", "\"v1-gzip\"")];
            answer(200, &[&fields[..], &[("content-encoding", "gzip"), FRESH]].concat(), "encoded")
        }
    });
    for (accepts, did) in [
        ("gzip", "fwd=uri-miss; stored"),
        ("gzip, br", "fwd=vary-miss; fwd-status=304"),
        // It could not read what is there.
        ("br", "fwd=vary-miss; stored"),
    ] {
        assert_eq!(play.get(&[("accept-encoding", accepts)]).await.did(), did);
    }
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

/// RFC 9111 §4.3.4: the client gets the fields of the 304, whoever may store them.
#[tokio::test(start_paused = true)]
async fn the_client_gets_the_newer_fields_though_they_may_not_be_stored() {
    const NEW: &[(&str, &str)] = &[("x", "new"), ("etag", "\"a\"")];
    for (wish, update, did) in [
        (("authorization", "Bearer x"), ("x-y", "z"), "hit"),
        (("cache-control", "no-store, no-cache"), ("x-y", "z"), "hit"),
        (("cache-control", "no-cache"), ("set-cookie", "a=b"), "hit"),
        (("cache-control", "no-cache"), ("cache-control", "no-store"), "fwd=uri-miss; stored"),
        (("cache-control", "no-cache"), ("cache-control", "private"), "fwd=uri-miss; stored"),
        (("cache-control", "no-cache"), ("cache-control", "private=\"x\", max-age=60"), "hit"),
    ] {
        let play = Play::new(move |_, head| match head.headers().contains_key("if-none-match") {
            true => answer(304, &[NEW, &[update]].concat(), ""),
            false => {
                let control = ("cache-control", "max-age=60");
                answer(200, &[control, ("etag", "\"a\""), ("x", "old")], "body")
            }
        });
        play.get(&[]).await;
        let reload = ("cache-control", "no-cache");
        let wishes = if wish.0 == "authorization" { vec![wish, reload] } else { vec![wish] };
        let got = play.get(&wishes).await;
        assert_eq!((got.status.as_u16(), got.text(), got.field("x")), (200, "body".into(), "new"));
        assert_eq!((got.field(update.0), got.field("age")), (update.1, "0"), "{wish:?} {update:?}");
        let next = play.get(&[]).await;
        assert_eq!(next.did(), did, "{wish:?} {update:?}");
        let kept = if update.1.starts_with("private=") { "" } else { "old" };
        assert_eq!((next.field("x"), next.field("set-cookie")), (kept, ""));
    }
}

/// RFC 9111 §4.3.4: the variants of one strong tag are one representation.
#[tokio::test(start_paused = true)]
async fn all_variants_of_one_strong_tag_are_updated() {
    for (tag, updated) in [("\"a\"", true), ("W/\"a\"", false)] {
        let play = Play::new(move |number, head| {
            let number = number.to_string();
            let tag = match head.headers()["accept-language"].to_str().unwrap() {
                "fr" => "\"fr\"",
                _ => tag,
            };
            let fields = [
                ("cache-control", "max-age=5"),
                ("etag", tag),
                ("vary", "accept-language"),
                ("x", &number),
            ];
            let known = head.headers().get("if-none-match");
            match known.is_some_and(|known| known.to_str().unwrap().contains(tag)) {
                true if head.headers()["accept-language"] != "en" || number != "1" => {
                    answer(304, &fields, "")
                }
                _ => answer(200, &fields, "body"),
            }
        });
        for language in ["de", "en", "fr"] {
            play.get(&[("accept-language", language)]).await;
        }
        seconds(5).await;
        let validated = play.get(&[("accept-language", "de")]).await;
        assert_eq!((validated.did(), validated.field("x")), ("fwd=stale; fwd-status=304", "3"));
        let other = play.get(&[("accept-language", "en")]).await;
        assert_eq!((other.did() == "hit", other.field("x") == "3"), (updated, updated), "{tag}");
        assert_eq!(play.get(&[("accept-language", "fr")]).await.did(), "fwd=stale; fwd-status=304");
    }
}

/// What the newer `Vary` names nobody noted of the other variants.
#[tokio::test(start_paused = true)]
async fn a_variant_that_could_not_be_selected_any_longer_is_removed() {
    let play = Play::new(|number, head| {
        let vary = if number < 2 { "accept-language" } else { "accept-language, x" };
        let fields = [("cache-control", "max-age=5"), ("etag", "\"a\""), ("vary", vary)];
        match number >= 2 && head.headers().contains_key("if-none-match") {
            true => answer(304, &fields, ""),
            false => answer(200, &fields, "body"),
        }
    });
    for language in ["de", "en"] {
        play.get(&[("accept-language", language)]).await;
    }
    seconds(5).await;
    play.get(&[("accept-language", "de")]).await;
    assert_eq!(play.get(&[("accept-language", "de")]).await.did(), "hit");
    let other = play.get(&[("accept-language", "en")]).await;
    assert_eq!(other.did(), "fwd=vary-miss; fwd-status=304");
}

/// RFC 9111 §4.3.2: of a part that does not answer nobody is asked.
#[tokio::test(start_paused = true)]
async fn tags_of_parts_are_not_named_in_a_validation() {
    let play = Play::new(|_, head| {
        let fields = [("cache-control", "max-age=60"), ("vary", "accept-language")];
        let tag = ("etag", head.headers().get("x").map_or("\"part\"", |_| "\"whole\""));
        match head.headers().contains_key("range") {
            true => {
                answer(206, &[fields[0], fields[1], tag, ("content-range", "bytes 0-0/4")], "b")
            }
            false => answer(200, &[fields[0], fields[1], tag], "body"),
        }
    });
    play.get(&[("accept-language", "de"), ("range", "bytes=0-0")]).await;
    play.get(&[("accept-language", "en"), ("x", "1")]).await;
    play.get(&[("accept-language", "fr")]).await;
    assert_eq!(play.origin.requests()[2].headers["if-none-match"], "\"whole\"");
}

#[tokio::test(start_paused = true)]
async fn a_tag_that_an_origin_begins_to_send_is_learnt_by_the_date() {
    const MODIFIED: (&str, &str) = ("last-modified", "Sun, 06 Nov 1994 08:00:00 GMT");
    const DATE: (&str, &str) = ("date", "Sun, 06 Nov 1994 08:49:43 GMT");
    let play = Play::new(|_, head| match head.headers().contains_key("if-modified-since") {
        true => answer(304, &[MODIFIED, DATE, ("etag", "\"new\"")], ""),
        false => answer(200, &[("cache-control", "max-age=5"), MODIFIED], "body"),
    });
    play.get(&[]).await;
    seconds(6).await;
    let got = play.get(&[]).await;
    assert_eq!((got.text(), got.did()), ("body".into(), "fwd=stale; fwd-status=304"));
    let hit = play.get(&[]).await;
    assert_eq!((hit.field("etag"), hit.did()), ("\"new\"", "hit"));
}

#[tokio::test(start_paused = true)]
async fn a_head_updates_all_that_it_could_select() {
    for (tag, did) in [("\"a\"", "hit"), ("\"b\"", "fwd=uri-miss; stored")] {
        let play = Play::new(move |number, head| match head.method().as_str() {
            "HEAD" => answer(200, &[("cache-control", "max-age=60"), ("etag", tag)], ""),
            _ => {
                let vary = ["x", "x, y"][number as usize % 2];
                let fields = [("cache-control", "max-age=5"), ("etag", "\"a\""), ("vary", vary)];
                answer(200, &fields, "body")
            }
        });
        for _ in 0..2 {
            play.get(&[("cache-control", "no-cache")]).await;
        }
        play.get(&[("x", "other")]).await;
        seconds(5).await;
        play.ask(request("HEAD", "/", &[])).await;
        assert_eq!(play.get(&[]).await.did(), did);
        if did == "hit" {
            // It selects one of the two only.
            assert_eq!(play.get(&[("y", "1")]).await.did(), "hit");
        }
        assert_ne!(play.get(&[("x", "other")]).await.did(), "hit");
    }
}

#[tokio::test(start_paused = true)]
async fn a_head_updates_or_removes_what_is_stored() {
    const OLD: &[(&str, &str)] =
        &[("cache-control", "max-age=5"), ("etag", "\"a\""), ("content-length", "4")];
    for (fields, did) in [
        (&[("cache-control", "max-age=60"), ("etag", "\"a\"")][..], "hit"),
        (&[("cache-control", "max-age=60"), ("etag", "W/\"a\"")], "hit"),
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
        let got = play.get(&[]).await;
        assert_eq!((got.did(), got.field("etag")), (did, "\"a\""), "{fields:?}");
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

#[tokio::test(start_paused = true)]
async fn what_was_fetched_is_not_sent_to_who_has_it_but_stored() {
    const NEW: &[(&str, &str)] = &[("cache-control", "max-age=5"), ("etag", "\"new\"")];
    let play = Play::new(|number, _| match number {
        0 => answer(200, &[("cache-control", "max-age=5"), ("etag", "\"old\"")], "old"),
        _ => respond(200, NEW, MockBody::new().data("n").pause().data("ew")),
    });
    play.get(&[]).await;
    seconds(7).await;
    // Stale here, so the origin is asked about the old one; the client has the new.
    let got = play.get(&[("if-none-match", "\"new\"")]).await;
    assert_eq!((got.status.as_u16(), got.text()), (304, String::new()));
    assert_eq!((got.field("etag"), got.did()), ("\"new\"", "fwd=stale; stored"));
    tasks().await;
    let next = play.get(&[]).await;
    assert_eq!((next.text(), next.did()), ("new".into(), "hit"));
    assert_eq!(play.origin.calls(), 2);
}

#[tokio::test(start_paused = true)]
async fn what_sets_a_cookie_goes_out_whole_though_the_client_has_it() {
    let fields = &[FRESH_FOR_ALL, ("etag", "\"a\""), ("set-cookie", "a=b")];
    let layer = cache().set_cookie(SetCookie::Rfc);
    let play = Play::with(layer, |number, _| match number {
        0 => answer(200, &[FRESH_FOR_ALL, ("etag", "\"old\"")], "old"),
        _ => answer(200, fields, "body"),
    });
    play.get(&[]).await;
    seconds(61).await;
    let got = play.get(&[("if-none-match", "\"a\"")]).await;
    assert_eq!((got.status.as_u16(), got.field("set-cookie")), (200, "a=b"));
}

/// An origin that minds an exact date may have gone back to an earlier one: it has
/// evaluated the condition, and a cache does not do so again.
#[tokio::test(start_paused = true)]
async fn a_condition_that_the_origin_has_evaluated_is_not_evaluated_again() {
    let fields: &[(&str, &str)] =
        &[("cache-control", "max-age=60"), ("last-modified", "Sat, 05 Nov 1994 08:49:37 GMT")];
    let play = Play::new(move |_, _| answer(200, fields, "restored"));
    // Who sends a cookie is not asked for in the name of others.
    let since = ("if-modified-since", "Sun, 06 Nov 1994 08:49:37 GMT");
    let got = play.get(&[since, ("cookie", "a=b")]).await;
    assert_eq!(play.origin.requests()[0].headers[since.0], since.1);
    assert_eq!((got.status.as_u16(), got.text()), (200, "restored".into()));
    assert_eq!(got.did(), "fwd=uri-miss; stored");
}

const FRESH_FOR_ALL: (&str, &str) = ("cache-control", "max-age=60");
