//! Parsers, fed with what nobody should send: they neither panic nor do more work
//! than the input is long.

use std::time::{Duration, SystemTime};

use http::header::{
    ACCEPT_ENCODING, AGE, CACHE_CONTROL, CONNECTION, CONTENT_LOCATION, CONTENT_RANGE, DATE, ETAG,
    EXPIRES, IF_MODIFIED_SINCE, IF_NONE_MATCH, IF_RANGE, LAST_MODIFIED, PRAGMA, RANGE, VARY,
};
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode, Uri};
use tower_edge_core::Target;

use super::directives::{RequestDirectives, ResponseDirectives, delta_seconds, each};
use super::freshness::date;
use super::targeted::targeted;
use super::{
    Asked, RequestFields, Selection, conditions, content_range, fields, ranges_of, reference,
    wanted,
};

/// One parser: it reads the input, and gives how often it took something out.
type Parser = fn(&HeaderValue) -> usize;

#[test]
fn directives_are_read_whatever_they_are() {
    fuzz(1, |value| {
        let headers = lines([CACHE_CONTROL, PRAGMA], value);
        RequestDirectives::of(&headers);
        let mut members = 0;
        each(&headers, &CACHE_CONTROL, |_, _| members += 1);
        members + ResponseDirectives::of(&headers).excluded.len()
    });
}

#[test]
fn targeted_fields_are_read_whatever_they_are() {
    const TARGET: HeaderName = HeaderName::from_static("cdn-cache-control");
    fuzz(2, |value| {
        targeted(&lines([TARGET, TARGET], value), &TARGET).map_or(0, |read| read.excluded.len())
    });
}

#[test]
fn vary_is_read_whatever_it_is() {
    fuzz(3, |value| {
        let (request, response) =
            (lines([ACCEPT_ENCODING, VARY], value), lines([VARY, VARY], value));
        let selection = Selection::of(&request, &response);
        assert!(selection.is_none_or(|selection| selection.matches(&request)), "{value:?}");
        0
    });
}

#[test]
fn conditions_are_read_whatever_they_are() {
    fuzz(4, |value| {
        let request = lines([IF_NONE_MATCH, IF_MODIFIED_SINCE], value);
        let stored = lines([ETAG, LAST_MODIFIED], value);
        conditions::not_modified(&request, &stored);
        conditions::identified(&stored, [&stored, &request].into_iter());
        conditions::validate(&mut request.clone(), [&stored, &stored].into_iter());
        let tags = conditions::tags(value.as_bytes()).count();
        let quotes = value.as_bytes().iter().filter(|&&c| c == b'"').count();
        assert!(2 * tags <= quotes, "{value:?}");
        tags
    });
}

#[test]
fn references_are_read_whatever_they_are() {
    let target: Uri = "http://a.example/b/../c?q".parse().unwrap();
    fuzz(5, move |value| {
        let named = HeaderMap::from_iter([(CONTENT_LOCATION, value.clone())]);
        reference::names_target(&Target::from_uri(&target), &named);
        let Some(found) = value
            .to_str()
            .ok()
            .and_then(|text| reference::same_origin(&Target::from_uri(&target), text))
        else {
            return 0;
        };
        let found = Target::from_uri(&found);
        assert_eq!((found.scheme(), found.authority()), ("http", Some("a.example")), "{value:?}");
        0
    });
}

#[test]
fn ranges_and_places_of_parts_are_read_whatever_they_are() {
    fuzz(8, |value| {
        let parts = HeaderMap::from_iter([(CONTENT_RANGE, value.clone())]);
        if let Some((range, length)) = content_range(&parts) {
            assert!(range.start < range.end && range.end <= length, "{value:?}");
        }
        let request = HeaderMap::from_iter([(RANGE, value.clone()), (IF_RANGE, value.clone())]);
        let fields = HeaderMap::from_iter([(ETAG, value.clone())]);
        wanted(&RequestFields::of(&request), StatusCode::OK, &fields, Some(100));
        match ranges_of(&request, &fields, 100) {
            Some(Asked::One(_)) => 1,
            Some(Asked::Several(parts)) => parts.len(),
            _ => 0,
        }
    });
}

#[test]
fn ages_and_dates_are_read_whatever_they_are() {
    fuzz(6, |value| {
        let headers = lines([AGE, EXPIRES], value);
        let seconds = delta_seconds(value.as_bytes()).unwrap_or_default();
        assert!(seconds <= Duration::from_secs(1 << 31), "{value:?}");
        let dates = [AGE, EXPIRES, DATE].map(|name| date(&headers, name));
        dates.iter().flatten().count()
    });
}

