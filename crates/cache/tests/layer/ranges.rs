//! Ranges: parts of what is stored, and requests for parts of what is not.

use http::HeaderMap;
use tower_edge_testkit::MockBody;

use crate::play::{Got, Play, answer, cache, request, respond, seconds, tasks};

const MODIFIED: (&str, &str) = ("last-modified", "Sun, 06 Nov 1994 08:00:00 GMT");
const FRESH: &[(&str, &str)] =
    &[("cache-control", "max-age=60"), ("etag", "\"a\""), ("content-type", "text/x"), MODIFIED];
const DIGITS: &str = "0123456789";

/// A cache that has the digits stored, seven seconds old.
async fn stored() -> Play {
    let play = Play::new(|_, _| answer(200, FRESH, DIGITS));
    play.get(&[]).await;
    seconds(7).await;
    play
}

/// A thousand bytes that tell where they stand.
fn numbers() -> String {
    (0..250).map(|number| format!("{number:03} ")).collect()
}

/// The parts of a multipart body: `Content-Range`, media type and bytes.
fn parts(got: &Got) -> Vec<(String, String, String)> {
    let boundary =
        got.field("content-type").strip_prefix("multipart/byteranges; boundary=").unwrap();
    let text = got.text();
    assert_eq!(got.field("content-length"), text.len().to_string());
    let inside = text.strip_suffix(&format!("\r\n--{boundary}--\r\n")).unwrap();
    let (inside, delimiter) = (format!("\r\n{inside}"), format!("\r\n--{boundary}\r\n"));
    let mut parts = inside.split(&delimiter);
    assert_eq!(parts.next(), Some(""));
    let read = |part: &str| {
        let (head, bytes) = part.split_once("\r\n\r\n").unwrap();
        let field = |name: &str| {
            let mut lines = head.split("\r\n").filter_map(|line| line.split_once(": "));
            lines.find(|line| line.0 == name).map_or(String::new(), |line| line.1.into())
        };
        (field("Content-Range"), field("Content-Type"), bytes.into())
    };
    parts.map(read).collect()
}

#[tokio::test(start_paused = true)]
async fn a_part_is_answered_from_the_store() {
    let play = stored().await;
    for (range, text, content_range) in [
        ("bytes=0-3", "0123", "bytes 0-3/10"),
        ("bytes=3-3", "3", "bytes 3-3/10"),
        ("Bytes=7-", "789", "bytes 7-9/10"),
        ("bytes=-4", "6789", "bytes 6-9/10"),
        ("bytes=-40", DIGITS, "bytes 0-9/10"),
        ("bytes=5-40", "56789", "bytes 5-9/10"),
    ] {
        let got = play.get(&[("range", range)]).await;
        assert_eq!((got.status.as_u16(), got.did()), (206, "hit"), "{range}");
        assert_eq!((got.text().as_str(), got.field("content-range")), (text, content_range));
        assert_eq!(got.field("content-length"), text.len().to_string());
        for (name, value) in [&[("age", "7")], FRESH].concat() {
            assert_eq!(got.field(name), value);
        }
        assert_eq!(got.field("date"), "Sun, 06 Nov 1994 08:49:37 GMT");
        assert_eq!(got.field("cache-status"), "tower-edge; hit; ttl=53");
    }
    assert_eq!(play.origin.calls(), 1);
    assert_eq!(play.cache.stats().hits, 6);
}

