use http::header::{ETAG, IF_MATCH, IF_NONE_MATCH, IF_RANGE, IF_UNMODIFIED_SINCE, RANGE};
use http::{HeaderMap, HeaderName, HeaderValue};
use tower_edge_core::Coding;

use crate::tag::{MARK, Tag, tags};

/// Makes the conditions of a request speak of the plain bytes that the service
/// knows; gives the client's `If-None-Match` if that named encoded ones.
///
/// Beside each tag with a mark of ours, of a coding that `accepts` lets through,
/// stands the tag without it: the state of the resource is the same. A range of
/// encoded bytes is none of the plain ones, so the whole is asked for; where a date
/// is the validator nobody can tell which bytes it means, so that is done where the
/// whole would be `encoded`. Who wants no other bytes than the rest of those it has
/// (`If-Match` with a range, RFC 9110 §13.1.1) is told that they are not there: then the
/// tag stays alone, and is no tag of the service's.
pub(crate) fn ask_plainly(
    headers: &mut HeaderMap,
    accepts: impl Fn(Coding) -> bool,
    encoded: bool,
) -> Option<Box<[u8]>> {
    // Most requests have none, which is found out by one look at their names.
    if !headers.keys().any(is_condition) {
        return None;
    }
    if let Some(validator) = headers.get(IF_RANGE) {
        let tag = Tag::read(validator.as_bytes());
        let other = tag.map_or(encoded, |tag| tag.unmarked().is_some());
        if other {
            headers.remove(RANGE);
            headers.remove(IF_RANGE);
        }
    }
    if encoded && headers.contains_key(IF_UNMODIFIED_SINCE) {
        headers.remove(RANGE);
    }
    if !headers.contains_key(RANGE) {
        unmark(headers, IF_MATCH, |_| true);
    }
    unmark(headers, IF_NONE_MATCH, accepts)
}

/// Whether it is the name of a condition that may speak of encoded bytes.
#[inline]
pub(crate) fn is_condition(name: &HeaderName) -> bool {
    matches!(*name, IF_MATCH | IF_NONE_MATCH | IF_RANGE | IF_UNMODIFIED_SINCE)
}

/// The tag for a 304 with the tag `current` of the plain bytes: of those that the
/// client named in `asked` the one that means them, first of all in the coding
/// `chosen`; `None` if `current` is right.
pub(crate) fn named(
    asked: &[u8],
    current: &HeaderValue,
    chosen: Option<Coding>,
    accepts: impl Fn(Coding) -> bool,
) -> Option<HeaderValue> {
    let plain = Tag::read(current.as_bytes())?.opaque;
    let meaning = |coding: Option<Coding>| {
        tags(asked).find(|tag| match (tag.unmarked(), coding) {
            (Some((tag, found)), Some(coding)) => tag.opaque == plain && found == coding,
            (Some((tag, found)), None) => tag.opaque == plain && accepts(found),
            (None, _) => false,
        })
    };
    let as_chosen = chosen.and_then(|coding| meaning(Some(coding)));
    let is_named = || tags(asked).any(|tag| tag.opaque == plain);
    let tag = match as_chosen {
        Some(tag) => tag,
        None if is_named() => return None,
        None => meaning(None)?,
    };
    let mut text = Vec::with_capacity(tag.opaque.len() + 4);
    tag.write(&mut text);
    HeaderValue::from_bytes(&text).ok()
}

/// Adds the plain tags to the field; gives what it was if that changed it.
fn unmark(
    headers: &mut HeaderMap,
    name: HeaderName,
    accepts: impl Fn(Coding) -> bool,
) -> Option<Box<[u8]>> {
    let marks = |line: &HeaderValue| line.as_bytes().contains(&MARK);
    if !headers.get_all(&name).iter().any(marks) {
        return None;
    }
    let lines: Vec<_> = headers.get_all(&name).iter().map(HeaderValue::as_bytes).collect();
    let asked = lines.join(&b", "[..]);
    let mut text = asked.clone();
    let unmarked = tags(&asked).filter_map(Tag::unmarked).filter(|(_, coding)| accepts(*coding));
    for (tag, _) in unmarked {
        // Of encoded bytes that are not always the same the tag is weak, that of
        // the plain ones may be strong.
        let strong = Tag { weak: false, ..tag };
        for tag in if tag.weak { vec![strong, tag] } else { vec![strong] } {
            if !tags(&text).any(|known| known == tag) {
                text.extend_from_slice(b", ");
                tag.write(&mut text);
            }
        }
    }
    headers.insert(name, HeaderValue::from_bytes(&text).ok()?);
    Some(asked.into())
}

