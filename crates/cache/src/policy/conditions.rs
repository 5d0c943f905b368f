use std::borrow::Cow;
use std::iter;
use std::time::{Duration, SystemTime};

use http::header::{DATE, ETAG, IF_MODIFIED_SINCE, IF_NONE_MATCH, IF_RANGE, LAST_MODIFIED};
use http::{HeaderMap, HeaderValue};

use super::freshness::date;

/// Whether the conditions of a request make it 304, given the fields of the
/// response it would get (RFC 9110 §13.2.2, RFC 9111 §4.3.2).
pub(crate) fn not_modified(request: &HeaderMap, response: &HeaderMap) -> bool {
    let mut lines = request.get_all(IF_NONE_MATCH).iter();
    if let Some(first) = lines.next() {
        return none_match_fails(iter::once(first).chain(lines), response);
    }
    let Some(since) = date(request, IF_MODIFIED_SINCE) else { return false };
    let modified = match response.contains_key(LAST_MODIFIED) {
        true => date(response, LAST_MODIFIED),
        false => date(response, DATE),
    };
    modified.is_some_and(|modified| modified <= since)
}

/// Whether `If-Range` lets the ranges of a request count, given the fields of the
/// response it would get: strong comparison (RFC 9110 §13.1.5).
pub(crate) fn ranges_apply(request: &HeaderMap, response: &HeaderMap) -> bool {
    let mut lines = request.get_all(IF_RANGE).iter();
    let Some(validator) = lines.next() else { return true };
    if validator.as_bytes().starts_with(b"\"") {
        return lines.next().is_none() && response.get(ETAG) == Some(validator);
    }
    let modified = strong_date(response);
    modified.is_some() && date(request, IF_RANGE) == modified
}

/// The date of a response that all bytes of that date have: those of a second
/// before it was made (RFC 9110 §8.8.2.2).
fn strong_date(response: &HeaderMap) -> Option<SystemTime> {
    date(response, LAST_MODIFIED).filter(|modified| {
        let generated = date(response, DATE);
        generated.is_some_and(|generated| generated >= *modified + Duration::from_secs(1))
    })
}

/// The conditions of a request that a cache evaluates; no allocation if there
/// are none.
pub(crate) fn conditions_of(request: &HeaderMap) -> HeaderMap {
    let mut conditions = HeaderMap::new();
    for name in [IF_NONE_MATCH, IF_MODIFIED_SINCE] {
        conditions.extend(request.get_all(&name).iter().map(|value| (name.clone(), value.clone())));
    }
    conditions
}

/// Makes a request conditional on what is stored, in place of the client's own
/// conditions (RFC 9111 §4.3.1); `false`, and nothing changed, if the stored
/// response has no validator.
///
/// All entity tags are named. A date is only if there is one stored response:
/// with several nobody could tell which of them a 304 means. The client's ranges
/// stay, and hold for a response that has changed.
pub(crate) fn validate<'a>(
    request: &mut HeaderMap,
    stored: impl Iterator<Item = &'a HeaderMap> + Clone,
) -> bool {
    let mut tags = stored.clone().filter_map(|fields| fields.get(ETAG));
    let tags = tags.next().map(|first| {
        let list = tags
            .fold(first.as_bytes().to_vec(), |list, tag| [&list, tag.as_bytes()].join(&b", "[..]));
        HeaderValue::from_bytes(&list).unwrap_or_else(|_| first.clone())
    });
    let mut all = stored;
    let only = all.next().filter(|_| all.next().is_none());
    let date = only.and_then(|fields| fields.get(LAST_MODIFIED)).cloned();
    if tags.is_none() && date.is_none() {
        return false;
    }
    for (name, value) in [(IF_NONE_MATCH, tags), (IF_MODIFIED_SINCE, date)] {
        match value {
            Some(value) => drop(request.insert(name, value)),
            None => drop(request.remove(name)),
        }
    }
    true
}

/// Takes the conditions out of a request that a 304 answers: a response to what
/// one client has would be of no use to others.
pub(crate) fn ask_anyhow(request: &mut HeaderMap) {
    request.remove(IF_NONE_MATCH);
    request.remove(IF_MODIFIED_SINCE);
}

