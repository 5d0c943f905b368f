use std::time::SystemTime;

use http::header::{
    AGE, CACHE_CONTROL, CONNECTION, CONTENT_ENCODING, CONTENT_LANGUAGE, CONTENT_LENGTH,
    CONTENT_LOCATION, CONTENT_RANGE, CONTENT_TYPE, DATE, ETAG, EXPIRES, LAST_MODIFIED,
    PROXY_AUTHENTICATE, PROXY_AUTHORIZATION, TE, TRANSFER_ENCODING, UPGRADE, VARY,
};
use http::{HeaderMap, HeaderName, HeaderValue};
use tower_edge_core::OfferedCodings;

/// The fields of a response as they are stored (RFC 9111 §3.1).
///
/// What belongs to the connection or to a proxy's credentials is removed, and
/// what is `excluded`. A response without `Date` gets the time at which it
/// arrived (RFC 9110 §6.6.1).
pub(crate) fn stored_fields(
    response: &HeaderMap,
    excluded: &[HeaderName],
    responded: SystemTime,
) -> HeaderMap {
    let mut fields = HeaderMap::with_capacity(response.len() + 3);
    let is_kept = |name: &HeaderName| is_stored(name, response) && !excluded.contains(name);
    let kept = response.iter().filter(|(name, _)| is_kept(name));
    fields.extend(kept.map(|(name, value)| (name.clone(), value.clone())));
    if !fields.contains_key(DATE)
        && let Ok(date) = HeaderValue::from_str(&httpdate::fmt_http_date(responded))
    {
        fields.insert(DATE, date);
    }
    fields
}

/// The stored fields, updated from a 304 (RFC 9111 §3.2).
///
/// `Content-Encoding` and `Content-Range` say what the stored bytes are: like
/// `Content-Length` they stay. A weak tag may stand for several encodings, and a
/// 304 for any of them.
///
/// A layer inside that chooses codings names `Accept-Encoding` on each 304, for it does
/// not know what the 304 is about: of that the stored fields tell.
pub(crate) fn updated_fields(
    stored: &HeaderMap,
    update: &HeaderMap,
    responded: SystemTime,
) -> HeaderMap {
    const BOUND: [HeaderName; 3] = [CONTENT_LENGTH, CONTENT_ENCODING, CONTENT_RANGE];
    let mut fields = stored.clone();
    fields.remove(AGE);
    let mut update = stored_fields(update, &[], responded);
    let chosen = |line: &&HeaderValue| OfferedCodings::of_vary(line).is_some();
    if update.get_all(VARY).iter().any(|line| chosen(&line)) {
        let lines = update.get_all(VARY).iter().filter(|line| !chosen(line));
        let own: Vec<_> = lines.cloned().collect();
        update.remove(VARY);
        if !own.is_empty() {
            let known = stored.get_all(VARY).iter().filter(chosen).cloned();
            update.extend(own.into_iter().chain(known).map(|line| (VARY, line)));
        }
    }
    let names = update.keys().filter(|name| !BOUND.contains(name));
    for name in names {
        fields.remove(name);
        fields.extend(update.get_all(name).iter().map(|value| (name.clone(), value.clone())));
    }
    fields
}

/// The fields of a 304 made from a stored response (RFC 9110 §15.4.5).
pub(crate) fn not_modified_fields(stored: &HeaderMap) -> HeaderMap {
    let mut fields = HeaderMap::with_capacity(8);
    for name in OF_304 {
        fields.extend(stored.get_all(&name).iter().map(|value| (name.clone(), value.clone())));
    }
    if !fields.contains_key(ETAG)
        && let Some(modified) = stored.get(LAST_MODIFIED)
    {
        fields.insert(LAST_MODIFIED, modified.clone());
    }
    fields
}

/// How many lines [`not_modified_fields`] has at most.
pub(crate) fn not_modified_lines(stored: &HeaderMap) -> usize {
    stored.iter().filter(|(name, _)| **name == LAST_MODIFIED || OF_304.contains(name)).count()
}