/// Takes the validators of the plain bytes for those of the encoded ones: the tag
/// is marked, or goes where it is none.
pub(crate) fn mark_tag(headers: &mut HeaderMap, coding: Coding, level: u8, weak: bool) {
    let Some(plain) = headers.get(ETAG) else { return };
    match crate::tag::marked(plain, coding, level, weak) {
        Some(tag) => drop(headers.insert(ETAG, tag)),
        None => drop(headers.remove(ETAG)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn map(fields: &[(&str, &str)]) -> HeaderMap {
        fields.iter().map(|(name, value)| (name.parse().unwrap(), value.parse().unwrap())).collect()
    }

    fn but_br(coding: Coding) -> bool {
        coding != Coding::Br
    }

    #[test]
    fn the_service_is_asked_about_plain_bytes() {
        const NONE: &str = "if-none-match";
        for (request, after, kept) in [
            (&[][..], &[][..], None),
            (&[(NONE, "\"v1\"")], &[(NONE, "\"v1\"")], None),
            (&[(NONE, "*")], &[(NONE, "*")], None),
            (&[(NONE, "\"v1+gzip6\"")], &[(NONE, "\"v1+gzip6\", \"v1\"")], Some("\"v1+gzip6\"")),
            (
                &[(NONE, "W/\"v1+gzip6\"")],
                &[(NONE, "W/\"v1+gzip6\", \"v1\", W/\"v1\"")],
                Some("W/\"v1+gzip6\""),
            ),
            (
                &[(NONE, "\"v1+gzip6\""), (NONE, "\"v2\", \"v1+zstd3\"")],
                &[(NONE, "\"v1+gzip6\", \"v2\", \"v1+zstd3\", \"v1\"")],
                Some("\"v1+gzip6\", \"v2\", \"v1+zstd3\""),
            ),
            (&[(NONE, "\"v1+br5\"")], &[(NONE, "\"v1+br5\"")], Some("\"v1+br5\"")),
            (&[(NONE, "\"a+b\"")], &[(NONE, "\"a+b\"")], Some("\"a+b\"")),
            (&[("if-match", "\"v1+br5\"")], &[("if-match", "\"v1+br5\", \"v1\"")], None),
            (&[("if-match", "W/\"v1\"")], &[("if-match", "W/\"v1\"")], None),
            (&[("if-match", "*")], &[("if-match", "*")], None),
            (
                &[("if-match", "\"v1+gzip6\""), ("range", "bytes=5-")],
                &[("if-match", "\"v1+gzip6\""), ("range", "bytes=5-")],
                None,
            ),
            (
                &[("if-match", "\"v1+br5\""), ("range", "bytes=5-"), ("if-range", "\"v1+br5\"")],
                &[("if-match", "\"v1+br5\", \"v1\"")],
                None,
            ),
        ] {
            let mut headers = map(request);
            let asked = ask_plainly(&mut headers, but_br, true);
            assert_eq!(headers, map(after), "{request:?}");
            assert_eq!(asked.as_deref(), kept.map(str::as_bytes), "{request:?}");
        }
    }

    #[test]
    fn ranges_of_encoded_bytes_are_asked_for_as_the_whole() {
        const DATE: &str = "Sun, 06 Nov 1994 08:49:37 GMT";
        for (validator, encoded, stays) in [
            ("\"v1\"", true, true),
            ("\"v1\"", false, true),
            ("\"v1+gzip6\"", true, false),
            ("\"v1+gzip6\"", false, false),
            ("W/\"v1\"", true, true),
            (DATE, true, false),
            (DATE, false, true),
        ] {
            let mut headers = map(&[("range", "bytes=5-"), ("if-range", validator)]);
            ask_plainly(&mut headers, but_br, encoded);
            let both = (headers.contains_key(RANGE), headers.contains_key(IF_RANGE));
            assert_eq!(both, (stays, stays), "{validator}");
        }
        let mut headers = map(&[("range", "bytes=5-")]);
        ask_plainly(&mut headers, but_br, true);
        assert!(headers.contains_key(RANGE));
    }

    #[test]
    fn a_304_names_the_bytes_that_the_client_has() {
        let (gzip, zstd) = (Some(Coding::Gzip), Some(Coding::Zstd));
        for (asked, current, chosen, meant) in [
            ("\"v1+gzip6\"", "\"v1\"", gzip, Some("\"v1+gzip6\"")),
            ("W/\"v1+gzip6\"", "\"v1\"", gzip, Some("W/\"v1+gzip6\"")),
            ("\"v1+gzip6\"", "W/\"v1\"", gzip, Some("\"v1+gzip6\"")),
            ("\"v1+gzip6\"", "\"v1\"", zstd, Some("\"v1+gzip6\"")),
            ("\"v1+gzip6\", \"v1\"", "\"v1\"", gzip, Some("\"v1+gzip6\"")),
            ("\"v1+gzip6\", \"v1\"", "\"v1\"", zstd, None),
            ("\"v1+gzip6\", \"v1\"", "\"v1\"", None, None),
            ("\"v1+gzip6\", \"v1+zstd3\"", "\"v1\"", zstd, Some("\"v1+zstd3\"")),
            ("\"v1+br5\"", "\"v1\"", zstd, None),
            ("\"v0+gzip6\", \"v1+gzip6\"", "\"v1\"", gzip, Some("\"v1+gzip6\"")),
            ("\"v0+gzip6\"", "\"v1\"", gzip, None),
            ("\"v1+gzip6\"", "\"v1+gzip6\"", gzip, None),
            ("\"v1+gzip6\"", "v1", gzip, None),
        ] {
            let current = current.parse().unwrap();
            let found = named(asked.as_bytes(), &current, chosen, but_br);
            assert_eq!(found, meant.map(|tag| tag.parse().unwrap()), "{asked} {current:?}");
        }
    }

    #[test]
    fn what_is_no_tag_says_nothing_of_encoded_bytes() {
        for (plain, after) in [("\"v1\"", Some("\"v1+gzip6\"")), ("v1", None)] {
            let mut headers = map(&[("etag", plain)]);
            mark_tag(&mut headers, Coding::Gzip, 6, false);
            assert_eq!(headers.get(ETAG).map(HeaderValue::as_bytes), after.map(str::as_bytes));
        }
        let mut headers = HeaderMap::new();
        mark_tag(&mut headers, Coding::Gzip, 6, false);
        assert!(headers.is_empty());
    }
}
