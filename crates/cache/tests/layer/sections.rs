//! RFC 9111 and RFC 9110, section by section, where no other test has it.

use http::HeaderMap;
use tower_edge_testkit::{MockBody, Received};

use crate::play::{Play, answer, request, respond, seconds};

const FRESH: (&str, &str) = ("cache-control", "max-age=60");

/// Two responses that one request selects, the one that is generated last comes
/// first (RFC 9111 §4).
#[tokio::test(start_paused = true)]
async fn section_4_the_most_recent_by_date_is_used() {
    const LAST: &str = "Sun, 06 Nov 1994 08:49:37 GMT";
    const FIRST: &str = "Sun, 06 Nov 1994 08:49:27 GMT";
    for (dates, text) in [([LAST, FIRST], "0"), ([FIRST, LAST], "1"), ([LAST, LAST], "1")] {
        let play = Play::new(move |number, _| {
            let vary = ["x", "x, y"][number as usize];
            let fields = [FRESH, ("date", dates[number as usize]), ("vary", vary)];
            answer(200, &fields, &number.to_string())
        });
        play.get(&[("cache-control", "no-cache")]).await;
        play.get(&[("cache-control", "no-cache")]).await;
        let got = play.get(&[]).await;
        assert_eq!((got.text(), got.did()), (text.into(), "hit"), "{dates:?}");
    }
}

/// RFC 9111 §4.1: a page that forgets `Vary` for those who prefer nothing.
#[tokio::test(start_paused = true)]
async fn section_4_1_the_latest_vary_counts_for_responses_without_it() {
    for order in [["de", ""], ["", "de"]] {
        let play = Play::new(|_, head| {
            let language = head.headers().get("accept-language").map(|l| l.to_str().unwrap());
            let vary = ("vary", "accept-language");
            match language {
                Some("de") => answer(200, &[FRESH, vary], "de"),
                language => answer(200, &[FRESH], language.unwrap_or("default")),
            }
        });
        let asked = |language| [("accept-language", language)];
        let reload = ("cache-control", "no-cache");
        for language in order {
            match language {
                "" => play.get(&[reload]).await,
                language => play.get(&[asked(language)[0], reload]).await,
            };
        }
        assert_eq!(play.get(&asked("de")).await.did(), "hit");
        let french = play.get(&asked("fr")).await;
        assert_eq!((french.text(), french.did()), ("fr".into(), "fwd=vary-miss; stored"));
        assert_eq!(play.get(&[]).await.text(), "default");
        for (language, text) in [(None, "default"), (Some("de"), "de"), (Some("fr"), "fr")] {
            let asked: Vec<_> =
                language.map(|language| ("accept-language", language)).into_iter().collect();
            let got = play.get(&asked).await;
            assert_eq!((got.text(), got.did()), (text.into(), "hit"));
        }
    }
}

/// A field that stands for a part of the target is not like `Vary`: who sends it
/// removes nothing.
#[tokio::test(start_paused = true)]
async fn section_4_1_a_field_that_stands_for_the_target_removes_nothing() {
    let play = Play::always(&[FRESH]);
    play.get(&[]).await;
    play.get(&[("x-forwarded-host", "evil")]).await;
    assert_eq!((play.get(&[]).await.did(), play.origin.calls()), ("hit", 2));
}

/// RFC 9110 §9.3.3.
#[tokio::test(start_paused = true)]
async fn section_9_3_3_a_post_may_answer_for_its_target() {
    const HERE: (&str, &str) = ("content-location", "/");
    for (status, fields, did) in [
        (200, &[FRESH, HERE][..], "hit"),
        (200, &[("expires", "Sun, 06 Nov 1994 08:50:37 GMT"), HERE], "hit"),
        (200, &[FRESH, ("content-location", "http://origin.example/")], "hit"),
        (200, &[FRESH], "fwd=uri-miss; stored"),
        (200, &[FRESH, ("content-location", "/other")], "fwd=uri-miss; stored"),
        (200, &[FRESH, ("content-location", "http://elsewhere.example/")], "fwd=uri-miss; stored"),
        (200, &[HERE, ("cache-control", "public"), ("etag", "\"a\"")], "fwd=uri-miss; stored"),
        (200, &[HERE, ("last-modified", "Sat, 05 Nov 1994 08:49:37 GMT")], "fwd=uri-miss; stored"),
        (200, &[FRESH, HERE, ("cache-control", "no-store")], "fwd=uri-miss; stored"),
        (200, &[FRESH, HERE, ("set-cookie", "a=b")], "fwd=uri-miss; stored"),
        (201, &[FRESH, HERE], "fwd=uri-miss; stored"),
        (404, &[FRESH, HERE], "hit"),
    ] {
        let play = Play::new(move |_, head| match head.method().as_str() {
            "POST" => answer(status, fields, "posted"),
            _ => answer(200, &[FRESH], "got"),
        });
        play.get(&[]).await;
        let posted = play.ask(request("POST", "/", &[])).await;
        let stored = did == "hit" && status == 200;
        let said = if stored { "fwd=method; stored" } else { "fwd=method" };
        assert_eq!((posted.text(), posted.did()), ("posted".into(), said), "{status} {fields:?}");
        let got = play.get(&[]).await;
        assert_eq!(got.did(), did, "{status} {fields:?}");
        assert_eq!(got.text(), if stored { "posted" } else { "got" });
        let head = play.ask(request("HEAD", "/", &[])).await;
        assert_eq!(head.field("content-length"), got.text().len().to_string());
        assert_eq!(
            play.ask(request("POST", "/", &[])).await.text(),
            "posted",
            "never from the store"
        );
    }
}