#[test]
fn fields_are_stored_whatever_they_are() {
    fuzz(7, |value| {
        let response = lines([CONNECTION, ETAG], value);
        let stored = fields::stored_fields(&response, &[], SystemTime::UNIX_EPOCH);
        assert!(!stored.contains_key(CONNECTION));
        0
    });
}

/// What takes something out of an input does so once for each byte at most, and
/// twice as often from an input that is twice as long: nothing is read again.
#[test]
fn work_grows_with_the_length_of_the_input_only() {
    let members = |value: &HeaderValue| {
        let mut members = 0;
        each(&lines([CACHE_CONTROL, AGE], value), &CACHE_CONTROL, |_, _| members += 1);
        members
    };
    let parsers: [(&str, Parser); 2] =
        [("each", members), ("tags", |value| conditions::tags(value.as_bytes()).count())];
    for (name, parser) in parsers {
        for piece in ["a,", "a=\"b\",", "\"a\",", "\"\"", "=\"\\\"", ",,,a", "W/\"", "a=\""] {
            let count = |n: usize| parser(&piece.repeat(n).parse().unwrap());
            let (one, two) = (count(2_000), count(4_000));
            assert!(
                two <= 2 * one + 2 && two <= 4_000 * piece.len(),
                "{name} {piece}: {one} {two}"
            );
        }
    }
}

/// Feeds a parser for a bounded number of inputs, for half a minute if asked to.
fn fuzz(seed: u64, mut parser: impl FnMut(&HeaderValue) -> usize) {
    let mut random = Random(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15));
    let mut feed = || {
        let input = random.input();
        let taken = parser(&input);
        assert!(taken <= 3 * (input.len() + 1), "{taken} of {input:?}");
    };
    (0..ORDINARY).for_each(|_| feed());
    if std::env::var_os("TOWER_EDGE_LONG").is_some_and(|long| long == "1") {
        let end = clock() + HALF_A_MINUTE;
        while clock() < end {
            (0..ORDINARY).for_each(|_| feed());
        }
    }
}

#[expect(clippy::disallowed_methods, reason = "bounds the test, decides nothing")]
fn clock() -> std::time::Instant {
    std::time::Instant::now()
}

/// Two fields with the same value, the second in two lines.
fn lines(names: [HeaderName; 2], value: &HeaderValue) -> HeaderMap {
    let [first, second] = names;
    let mut headers = HeaderMap::new();
    headers.insert(first, value.clone());
    headers.append(second.clone(), value.clone());
    headers.append(second, HeaderValue::from_static("\"a\", b=1"));
    headers
}

/// SplitMix64: inputs are the same in each run.
struct Random(u64);

impl Random {
    fn next(&mut self, below: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (mixed ^ (mixed >> 31)) as usize % below
    }

    /// Pieces that mean something, and bytes that do not.
    fn input(&mut self) -> HeaderValue {
        let mut input = Vec::new();
        for _ in 0..self.next(24) {
            match self.next(4) {
                0 => input.push([b'\t', b' ', b'~', 0x80, 0xff][self.next(5)]),
                1 => input.push(b' ' + self.next(95) as u8),
                _ => input.extend_from_slice(PIECES[self.next(PIECES.len())].as_bytes()),
            }
        }
        HeaderValue::from_bytes(&input).expect("no control characters but tabs")
    }
}

const ORDINARY: usize = 20_000;

const HALF_A_MINUTE: Duration = Duration::from_secs(30);

const PIECES: &[&str] = &[
    ",",
    ", ",
    "=",
    "\"",
    "\\",
    ";",
    "*",
    "W/",
    "/",
    "..",
    "/../",
    "./",
    "//",
    "?",
    "#",
    ":",
    "@",
    "%",
    "max-age",
    "s-maxage=",
    "no-cache",
    "private=\"",
    "no-store",
    "stale-if-error=5",
    "must-understand",
    "18446744073709551616",
    "-1",
    "0",
    "1.5",
    "?1",
    "(a b)",
    ":YQ==:",
    "\"a\"",
    "accept",
    "x-a",
    "http://",
    "https://",
    "a.example",
    "a.example:80",
    "[::1]",
    "Sun, 06 Nov 1994 08:49:37 GMT",
    "Sunday, 06-Nov-94 ",
    "Sun Nov  6 08:49:37 1994",
    "GMT",
    " 9999 ",
    "00:00:60",
    "keep-alive",
    "close",
    "bytes=",
    "bytes ",
    "0-5",
    "5-",
    "-5",
    "7-9/10",
    "/10",
];
