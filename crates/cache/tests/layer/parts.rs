//! Parts (206) of an origin: stored, reused, joined (RFC 9111 §§3.3, 3.4).

use tower_edge_testkit::{Answer, MockBody};

use crate::play::{Got, Play, answer, cache, request, respond, seconds, tasks};

const DIGITS: &str = "0123456789";
const FRESH: (&str, &str) = ("cache-control", "max-age=60");
const TAG: (&str, &str) = ("etag", "\"a\"");

/// The answer to a request for one range of the digits, or for all of them.
fn digits(range: Option<&str>, fields: &[(&str, &str)]) -> Answer {
    let Some(range) = range else { return answer(200, fields, DIGITS) };
    let (first, last) = range.strip_prefix("bytes=").unwrap().split_once('-').unwrap();
    let content_range = format!("bytes {first}-{last}/10");
    let text = &DIGITS[first.parse().unwrap()..=last.parse().unwrap()];
    answer(206, &[fields, &[("content-range", &content_range)]].concat(), text)
}

/// An origin of the digits, with the same fields always.
fn origin(fields: &'static [(&str, &str)]) -> Play {
    Play::new(move |_, head| {
        digits(head.headers().get("range").map(|range| range.to_str().unwrap()), fields)
    })
}

async fn part(play: &Play, range: &str) -> Got {
    play.get(&[("range", &format!("bytes={range}"))]).await
}

#[tokio::test(start_paused = true)]
async fn a_part_answers_what_lies_within_it() {
    let play = origin(&[FRESH, TAG, ("content-type", "a/b")]);
    let first = part(&play, "2-6").await;
    assert_eq!((first.status.as_u16(), first.text()), (206, "23456".into()));
    assert_eq!(first.did(), "fwd=uri-miss; stored");
    seconds(7).await;
    for (range, text) in [("2-6", "23456"), ("3-4", "34"), ("6-6", "6")] {
        let got = part(&play, range).await;
        assert_eq!((got.status.as_u16(), got.text(), got.did()), (206, text.into(), "hit"));
        let (first, last) = range.split_once('-').unwrap();
        assert_eq!(got.field("content-range"), format!("bytes {first}-{last}/10"));
        assert_eq!(got.field("content-length"), text.len().to_string());
        assert_eq!(
            ["age", "etag", "content-type"].map(|name| got.field(name)),
            ["7", "\"a\"", "a/b"]
        );
    }
}

#[tokio::test(start_paused = true)]
async fn several_ranges_may_be_answered_from_parts() {
    let text = "x".repeat(1_000);
    let play = Play::new(move |_, head| {
        let range = head.headers()["range"].to_str().unwrap().strip_prefix("bytes=").unwrap();
        let (first, last) = range.split_once('-').unwrap();
        let (from, to): (usize, usize) = (first.parse().unwrap(), last.parse().unwrap());
        let content_range = format!("bytes {range}/1000");
        answer(206, &[FRESH, TAG, ("content-range", &content_range)], &text[from..=to])
    });
    part(&play, "0-99").await;
    part(&play, "900-999").await;
    let got = part(&play, "10-19, 950-959").await;
    assert_eq!((got.status.as_u16(), got.did()), (206, "hit"));
    assert!(got.field("content-type").starts_with("multipart/byteranges; "));
    for content_range in ["Content-Range: bytes 10-19/1000", "Content-Range: bytes 950-959/1000"] {
        assert!(got.text().contains(content_range));
    }
    assert_eq!(part(&play, "-100").await.did(), "hit");
}

#[tokio::test(start_paused = true)]
async fn a_part_answers_for_nothing_else() {
    for fields in [&[][..], &[("if-none-match", "\"a\"")], &[("range", "bytes=5-7")]] {
        for method in ["GET", "HEAD"] {
            let play = origin(&[FRESH, TAG]);
            part(&play, "0-6").await;
            let got = play.ask(request(method, "/", fields)).await;
            assert!(got.did().starts_with("fwd=partial"), "{method} {fields:?} {}", got.did());
            let asked = &play.origin.requests()[1].headers;
            // Nobody is told to validate a part; the client's own condition goes out
            // with HEAD, while a GET is to bring the whole.
            let own = method == "HEAD"
                && fields.first().is_some_and(|(name, _)| *name == "if-none-match");
            assert_eq!(asked.contains_key("if-none-match"), own);
        }
    }
    let play = origin(&[FRESH, TAG]);
    part(&play, "0-6").await;
    for range in ["bytes=10-", "bytes=8-20", "items=0-1"] {
        assert_eq!(
            play.get(&[("range", range), ("cache-control", "only-if-cached")]).await.status,
            504
        );
    }
}