/// The stored response that a 304 speaks of, among those that were asked about,
/// the newest first (RFC 9111 §4.3.4); `None` if it is none of them.
///
/// A strong tag means its like only, a weak one what matches it weakly, a date
/// its like. Beside a strong tag, a date that is strong means what has that date
/// and no tag yet. A 304 without a validator means the one that was asked about:
/// §15.4.5 of RFC 9110 lets origins leave a date out, which it was asked by.
pub(crate) fn identified<'a>(
    update: &HeaderMap,
    mut asked: impl ExactSizeIterator<Item = &'a HeaderMap> + Clone,
) -> Option<usize> {
    match (update.get(ETAG), update.get(LAST_MODIFIED)) {
        (Some(tag), modified) if is_strong(tag) => {
            let tagged = asked.clone().position(|stored| stored.get(ETAG) == Some(tag));
            let dated = modified.filter(|_| strong_date(update).is_some());
            tagged.or_else(|| {
                let same = |stored: &HeaderMap| stored.get(LAST_MODIFIED) == dated;
                asked.position(|stored| {
                    !stored.contains_key(ETAG) && dated.is_some() && same(stored)
                })
            })
        }
        (Some(tag), _) => asked
            .position(|stored| stored.get(ETAG).is_some_and(|other| opaque(other) == opaque(tag))),
        (None, Some(modified))
            if asked.clone().any(|stored| stored.contains_key(LAST_MODIFIED)) =>
        {
            asked.position(|stored| stored.get(LAST_MODIFIED) == Some(modified))
        }
        (None, _) => (asked.len() == 1).then_some(0),
    }
}

/// The fields of a 304 without the strong form of the weak tag that was asked about
/// for a request that selects what has that.
///
/// nginx and its like weaken the tag of what they encode, and do not know on a 304 that
/// they would have: the strong one is that of the plain bytes. It says that the weak
/// one holds, and must not become the tag of what is stored.
pub(crate) fn without_plain_tag<'a>(
    update: &'a HeaderMap,
    asked: &HeaderMap,
) -> Cow<'a, HeaderMap> {
    let plain = strong_tag(update).zip(asked.get(ETAG));
    if !plain.is_some_and(|(tag, asked)| !is_strong(asked) && opaque(asked) == opaque(tag)) {
        return Cow::Borrowed(update);
    }
    let mut update = update.clone();
    update.remove(ETAG);
    Cow::Owned(update)
}

/// Whether `If-None-Match` names the response: weak comparison, `*` for any
/// (RFC 9110 §13.1.2).
fn none_match_fails<'a>(
    mut lines: impl Iterator<Item = &'a HeaderValue>,
    response: &HeaderMap,
) -> bool {
    let stored = response.get(ETAG).map(opaque);
    lines.any(|line| {
        let line = line.as_bytes();
        line.trim_ascii() == b"*"
            || stored.is_some_and(|stored| tags(line).any(|tag| tag == stored))
    })
}

/// The entity tag of a response, if all that has it has the same bytes
/// (RFC 9110 §8.8.3).
pub(crate) fn strong_tag(response: &HeaderMap) -> Option<&HeaderValue> {
    response.get(ETAG).filter(|tag| is_strong(tag))
}

fn is_strong(etag: &HeaderValue) -> bool {
    etag.as_bytes().starts_with(b"\"")
}

/// Whether two entity tags match by the weak comparison (RFC 9110 §8.8.3.2).
pub(crate) fn matches_weakly(tag: &HeaderValue, other: &HeaderValue) -> bool {
    opaque(tag) == opaque(other)
}

/// An entity tag without its weakness (RFC 9110 §8.8.3.2).
fn opaque(etag: &HeaderValue) -> &[u8] {
    let etag = etag.as_bytes().trim_ascii();
    etag.strip_prefix(b"W/").unwrap_or(etag)
}