/// The fields of parts of a stored response (RFC 9110 §15.3.7); `Content-Range`,
/// `Content-Length` and, of several, `Content-Type` are to be added.
///
/// A client that sent `If-Range` has those already that only describe the
/// representation. What is said of the content of the whole is not said of parts.
pub(crate) fn partial_fields(stored: &HeaderMap, if_range: bool) -> HeaderMap {
    const OF_THE_WHOLE: [&str; 3] = ["content-digest", "content-md5", "content-range"];
    let mut fields = stored.clone();
    OF_THE_WHOLE.iter().for_each(|name| drop(fields.remove(*name)));
    if if_range {
        let known = [CONTENT_TYPE, CONTENT_ENCODING, CONTENT_LANGUAGE];
        // Without an entity tag the date is what parts are combined by.
        let modified = fields.contains_key(ETAG).then_some(LAST_MODIFIED);
        known.into_iter().chain(modified).for_each(|name| drop(fields.remove(name)));
    }
    fields
}

/// The fields of a 416 made from a stored response (RFC 9110 §15.5.17);
/// `Content-Range` is to be added.
///
/// How long the response is fresh is not said: a cache outside must not take
/// this for it.
pub(crate) fn unsatisfiable_fields(stored: &HeaderMap) -> HeaderMap {
    let mut fields = HeaderMap::with_capacity(8);
    for name in [DATE, ETAG, VARY] {
        fields.extend(stored.get_all(&name).iter().map(|value| (name.clone(), value.clone())));
    }
    fields.insert(CONTENT_LENGTH, HeaderValue::from_static("0"));
    fields
}

fn is_stored(name: &HeaderName, response: &HeaderMap) -> bool {
    const NEVER: [HeaderName; 6] =
        [CONNECTION, PROXY_AUTHENTICATE, PROXY_AUTHORIZATION, TE, TRANSFER_ENCODING, UPGRADE];
    const NEVER_EITHER: [&str; 3] = ["keep-alive", "proxy-connection", "proxy-authentication-info"];
    let named = || {
        let lines = response.get_all(CONNECTION).iter().map(|line| line.as_bytes());
        let mut options = lines.flat_map(|line| line.split(|&c| c == b','));
        options.any(|option| option.trim_ascii().eq_ignore_ascii_case(name.as_str().as_bytes()))
    };
    !NEVER.contains(name) && !NEVER_EITHER.contains(&name.as_str()) && !named()
}

/// The fields that a 304 has if a 200 would have had them (RFC 9110 §15.4.5).
const OF_304: [HeaderName; 6] = [CACHE_CONTROL, CONTENT_LOCATION, DATE, ETAG, EXPIRES, VARY];

#[cfg(test)]
mod tests {
    use tower_edge_core::Coding;

    use super::*;

    fn map(fields: &[(&str, &str)]) -> HeaderMap {
        fields.iter().map(|(name, value)| (name.parse().unwrap(), value.parse().unwrap())).collect()
    }

    const DATED: (&str, &str) = ("date", "Thu, 01 Jan 1970 00:00:00 GMT");

    #[test]
    fn what_belongs_to_a_connection_is_not_stored() {
        let response = map(&[
            ("connection", "close, X-Hop"),
            ("x-hop", "1"),
            ("keep-alive", "timeout=5"),
            ("transfer-encoding", "chunked"),
            ("trailer", "x-sum"),
            ("proxy-authentication-info", "x"),
            ("x-unknown", "1"),
            ("link", "<a>"),
            ("link", "<b>"),
        ]);
        let stored = map(&[
            ("trailer", "x-sum"),
            ("x-unknown", "1"),
            ("link", "<a>"),
            ("link", "<b>"),
            DATED,
        ]);
        assert_eq!(stored_fields(&response, &[], SystemTime::UNIX_EPOCH), stored);
        let without = stored_fields(
            &stored,
            &[DATE, HeaderName::from_static("link")],
            SystemTime::UNIX_EPOCH,
        );
        assert_eq!(without, map(&[("trailer", "x-sum"), ("x-unknown", "1"), DATED]));
    }