#[tokio::test(start_paused = true)]
async fn several_parts_come_in_one_body() {
    let text = numbers();
    let (first, second, sent) = (text[8..16].to_owned(), text[992..].to_owned(), text.clone());
    let play = Play::new(move |_, _| answer(200, FRESH, &sent));
    play.get(&[]).await;
    let mut boundaries = Vec::new();
    for (range, order) in [("bytes=8-15, -8", [0, 1]), ("bytes=-8,2000-,8-15", [1, 0])] {
        let got = play.get(&[("range", range)]).await;
        assert_eq!((got.status.as_u16(), got.did()), (206, "hit"));
        assert!(!got.fields.contains_key("content-range"));
        assert_eq!((got.field("etag"), got.field("age")), ("\"a\"", "0"));
        let expected = [
            ("bytes 8-15/1000".into(), "text/x".into(), first.clone()),
            ("bytes 992-999/1000".into(), "text/x".into(), second.clone()),
        ];
        assert_eq!(parts(&got), order.map(|at| expected[at].clone()), "{range}");
        let (_, boundary) = got.field("content-type").split_once("boundary=").unwrap();
        boundaries.push(boundary.to_owned());
    }
    let halves = boundaries.iter().map(|boundary| boundary.split_at(16)).collect::<Vec<_>>();
    assert!(halves[0].0 != halves[1].0 && halves[0].1 != halves[1].1, "{boundaries:?}");
    assert_eq!(play.origin.calls(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_part_of_what_has_no_media_type_has_none() {
    let play = Play::new(|_, _| answer(200, &FRESH[..2], &numbers()));
    play.get(&[]).await;
    let got = play.get(&[("range", "bytes=0-0,-1")]).await;
    let expected = [("bytes 0-0/1000", "0"), ("bytes 999-999/1000", " ")];
    let expected = expected.map(|(range, byte)| (range.into(), String::new(), byte.into()));
    assert_eq!(parts(&got), expected);
    assert!(!got.text().contains("Content-Type"));
}

#[tokio::test(start_paused = true)]
async fn parts_are_the_stored_bytes_and_no_copies() {
    let play = Play::new(|_, _| answer(200, FRESH, &numbers()));
    play.get(&[]).await;
    let whole = play.get(&[]).await.body.frames[0].clone();
    let part = play.get(&[("range", "bytes=8-15")]).await.body.frames;
    assert_eq!((part.len(), part[0].as_ptr()), (1, whole[8..].as_ptr()));
    let several = play.get(&[("range", "bytes=8-15,-8")]).await.body.frames;
    let expected = [whole[8..].as_ptr(), whole[992..].as_ptr()];
    assert_eq!([several[1].as_ptr(), several[3].as_ptr()], expected);
}

#[tokio::test(start_paused = true)]
async fn ranges_that_overlap_or_nearly_touch_are_one() {
    let play = stored().await;
    let got = play.get(&[("range", "bytes=0-0,9-9,4-5,5-6")]).await;
    assert_eq!((got.status.as_u16(), got.text()), (206, DIGITS.into()));
    assert_eq!(got.field("content-range"), "bytes 0-9/10");
    assert_eq!(got.field("content-type"), "text/x");
}

#[tokio::test(start_paused = true)]
async fn no_set_of_ranges_makes_an_answer_much_larger_than_the_whole() {
    let play = Play::new(|_, _| answer(200, FRESH, &numbers()));
    play.get(&[]).await;
    let mut largest = 0;
    for (step, count) in [(1, 64), (7, 64), (15, 64), (110, 9), (130, 8), (1, 65), (0, 2_000)] {
        for reversed in [false, true] {
            let mut ranges: Vec<_> =
                (0..count).map(|at| format!("{}-{}", at * step, at * step)).collect();
            if reversed {
                ranges.reverse();
                ranges.push("0-".into());
            }
            let got = play.get(&[("range", &format!("bytes={}", ranges.join(",")))]).await;
            assert!(got.status == if ranges.len() > 64 { 200 } else { 206 });
            largest = largest.max(got.text().len());
        }
    }
    assert!((1_000..1_200).contains(&largest), "{largest}");
}

#[tokio::test(start_paused = true)]
async fn what_is_not_there_is_416_with_the_length() {
    let play = stored().await;
    for range in ["bytes=10-", "bytes=10-20,30-", "bytes=-0", "bytes=99999999999999999999-"] {
        let got = play.get(&[("range", range)]).await;
        assert_eq!((got.status.as_u16(), got.did()), (416, "hit"), "{range}");
        assert_eq!((got.field("content-range"), got.text()), ("bytes */10", String::new()));
        assert_eq!((got.field("content-length"), got.field("age")), ("0", "7"));
        for name in ["cache-control", "content-type", "last-modified"] {
            assert!(!got.fields.contains_key(name), "{name}");
        }
    }
    assert_eq!(play.origin.calls(), 1);
}

#[tokio::test(start_paused = true)]
async fn what_is_no_range_of_bytes_is_ignored() {
    let play = stored().await;
    for range in ["items=0-1", "bytes=5-2", "bytes=x", "bytes=", "bytes", "bytes=0-1,x", ""] {
        let got = play.get(&[("range", range)]).await;
        assert_eq!((got.status.as_u16(), got.did()), (200, "hit"), "{range}");
        assert_eq!((got.text().as_str(), got.field("content-length")), (DIGITS, "10"));
        assert!(!got.fields.contains_key("content-range"));
    }
    let twice = [("range", "bytes=0-1"), ("range", "bytes=2-3")];
    assert_eq!(play.get(&twice).await.status, 200);
}

#[tokio::test(start_paused = true)]
async fn if_range_asks_for_the_whole_of_another_version() {
    let play = stored().await;
    for (validator, status) in [
        ("\"a\"", 206),
        ("W/\"a\"", 200),
        ("\"b\"", 200),
        (MODIFIED.1, 206),
        ("Sun, 06 Nov 1994 08:00:01 GMT", 200),
        ("x", 200),
    ] {
        let got = play.get(&[("range", "bytes=2-3"), ("if-range", validator)]).await;
        assert_eq!((got.status.as_u16(), got.did()), (status, "hit"), "{validator}");
        assert_eq!(got.text(), if status == 206 { "23" } else { DIGITS });
        // Who has a part has the fields that describe the whole.
        let described = ["content-type", "last-modified"].map(|name| got.fields.contains_key(name));
        assert_eq!(described, [status == 200; 2]);
    }
    let alone = play.get(&[("if-range", "\"b\"")]).await;
    assert_eq!((alone.status.as_u16(), alone.text(), alone.did()), (200, DIGITS.into(), "hit"));
    let missing = play.get(&[("range", "bytes=10-"), ("if-range", "\"b\"")]).await;
    assert_eq!(missing.status, 200);
}

#[tokio::test(start_paused = true)]
async fn a_date_is_strong_a_second_later_only() {
    for (date, status) in [("08:00:00", 200), ("08:00:01", 206)] {
        let date = format!("Sun, 06 Nov 1994 {date} GMT");
        let play = Play::with(cache().generate_etag(false), move |_, _| {
            answer(200, &[("cache-control", "max-age=9999"), ("date", &date), MODIFIED], DIGITS)
        });
        play.get(&[]).await;
        let got = play.get(&[("range", "bytes=2-3"), ("if-range", MODIFIED.1)]).await;
        assert_eq!((got.status.as_u16(), got.did()), (status, "hit"));
        assert_eq!(got.field("last-modified"), MODIFIED.1);
    }
}

#[tokio::test(start_paused = true)]
async fn other_conditions_are_evaluated_before_ranges() {
    let play = stored().await;
    for (condition, status) in [
        (("if-none-match", "\"a\""), 304),
        (("if-none-match", "\"b\""), 206),
        (("if-modified-since", MODIFIED.1), 304),
        (("if-modified-since", "Sun, 06 Nov 1994 07:59:59 GMT"), 206),
    ] {
        let got = play.get(&[("range", "bytes=2-3"), condition]).await;
        assert_eq!(got.status, status, "{condition:?}");
        assert_eq!(got.fields.contains_key("content-range"), status == 206);
        let missing = play.get(&[("range", "bytes=10-"), condition]).await;
        assert_eq!(missing.status, if status == 304 { 304 } else { 416 });
        let other = [("range", "bytes=2-3"), ("if-range", "\"b\""), condition];
        assert_eq!(play.get(&other).await.status, if status == 304 { 304 } else { 200 });
    }
}

#[tokio::test(start_paused = true)]
async fn a_head_has_no_ranges() {
    let play = stored().await;
    for range in ["bytes=2-3", "bytes=10-", "bytes=0-0,-1"] {
        let got = play.ask(request("HEAD", "/", &[("range", range)])).await;
        assert_eq!((got.status.as_u16(), got.did(), got.text()), (200, "hit", String::new()));
        assert_eq!(got.field("content-length"), "10");
    }
}

#[tokio::test(start_paused = true)]
async fn what_is_not_200_or_has_trailers_or_nothing_is_answered_whole() {
    let trailers = HeaderMap::from_iter([("x".parse().unwrap(), "y".parse().unwrap())]);
    let play = Play::new(move |_, head| match head.uri().path() {
        "/trailers" => respond(200, FRESH, MockBody::new().data(DIGITS).trailers(trailers.clone())),
        "/missing" => answer(404, FRESH, DIGITS),
        "/other" => answer(203, FRESH, DIGITS),
        _ => answer(200, FRESH, ""),
    });
    for (path, status, text) in [
        ("/trailers", 200, DIGITS),
        ("/missing", 404, DIGITS),
        ("/other", 203, DIGITS),
        ("/empty", 200, ""),
    ] {
        play.ask(request("GET", path, &[])).await;
        for range in ["bytes=2-3", "bytes=99-", "bytes=-5"] {
            let got = play.ask(request("GET", path, &[("range", range)])).await;
            assert_eq!((got.status.as_u16(), got.did()), (status, "hit"), "{path} {range}");
            assert_eq!(got.text(), text);
            assert_eq!(got.body.trailers.is_some(), path == "/trailers");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn what_is_said_of_the_whole_content_is_not_said_of_a_part() {
    const DIGESTS: &[(&str, &str)] = &[
        ("cache-control", "max-age=60"),
        ("content-digest", "sha-256=:x:"),
        ("repr-digest", "sha-256=:x:"),
    ];
    let play = Play::new(|_, _| answer(200, DIGESTS, DIGITS));
    play.get(&[]).await;
    assert_eq!(play.get(&[]).await.field("content-digest"), "sha-256=:x:");
    let part = play.get(&[("range", "bytes=2-3")]).await;
    assert_eq!((part.field("content-digest"), part.field("repr-digest")), ("", "sha-256=:x:"));
}

#[tokio::test(start_paused = true)]
async fn a_miss_is_passed_on_with_its_range_and_condition() {
    let play = Play::new(|_, head| match head.headers().get("range") {
        Some(range) => {
            assert_eq!(
                (range, &head.headers()["if-range"]),
                (&"bytes=2-3".parse().unwrap(), &"\"a\"".parse().unwrap())
            );
            answer(206, &[&FRESH[..2], &[("content-range", "bytes 2-3/10")]].concat(), "23")
        }
        None => answer(200, FRESH, DIGITS),
    });
    let asked = [("range", "bytes=2-3"), ("if-range", "\"a\"")];
    let got = play.get(&asked).await;
    assert_eq!((got.status.as_u16(), got.text()), (206, "23".into()));
    assert_eq!(play.get(&[]).await.text(), DIGITS);
    assert_eq!(play.get(&asked).await.did(), "hit");
}

#[tokio::test(start_paused = true)]
async fn an_origin_without_ranges_fills_the_cache() {
    let play = Play::new(|_, _| answer(200, FRESH, DIGITS));
    let got = play.get(&[("range", "bytes=2-3")]).await;
    assert_eq!((got.status.as_u16(), got.text()), (200, DIGITS.into()));
    assert_eq!(got.did(), "fwd=uri-miss; stored");
    let got = play.get(&[("range", "bytes=2-3")]).await;
    assert_eq!((got.status.as_u16(), got.text(), got.did()), (206, "23".into(), "hit"));
}

#[tokio::test(start_paused = true)]
async fn an_error_that_a_range_provoked_is_not_kept_for_others() {
    for status in [400, 404, 416, 500] {
        let play = Play::new(move |_, head| match head.headers().contains_key("range") {
            true => answer(status, FRESH, "error"),
            false => answer(200, FRESH, DIGITS),
        });
        let got = play.get(&[("range", "bytes=x")]).await;
        assert_eq!((got.status.as_u16(), got.did()), (status, "fwd=uri-miss"));
        assert_eq!(play.get(&[]).await.text(), DIGITS);
    }
}

#[tokio::test(start_paused = true)]
async fn an_error_in_answer_to_a_validation_with_a_range_is_not_kept() {
    let play = Play::new(|number, _| match number {
        0 => answer(200, &[("cache-control", "max-age=5"), ("etag", "\"a\"")], DIGITS),
        _ => answer(404, FRESH, "gone"),
    });
    play.get(&[]).await;
    seconds(5).await;
    let got = play.get(&[("range", "bytes=2-3")]).await;
    assert_eq!((got.status.as_u16(), got.did()), (404, "fwd=stale"));
    assert_eq!(play.get(&[]).await.did(), "fwd=stale; stored");
    assert_eq!(play.get(&[("range", "bytes=2-3")]).await.did(), "hit");
}

#[tokio::test(start_paused = true)]
async fn a_part_may_come_from_the_variant_that_the_origin_names() {
    let play = Play::new(|number, _| {
        let fields = [FRESH, &[("vary", "accept-language")]].concat();
        answer(if number == 0 { 200 } else { 304 }, &fields, if number == 0 { DIGITS } else { "" })
    });
    play.get(&[("accept-language", "de")]).await;
    let asked = [("accept-language", "de-AT"), ("range", "bytes=2-3")];
    for did in ["fwd=vary-miss; fwd-status=304", "hit"] {
        let got = play.get(&asked).await;
        assert_eq!((got.status.as_u16(), got.text(), got.did()), (206, "23".into(), did));
    }
}

/// An origin whose response goes stale after five seconds, and then is another
/// one, or the same; it answers ranges.
fn changing(changes: bool) -> Play {
    Play::new(move |number, head| {
        let fields =
            [("cache-control", "max-age=5, stale-if-error=60"), ("etag", "\"a\""), ("x", "y")];
        let new = [fields[0], ("etag", "\"b\"")];
        let ranged = head.headers().contains_key("range");
        let same = head.headers().get("if-range").is_none_or(|tag| tag == "\"b\"");
        match (number, changes) {
            (0, _) => answer(200, &fields, DIGITS),
            (_, false) => answer(304, &fields, ""),
            (_, true) if ranged && same => {
                answer(206, &[&new[..], &[("content-range", "bytes 2-3/10")]].concat(), "cd")
            }
            (_, true) => answer(200, &new, "abcdefghij"),
        }
    })
}

#[tokio::test(start_paused = true)]
async fn a_stale_response_is_validated_before_it_gives_a_part() {
    let play = changing(false);
    play.get(&[]).await;
    for wish in [None, Some(("cache-control", "no-cache"))] {
        if wish.is_none() {
            seconds(5).await;
        }
        let fields = [Some(("range", "bytes=2-3")), Some(("if-range", "\"a\"")), wish];
        let fields: Vec<_> = fields.into_iter().flatten().collect();
        let got = play.get(&fields).await;
        assert_eq!((got.status.as_u16(), got.text()), (206, "23".into()));
        assert_eq!(got.field("content-range"), "bytes 2-3/10");
        assert!(got.did().ends_with("; fwd-status=304"), "{}", got.did());
        assert_eq!(play.get(&[("range", "bytes=-1")]).await.did(), "hit");
    }
    assert_eq!(play.origin.calls(), 3);
    assert_eq!(play.origin.requests()[1].headers["if-none-match"], "\"a\"");
}

/// The client's range stays in a validation: who asks for a few bytes does not get
/// all of them because they have changed.
#[tokio::test(start_paused = true)]
async fn what_has_changed_comes_as_it_was_asked_for() {
    for (condition, status, text) in [
        (None, 206, "cd"),
        (Some(("if-range", "\"b\"")), 206, "cd"),
        (Some(("if-range", "\"a\"")), 200, "abcdefghij"),
    ] {
        let play = changing(true);
        play.get(&[]).await;
        seconds(5).await;
        let range = [Some(("range", "bytes=2-3")), condition];
        let range: Vec<_> = range.into_iter().flatten().collect();
        let got = play.get(&range).await;
        assert_eq!((got.status.as_u16(), got.text()), (status, text.into()), "{condition:?}");
        let asked = &play.origin.requests()[1].headers;
        assert_eq!([&asked["if-none-match"], &asked["range"]], ["\"a\"", "bytes=2-3"]);
        let again = play.get(&[]).await;
        assert_eq!(again.text(), "abcdefghij");
        assert_eq!(again.did() == "hit", status == 200);
    }
}

#[tokio::test(start_paused = true)]
async fn what_cannot_be_validated_is_passed_on_with_its_range() {
    let play = Play::new(|_, head| match head.headers().contains_key("range") {
        true => answer(206, &[("content-range", "bytes 2-3/10"), FRESH[0]], "23"),
        false => answer(200, &FRESH[..1], DIGITS),
    });
    play.get(&[]).await;
    seconds(60).await;
    let got = play.get(&[("range", "bytes=2-3")]).await;
    assert_eq!((got.status.as_u16(), got.did()), (206, "fwd=stale"));
    assert_eq!(play.origin.requests()[1].headers["range"], "bytes=2-3");
    assert_eq!(play.get(&[]).await.did(), "fwd=stale; stored");
}

#[tokio::test(start_paused = true)]
async fn a_part_of_a_stale_response_replaces_a_failure() {
    let play = Play::new(|number, _| match number {
        0 => answer(200, &[("cache-control", "max-age=5, stale-if-error=60")], DIGITS),
        _ => answer(503, &[], "failed"),
    });
    play.get(&[]).await;
    seconds(9).await;
    let got = play.get(&[("range", "bytes=2-3")]).await;
    assert_eq!((got.status.as_u16(), got.text(), got.field("age")), (206, "23".into(), "9"));
    assert_eq!(got.did(), "fwd=stale; fwd-status=503; detail=stale-if-error");
}

#[tokio::test(start_paused = true)]
async fn a_refresh_asks_for_the_whole() {
    for validator in [Some(("etag", "\"a\"")), None] {
        let play = Play::new(move |number, _| {
            let control = ("cache-control", "max-age=5, stale-while-revalidate=10");
            let fields: Vec<_> = [Some(control), validator].into_iter().flatten().collect();
            answer(200, &fields, if number == 0 { DIGITS } else { "abcdefghij" })
        });
        play.get(&[]).await;
        seconds(7).await;
        let stale = play.get(&[("range", "bytes=2-3"), ("if-range", "\"a\"")]).await;
        assert_eq!(stale.text(), if validator.is_some() { "23" } else { DIGITS });
        tasks().await;
        let asked = &play.origin.requests()[1].headers;
        assert!(!asked.contains_key("range") && !asked.contains_key("if-range"));
        let fresh = play.get(&[("range", "bytes=2-3")]).await;
        assert_eq!((fresh.text(), fresh.did()), ("cd".into(), "hit"));
        assert_eq!(play.origin.calls(), 2);
    }
}

#[tokio::test(start_paused = true)]
async fn a_refresh_begun_by_a_range_may_store_what_is_not_200() {
    let play = Play::new(|number, _| match number {
        0 => answer(200, &[("cache-control", "max-age=5, stale-while-revalidate=10")], DIGITS),
        _ => answer(404, FRESH, "gone"),
    });
    play.get(&[]).await;
    seconds(7).await;
    assert_eq!(play.get(&[("range", "bytes=2-3")]).await.text(), "23");
    tasks().await;
    let gone = play.get(&[]).await;
    assert_eq!((gone.status.as_u16(), gone.did()), (404, "hit"));
}

#[tokio::test(start_paused = true)]
async fn only_if_cached_gives_a_part_of_what_is_there() {
    let play = stored().await;
    let only = [("cache-control", "only-if-cached"), ("range", "bytes=2-3")];
    assert_eq!(play.get(&only).await.text(), "23");
    seconds(60).await;
    assert_eq!(play.get(&only).await.status, 504);
    assert_eq!(play.origin.calls(), 1);
}