/// The opaque tags of a list, quotes included; a comma may stand inside them.
pub(super) fn tags(line: &[u8]) -> impl Iterator<Item = &[u8]> {
    let mut rest = line;
    std::iter::from_fn(move || {
        let start = rest.iter().position(|&c| c == b'"')?;
        let end = start + 1 + rest[start + 1..].iter().position(|&c| c == b'"')?;
        let tag = &rest[start..=end];
        rest = &rest[end + 1..];
        Some(tag)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn map(fields: &[(&str, &str)]) -> HeaderMap {
        fields.iter().map(|(name, value)| (name.parse().unwrap(), value.parse().unwrap())).collect()
    }

    const EARLIER: &str = "Sun, 06 Nov 1994 08:49:36 GMT";
    const THEN: &str = "Sun, 06 Nov 1994 08:49:37 GMT";
    const LATER: &str = "Sunday, 06-Nov-94 08:49:38 GMT";

    #[test]
    fn conditions_are_evaluated_in_their_order() {
        let etag = ("etag", "\"a,b\"");
        let modified = ("last-modified", THEN);
        for (request, response, fails) in [
            (&[("if-none-match", "\"x\", \"a,b\"")][..], &[etag][..], true),
            (&[("if-none-match", "W/\"a,b\"")], &[etag], true),
            (&[("if-none-match", "\"a,b\"")], &[("etag", "W/\"a,b\"")], true),
            (&[("if-none-match", "\"x\""), ("if-none-match", "\"a,b\"")], &[etag], true),
            (&[("if-none-match", "\"a\", \"b\"")], &[etag], false),
            (&[("if-none-match", " * ")], &[], true),
            (&[("if-none-match", "\"*\"")], &[etag], false),
            (&[("if-none-match", "\"a")], &[etag], false),
            (&[("if-none-match", "\"x\""), ("if-modified-since", LATER)], &[etag, modified], false),
            (&[("if-modified-since", LATER)], &[modified], true),
            (&[("if-modified-since", THEN)], &[modified], true),
            (&[("if-modified-since", EARLIER)], &[modified], false),
            (&[("if-modified-since", "yesterday")], &[modified], false),
            (&[("if-modified-since", THEN)], &[("date", THEN)], true),
            (&[("if-modified-since", THEN)], &[("date", THEN), ("last-modified", "x")], false),
            (&[], &[etag, modified], false),
        ] {
            assert_eq!(not_modified(&map(request), &map(response)), fails, "{request:?}");
        }
    }

    #[test]
    fn ranges_apply_to_what_is_the_same_byte_by_byte() {
        let tag = ("etag", "\"a\"");
        let dated = [("last-modified", THEN), ("date", LATER)];
        for (request, response, apply) in [
            (&[][..], &[][..], true),
            (&[("if-range", "\"a\"")], &[tag], true),
            (&[("if-range", "\"a\"")], &[("etag", "W/\"a\"")], false),
            (&[("if-range", "W/\"a\"")], &[("etag", "W/\"a\"")], false),
            (&[("if-range", "W/\"a\"")], &[tag], false),
            (&[("if-range", "\"b\"")], &[tag], false),
            (&[("if-range", "\"a\"")], &[], false),
            (&[("if-range", "\"a\""), ("if-range", "\"a\"")], &[tag], false),
            (&[("if-range", THEN)], &dated, true),
            (&[("if-range", "Sun Nov  6 08:49:37 1994")], &dated, true),
            (&[("if-range", EARLIER)], &dated, false),
            (&[("if-range", LATER)], &dated, false),
            (&[("if-range", THEN)], &[("last-modified", THEN), ("date", THEN)], false),
            (&[("if-range", THEN)], &[("last-modified", THEN)], false),
            (&[("if-range", THEN)], &[tag], false),
            (&[("if-range", "")], &[tag], false),
            (&[("if-range", "yesterday")], &[("last-modified", "x"), ("date", LATER)], false),
        ] {
            assert_eq!(ranges_apply(&map(request), &map(response)), apply, "{request:?}");
        }
    }

    #[test]
    fn a_304_means_what_its_validators_identify() {
        let strong = map(&[("etag", "\"a\""), ("last-modified", THEN)]);
        let weak = map(&[("etag", "W/\"a\"")]);
        let dated = map(&[("last-modified", THEN)]);
        for (update, asked, meant) in [
            (&[("etag", "\"a\"")][..], &[&weak, &strong][..], Some(1)),
            (&[("etag", "\"a\"")], &[&weak], None),
            (&[("etag", "W/\"a\"")], &[&dated, &strong, &weak], Some(1)),
            (&[("etag", "\"b\"")], &[&strong], None),
            (&[("etag", "W/\"b\""), ("last-modified", THEN)], &[&strong], None),
            (&[("etag", "\"b\""), ("last-modified", THEN), ("date", LATER)], &[&dated], Some(0)),
            (&[("etag", "\"b\""), ("last-modified", THEN), ("date", LATER)], &[&strong], None),
            (&[("etag", "\"b\""), ("last-modified", THEN), ("date", THEN)], &[&dated], None),
            (&[("etag", "\"b\""), ("last-modified", EARLIER), ("date", LATER)], &[&dated], None),
            (&[("etag", "\"b\"")], &[&dated], None),
            (&[("last-modified", THEN)], &[&dated], Some(0)),
            (&[("last-modified", EARLIER)], &[&dated], None),
            (&[("last-modified", EARLIER)], &[&strong], None),
            (&[("last-modified", EARLIER)], &[&weak], Some(0)),
            (&[], &[&strong], Some(0)),
            (&[], &[&strong, &weak], None),
        ] {
            let found = identified(&map(update), asked.iter().copied());
            assert_eq!(found, meant, "{update:?} {asked:?}");
        }
    }

    #[test]
    fn a_validation_asks_for_what_is_stored_only() {
        let tagged = map(&[("etag", "\"a\""), ("last-modified", THEN)]);
        let weak = map(&[("etag", "W/\"b\""), ("last-modified", THEN)]);
        let dated = map(&[("last-modified", THEN)]);
        let bare = map(&[]);
        let client = ("if-none-match", "\"client\"");
        for (stored, asked) in [
            (&[&tagged][..], &[("if-none-match", "\"a\""), ("if-modified-since", THEN)][..]),
            (&[&tagged, &weak], &[("if-none-match", "\"a\", W/\"b\"")]),
            (&[&dated], &[("if-modified-since", THEN)]),
            (&[&bare], &[client]),
            (&[], &[client]),
        ] {
            let mut request = map(&[client]);
            assert_eq!(validate(&mut request, stored.iter().copied()), !asked.contains(&client));
            assert_eq!(request, map(asked));
        }
    }
}