    #[test]
    fn a_304_replaces_all_fields_but_those_that_describe_the_bytes() {
        let stored = map(&[
            ("age", "7"),
            ("etag", "\"a\""),
            ("content-type", "a/b"),
            ("content-encoding", "gzip"),
            ("link", "<a>"),
            ("x", "1"),
        ]);
        let update = map(&[
            ("content-type", "c/d"),
            ("content-encoding", "br"),
            ("content-range", "bytes 0-0/1"),
            ("content-length", "0"),
            ("link", "<b>"),
            ("link", "<c>"),
            ("connection", "y"),
            ("y", "1"),
        ]);
        let expected = map(&[
            ("etag", "\"a\""),
            ("content-type", "c/d"),
            ("content-encoding", "gzip"),
            ("link", "<b>"),
            ("link", "<c>"),
            ("x", "1"),
            DATED,
        ]);
        assert_eq!(updated_fields(&stored, &update, SystemTime::UNIX_EPOCH), expected);
    }

    #[test]
    fn a_304_does_not_tell_that_a_coding_was_chosen() {
        let mark = OfferedCodings::new([Coding::Br]).vary().clone();
        let (own, text) =
            (HeaderValue::from_static("x"), HeaderValue::from_static("accept-encoding"));
        for (stored, update, expected) in [
            (&[][..], &[&mark][..], &[][..]),
            (&[&own], &[&mark], &[&own]),
            (&[&own, &mark], &[&mark], &[&own, &mark]),
            (&[&mark], &[&own, &mark], &[&own, &mark]),
            (&[], &[&own, &mark], &[&own]),
            (&[&mark], &[&text], &[&text]),
            (&[&text], &[&mark], &[&text]),
            (&[&own, &mark], &[], &[&own, &mark]),
        ] {
            let fields = |lines: &[&HeaderValue]| -> HeaderMap {
                lines.iter().map(|&line| (VARY, line.clone())).collect()
            };
            let updated = updated_fields(&fields(stored), &fields(update), SystemTime::UNIX_EPOCH);
            let found: Vec<_> = updated.get_all(VARY).iter().collect();
            assert_eq!(found, expected, "{stored:?} {update:?}");
            let told = |line: &&HeaderValue| OfferedCodings::of_vary(line).is_some();
            assert!(found.iter().map(told).eq(expected.iter().map(told)), "{stored:?} {update:?}");
        }
    }

    #[test]
    fn a_304_has_the_fields_that_a_cache_needs() {
        let modified = ("last-modified", "Thu, 01 Jan 1970 00:00:00 GMT");
        let stored =
            map(&[("etag", "\"a\""), ("content-type", "a/b"), modified, DATED, ("vary", "x")]);
        assert_eq!(not_modified_fields(&stored), map(&[("etag", "\"a\""), DATED, ("vary", "x")]));
        assert_eq!(not_modified_fields(&map(&[modified, ("x", "y")])), map(&[modified]));
    }

    #[test]
    fn parts_have_the_fields_that_the_client_lacks() {
        let required =
            [DATED, ("cache-control", "x"), ("etag", "\"a\""), ("expires", "x"), ("vary", "x")];
        let described = [
            ("content-type", "a/b"),
            ("content-encoding", "gzip"),
            ("content-language", "de"),
            ("last-modified", "x"),
        ];
        let of_the_whole = [("content-digest", "x"), ("content-md5", "x"), ("content-range", "x")];
        let others = [("content-location", "/x"), ("repr-digest", "x"), ("x", "y")];
        let all = |groups: &[&[(&str, &str)]]| map(&groups.concat());
        let stored = all(&[&required, &described, &of_the_whole, &others]);
        assert_eq!(partial_fields(&stored, false), all(&[&required, &described, &others]));
        assert_eq!(partial_fields(&stored, true), all(&[&required, &others]));
        let dated = map(&[DATED, ("last-modified", "x")]);
        assert_eq!(partial_fields(&dated, true), dated);
        let none = map(&[DATED, ("etag", "\"a\""), ("vary", "x"), ("content-length", "0")]);
        assert_eq!(unsatisfiable_fields(&stored), none);
    }
}