#[tokio::test(start_paused = true)]
async fn parts_with_one_strong_tag_become_the_whole() {
    let play = Play::new(|number, head| {
        let range = head.headers().get("range").map(|range| range.to_str().unwrap());
        let number = number.to_string();
        let only_first = (number == "0").then_some(("x-first", "1"));
        let fields = [Some(FRESH), Some(TAG), Some(("x", number.as_str())), only_first];
        digits(range, &fields.into_iter().flatten().collect::<Vec<_>>())
    });
    for (range, did) in [
        ("5-7", "fwd=uri-miss; stored"),
        ("0-2", "fwd=partial; stored"),
        ("1-6", "fwd=partial; stored"),
        ("0-7", "hit"),
        ("7-9", "fwd=partial; stored"),
        ("0-9", "hit"),
    ] {
        assert_eq!(part(&play, range).await.did(), did, "{range}");
    }
    let whole = play.get(&[]).await;
    assert_eq!((whole.status.as_u16(), whole.text(), whole.did()), (200, DIGITS.into(), "hit"));
    assert_eq!(["content-length", "x", "x-first"].map(|name| whole.field(name)), ["10", "3", "1"]);
    assert!(!whole.fields.contains_key("content-range"));
    assert_eq!(play.ask(request("HEAD", "/", &[])).await.field("content-length"), "10");
    assert_eq!(play.origin.calls(), 4);
}

#[tokio::test(start_paused = true)]
async fn a_part_that_is_the_whole_answers_for_it() {
    let play = origin(&[FRESH]);
    part(&play, "0-9").await;
    let got = play.get(&[]).await;
    assert_eq!((got.status.as_u16(), got.text(), got.did()), (200, DIGITS.into(), "hit"));
}