/// The same safety as for GET, and what was on its way before is not stored.
#[tokio::test(start_paused = true)]
async fn section_9_3_3_a_post_is_stored_by_the_rules_of_a_get() {
    const FIELDS: &[(&str, &str)] = &[FRESH, ("content-location", "/"), ("vary", "x")];
    for (fields, did) in [
        (&[("x", "1")][..], "hit"),
        (&[("x", "2")], "fwd=vary-miss; stored"),
        (&[("x", "1"), ("authorization", "Bearer a")], "fwd=uri-miss; stored"),
        (&[("x", "1"), ("x-http-method-override", "PUT")], "fwd=uri-miss; stored"),
    ] {
        let play = Play::always(FIELDS);
        play.ask(request("POST", "/", fields)).await;
        assert_eq!(play.get(&[("x", "1")]).await.did(), did, "{fields:?}");
    }
    let play = Play::always(FIELDS);
    let late = play.send(request("POST", "/", &[])).await;
    play.ask(request("PUT", "/", &[])).await;
    Received::from(late.into_body()).await;
    assert_eq!(play.get(&[]).await.did(), "fwd=uri-miss; stored");
}

/// RFC 9111 §3.1.
#[tokio::test(start_paused = true)]
async fn section_3_1_all_fields_are_stored_but_those_of_a_connection_or_proxy() {
    let fields: &[(&str, &str)] = &[
        FRESH,
        ("x-unknown", "1"),
        ("link", "<a>"),
        ("content-range", "bytes */4"),
        ("proxy-authenticate", "Basic"),
        ("proxy-authentication-info", "x"),
        ("proxy-authorization", "Basic x"),
        ("connection", "x-hop"),
        ("x-hop", "1"),
    ];
    let trailers = HeaderMap::from_iter([("x-sum".parse().unwrap(), "1".parse().unwrap())]);
    let play = Play::new(move |_, _| {
        respond(200, fields, MockBody::new().data("body").trailers(trailers.clone()))
    });
    play.get(&[]).await;
    let hit = play.get(&[]).await;
    assert_eq!(hit.did(), "hit");
    for (name, value) in &fields[1..4] {
        assert_eq!(hit.field(name), *value);
    }
    for name in fields[4..].iter().map(|(name, _)| name).chain(&["x-sum"]) {
        assert!(!hit.fields.contains_key(*name), "{name}");
    }
    assert_eq!(hit.body.trailers.unwrap()["x-sum"], "1");
}

/// RFC 9111 §4.3.2, RFC 9110 §13.2.1: what is no success is given as it is.
#[tokio::test(start_paused = true)]
async fn section_4_3_2_conditions_are_for_successes() {
    for (status, got) in [(200, 304), (203, 304), (301, 301), (404, 404), (500, 500)] {
        let play = Play::new(move |_, _| answer(status, &[FRESH, ("etag", "\"a\"")], "body"));
        play.get(&[]).await;
        let again = play.get(&[("if-none-match", "\"a\"")]).await;
        assert_eq!((again.status.as_u16(), again.did()), (got, "hit"));
    }
}

/// RFC 9110 §13.1.3.
#[tokio::test(start_paused = true)]
async fn section_13_1_3_a_date_that_is_none_is_ignored() {
    const NOW: &str = "Sun, 06 Nov 1994 08:49:37 GMT";
    let play = Play::always(&[FRESH, ("last-modified", NOW)]);
    play.get(&[]).await;
    for (fields, status) in [
        (&[("if-modified-since", NOW)][..], 304),
        (&[("if-modified-since", "Sun, 06 Nov 1994 08:49:36 GMT")], 200),
        (&[("if-modified-since", "now")], 200),
        (&[("if-modified-since", NOW), ("if-modified-since", NOW)], 200),
        (&[("if-modified-since", NOW), ("if-none-match", "\"x\"")], 200),
    ] {
        assert_eq!(play.get(fields).await.status, status, "{fields:?}");
    }
}

/// RFC 9111 §4.3.2, RFC 9110 §13.2.1: conditions that are not for this cache, and
/// all directives (RFC 9111 §5.2), reach the origin as they are.
#[tokio::test(start_paused = true)]
async fn section_5_2_what_is_forwarded_is_forwarded_whole() {
    let conditions: &[(&str, &str)] = &[
        ("cache-control", "no-store, x-unknown=\"y\""),
        ("if-match", "\"a\""),
        ("if-none-match", "\"b\", \"c\""),
        ("if-modified-since", "Sun, 06 Nov 1994 08:49:37 GMT"),
        ("if-unmodified-since", "Sun, 06 Nov 1994 08:49:37 GMT"),
    ];
    let control = "no-transform, x-unknown=\"y\", max-age=60";
    for (method, count) in [("GET", 5), ("GET", 1), ("PUT", 5), ("DELETE", 3), ("OPTIONS", 5)] {
        let play = Play::new(move |_, _| answer(412, &[("cache-control", control)], "no"));
        let got = play.ask(request(method, "/", &conditions[..count])).await;
        assert_eq!((got.status.as_u16(), got.field("cache-control")), (412, control));
        let sent = &play.origin.requests()[0].headers;
        for (name, value) in &conditions[..count] {
            assert_eq!(sent[*name], *value, "{method}");
        }
    }
}

/// RFC 9110 §15.4.5.
#[tokio::test(start_paused = true)]
async fn section_15_4_5_a_304_has_what_a_200_would_have() {
    let needed: &[(&str, &str)] = &[
        FRESH,
        ("content-location", "/a"),
        ("date", "Sun, 06 Nov 1994 08:49:37 GMT"),
        ("etag", "\"a\""),
        ("expires", "Sun, 06 Nov 1994 08:50:37 GMT"),
        ("vary", "accept"),
    ];
    let play = Play::new(move |_, _| {
        answer(200, &[needed, &[("content-type", "a/b"), ("content-language", "de")]].concat(), "x")
    });
    play.get(&[]).await;
    let got = play.get(&[("if-none-match", "\"a\"")]).await;
    assert_eq!((got.status.as_u16(), got.text()), (304, String::new()));
    for (name, value) in needed {
        assert_eq!(got.field(name), *value);
    }
    for name in ["content-type", "content-language", "content-length"] {
        assert!(!got.fields.contains_key(name), "{name}");
    }
}

/// RFC 9110 §15.4.5: the answer to a condition of the client's own.
#[tokio::test(start_paused = true)]
async fn section_15_4_5_a_304_for_the_client_is_passed_on() {
    let play = Play::new(|_, _| answer(304, &[FRESH, ("etag", "\"mine\"")], ""));
    for _ in 0..2 {
        let got = play.get(&[("if-none-match", "\"mine\"")]).await;
        assert_eq!((got.status.as_u16(), got.field("etag")), (304, "\"mine\""));
        assert_eq!(got.did(), "fwd=uri-miss");
    }
}

/// RFC 9111 §5.2.2.2: no stale answer, however the origin fails.
#[tokio::test(start_paused = true)]
async fn section_5_2_2_2_a_failure_is_an_error_where_validation_is_a_must() {
    for control in
        ["must-revalidate, max-age=5", "proxy-revalidate, max-age=5", "s-maxage=5", "no-cache"]
    {
        for wish in ["", "max-stale", "max-stale=99"] {
            let play = Play::new(move |number, _| match number {
                0 => answer(200, &[("cache-control", control), ("etag", "\"a\"")], "body"),
                _ => answer(504, &[], "failed"),
            });
            play.get(&[]).await;
            seconds(6).await;
            let got = play.get(&[("cache-control", wish)]).await;
            assert_eq!((got.status.as_u16(), got.text()), (504, "failed".into()), "{control}");
        }
    }
}

/// RFC 9111 §4: an unsafe request goes to the origin, whatever is stored.
#[tokio::test(start_paused = true)]
async fn section_4_unsafe_requests_are_written_through() {
    for method in ["POST", "PUT", "PATCH", "DELETE", "INVENTED"] {
        let play = Play::always(&[FRESH]);
        play.get(&[]).await;
        assert_eq!(play.ask(request(method, "/", &[])).await.text(), "body 1", "{method}");
    }
}