#[tokio::test(start_paused = true)]
async fn parts_of_different_versions_are_not_joined() {
    for tags in [["\"a\"", "\"b\""], ["W/\"a\"", "W/\"a\""], ["W/\"a\"", "\"a\""], ["", ""]] {
        let play = Play::new(move |number, head| {
            let range = head.headers().get("range").map(|range| range.to_str().unwrap());
            let fields = [FRESH, ("etag", tags.get(number as usize).unwrap_or(&"\"z\""))];
            digits(range, &fields[..if tags[0].is_empty() { 1 } else { 2 }])
        });
        part(&play, "0-4").await;
        assert_eq!(part(&play, "5-9").await.did(), "fwd=partial; stored");
        assert_eq!(part(&play, "6-8").await.did(), "hit", "{tags:?}");
        assert_eq!(part(&play, "3-6").await.did(), "fwd=partial; stored", "{tags:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn lengths_that_disagree_are_not_joined() {
    let play = Play::new(|number, _| {
        let content_range = ["bytes 0-4/10", "bytes 5-9/11"][number as usize % 2];
        answer(206, &[FRESH, TAG, ("content-range", content_range)], "01234")
    });
    part(&play, "0-4").await;
    assert_eq!(part(&play, "5-9").await.did(), "fwd=partial; stored");
    assert_eq!(part(&play, "0-4").await.did(), "fwd=partial; stored");
}

#[tokio::test(start_paused = true)]
async fn what_is_no_part_of_a_known_place_is_passed_on() {
    const MULTIPART: (&str, &str) = ("content-type", "multipart/byteranges; boundary=x");
    const RANGE: (&str, &str) = ("content-range", "bytes 0-4/10");
    for fields in [
        &[][..],
        &[MULTIPART],
        &[MULTIPART, RANGE],
        &[("content-range", "bytes 0-4/*")],
        &[("content-range", "bytes 4-0/10")],
        &[("content-range", "bytes 0-4/4")],
        &[("content-range", "items 0-4/10")],
        &[RANGE, RANGE],
        &[RANGE, ("cache-control", "no-store")],
        &[RANGE, ("cache-control", "private")],
        &[RANGE, ("set-cookie", "a=b")],
        &[RANGE, ("vary", "*")],
    ] {
        let fields = [&[FRESH, TAG], fields].concat();
        let play = Play::new(move |_, _| answer(206, &fields, "01234"));
        for _ in 0..2 {
            let got = part(&play, "0-4").await;
            assert_eq!((got.status.as_u16(), got.text()), (206, "01234".into()));
            assert_eq!(got.did(), "fwd=uri-miss");
        }
    }
    let play = Play::new(|_, _| answer(206, &[FRESH, TAG, RANGE], "01234"));
    assert_eq!(play.get(&[]).await.did(), "fwd=uri-miss", "it was not asked for");
}

#[tokio::test(start_paused = true)]
async fn a_part_that_is_not_whole_is_not_stored() {
    type Body = fn() -> MockBody;
    let bodies: [Body; 3] = [
        || MockBody::new().data("0123"),
        || MockBody::new().data("01234").data("5"),
        || MockBody::new().data("0123").fail(),
    ];
    for body in bodies {
        let fields = [FRESH, TAG, ("content-range", "bytes 0-4/10")];
        let play = Play::new(move |_, _| respond(206, &fields, body()));
        part(&play, "0-4").await;
        assert_eq!(play.cache.stats().resources, 0);
        drop(play.send(request("GET", "/", &[("range", "bytes=0-4")])).await);
        assert_eq!(play.cache.stats().resources, 0);
    }
}

/// After `If-Range` the fields that the client has are missing (RFC 9110 §15.3.7).
#[tokio::test(start_paused = true)]
async fn a_part_for_if_range_is_joined_and_never_stored_alone() {
    let play = origin(&[FRESH, TAG]);
    let asked = |range| [("range", range), ("if-range", "\"a\"")];
    assert_eq!(play.get(&asked("bytes=0-4")).await.did(), "fwd=uri-miss");
    assert_eq!(play.cache.stats().resources, 0);
    part(&play, "5-9").await;
    assert_eq!(play.get(&asked("bytes=0-4")).await.did(), "fwd=partial; stored");
    assert_eq!(play.get(&[]).await.text(), DIGITS);
    assert_eq!(play.origin.calls(), 3);
}

#[tokio::test(start_paused = true)]
async fn conditions_hold_for_parts_too() {
    let play = origin(&[FRESH, TAG]);
    part(&play, "0-4").await;
    for (condition, status, did) in [
        (("if-none-match", "\"a\""), 304, "hit"),
        (("if-none-match", "\"b\""), 206, "hit"),
        (("if-range", "\"a\""), 206, "hit"),
        (("if-range", "\"b\""), 206, "fwd=partial; stored"),
    ] {
        let got = play.get(&[("range", "bytes=1-2"), condition]).await;
        assert_eq!((got.status.as_u16(), got.did()), (status, did), "{condition:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_stale_part_is_validated_where_it_would_answer() {
    let play = Play::new(|_, head| {
        let range = head.headers().get("range").map(|range| range.to_str().unwrap());
        match head.headers().contains_key("if-none-match") {
            true => answer(304, &[FRESH, ("x", "new")], ""),
            false => digits(range, &[FRESH, TAG]),
        }
    });
    part(&play, "0-6").await;
    seconds(60).await;
    let got = part(&play, "2-3").await;
    assert_eq!((got.status.as_u16(), got.text(), got.field("x")), (206, "23".into(), "new"));
    assert_eq!(got.did(), "fwd=stale; fwd-status=304");
    assert_eq!(part(&play, "3-4").await.did(), "hit");
    seconds(60).await;
    assert_eq!(part(&play, "3-8").await.did(), "fwd=partial; stored");
    assert_eq!(part(&play, "0-8").await.did(), "hit");
    let asked = play.origin.requests();
    assert_eq!(
        (&asked[1].headers["if-none-match"], asked[1].headers.contains_key("range")),
        (&"\"a\"".parse().unwrap(), true)
    );
    assert!(!asked[2].headers.contains_key("if-none-match"));
}

#[tokio::test(start_paused = true)]
async fn a_part_stands_in_for_a_failed_origin() {
    let play = Play::new(|number, _| match number {
        0 => {
            let control = ("cache-control", "max-age=5, stale-if-error=60");
            answer(206, &[control, TAG, ("content-range", "bytes 0-4/10")], "01234")
        }
        _ => answer(503, &[], "failed"),
    });
    part(&play, "0-4").await;
    seconds(9).await;
    let got = part(&play, "1-2").await;
    assert_eq!((got.status.as_u16(), got.text()), (206, "12".into()));
    assert_eq!(got.did(), "fwd=stale; fwd-status=503; detail=stale-if-error");
    assert_eq!(play.get(&[]).await.status, 503);
    assert_eq!(part(&play, "1-5").await.status, 503);
}

/// Nobody fetches a large file because a few bytes of it have gone stale.
#[tokio::test(start_paused = true)]
async fn a_part_is_refreshed_as_a_part() {
    const STALE: (&str, &str) = ("cache-control", "max-age=5, stale-while-revalidate=10");
    for changed in [false, true] {
        let play = Play::new(move |number, head| {
            let range = head.headers()["range"].to_str().unwrap();
            match number {
                0 => digits(Some(range), &[STALE, TAG]),
                _ if changed => digits(Some(range), &[STALE, ("etag", "\"b\"")]),
                _ => answer(304, &[STALE, TAG], ""),
            }
        });
        part(&play, "0-6").await;
        seconds(7).await;
        let asked = [("range", "bytes=2-3"), ("if-range", "\"a\""), ("if-none-match", "\"x\"")];
        let stale = play.get(&asked).await;
        assert_eq!(
            (stale.status.as_u16(), stale.text(), stale.field("age")),
            (206, "23".into(), "7")
        );
        tasks().await;
        let sent = &play.origin.requests()[1].headers;
        assert_eq!([&sent["range"], &sent["if-none-match"]], ["bytes=2-3", "\"a\""]);
        assert!(!sent.contains_key("if-range"));
        let fresh = part(&play, "2-3").await;
        assert_eq!((fresh.did(), fresh.field("age")), ("hit", "0"));
        assert_eq!(fresh.field("etag"), if changed { "\"b\"" } else { "\"a\"" });
        assert_eq!(play.origin.calls(), 2);
    }
}

#[tokio::test(start_paused = true)]
async fn a_whole_keeps_its_place_and_learns_from_its_parts() {
    let play = Play::new(|number, head| {
        let range = head.headers().get("range").map(|range| range.to_str().unwrap());
        digits(range, &[FRESH, TAG, ("x", &number.to_string())])
    });
    play.get(&[]).await;
    seconds(60).await;
    // An origin that evaluates no conditions answers with a part of the same.
    assert_eq!(part(&play, "0-4").await.did(), "fwd=stale; stored");
    let got = play.get(&[]).await;
    assert_eq!((got.text(), got.did(), got.field("x")), (DIGITS.into(), "hit", "1"));
}

#[tokio::test(start_paused = true)]
async fn parts_are_bounded_as_all_else() {
    let play = Play::with(cache().max_entry(6), |_, head| {
        digits(Some(head.headers()["range"].to_str().unwrap()), &[FRESH, TAG])
    });
    assert_eq!(part(&play, "0-6").await.did(), "fwd=uri-miss");
    for (range, did) in [
        ("0-2", "fwd=uri-miss; stored"),
        ("3-5", "fwd=partial; stored"),
        ("0-5", "hit"),
        ("6-9", "fwd=partial; stored"),
        ("0-5", "fwd=partial; stored"),
    ] {
        assert_eq!(part(&play, range).await.did(), did, "{range}");
    }
}

#[tokio::test(start_paused = true)]
async fn an_invalidation_takes_parts_away() {
    let play = origin(&[FRESH, TAG]);
    part(&play, "0-4").await;
    play.ask(request("DELETE", "/", &[("range", "bytes=0-0")])).await;
    assert_eq!(part(&play, "0-4").await.did(), "fwd=uri-miss; stored");
}
