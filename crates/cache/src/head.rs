//! The fields of an entry, as they are kept.

use bytes::BytesMut;
use http::header::{AGE, CACHE_STATUS, ETAG};
use http::{HeaderMap, HeaderName, HeaderValue};
use tower_edge_core::OfferedCodings;

use crate::heap::{self, allocated, shared};

/// Fields with slots for those that each answer gets anew, before all others, and
/// no place for more but one: a map that is full grows when a value in it is
/// replaced.
///
/// `count` is how many lines there are; slots are none of them.
pub(crate) fn with_slots(
    count: usize,
    has_status: bool,
    lines: impl Iterator<Item = (HeaderName, HeaderValue)>,
) -> HeaderMap {
    // A clone takes no more than it needs.
    with_slots_among(count + SLOTS + 1, has_status, lines).clone()
}

/// As [`with_slots`], in a map that is made with so many places: its clone takes less
/// memory.
pub(crate) fn with_slots_among(
    places: usize,
    has_status: bool,
    lines: impl Iterator<Item = (HeaderName, HeaderValue)>,
) -> HeaderMap {
    let mut all = HeaderMap::with_capacity(places);
    let empty = HeaderValue::from_static("");
    all.insert(AGE, empty.clone());
    if !has_status {
        all.insert(CACHE_STATUS, empty);
    }
    for (name, value) in lines {
        all.append(name, value);
    }
    all
}

/// Whether a line is a slot, or belongs where one will be.
pub(crate) fn is_slot((name, value): &(&HeaderName, &HeaderValue)) -> bool {
    *name == AGE || (*name == CACHE_STATUS && value.is_empty())
}

/// As [`with_slots`], in memory of their own: the values share one buffer made for
/// them, but for a line of `Vary` that is more than its text. The entity tag comes
/// first, where [`tag`] looks for it.
pub(crate) fn compact<'a>(
    lines: impl Iterator<Item = (&'a HeaderName, &'a HeaderValue)>,
) -> HeaderMap {
    let mut lines: Vec<_> = lines.filter(|line| !is_slot(line)).collect();
    lines.sort_by_key(|(name, _)| **name != ETAG);
    let has_status = lines.iter().any(|(name, _)| **name == CACHE_STATUS);
    let mut values = compacted(|| lines.iter().map(|(_, value)| *value));
    let all = lines.iter().map(|(name, value)| ((*name).clone(), values(value)));
    with_slots(lines.len(), has_status, all)
}

/// The entity tag among fields with slots, which most often stands right behind them:
/// to find it by its name would cost more than to compare it.
pub(crate) fn tag(fields: &HeaderMap) -> Option<&HeaderValue> {
    match fields.iter().nth(SLOTS) {
        Some((name, value)) if *name == ETAG => Some(value),
        _ => fields.get(ETAG),
    }
}

/// Copies fields so that the copy shares nothing with them, not even long names.
pub(crate) fn apart(fields: &HeaderMap) -> HeaderMap {
    let mut values = compacted(|| fields.values());
    let mut copy = HeaderMap::with_capacity(fields.len() + 1);
    for (name, value) in fields {
        let own = HeaderName::from_bytes(name.as_str().as_bytes());
        copy.append(own.unwrap_or_else(|_| name.clone()), values(value));
    }
    copy.clone()
}

/// Copies values, then asked for in the same order, into one buffer.
fn compacted<'a, V: Iterator<Item = &'a HeaderValue>>(
    values: impl Fn() -> V,
) -> impl FnMut(&HeaderValue) -> HeaderValue {
    let is_text = |value: &&HeaderValue| OfferedCodings::of_vary(value).is_none();
    let texts = || values().filter(is_text);
    let mut buffer = BytesMut::with_capacity(texts().map(HeaderValue::len).sum());
    texts().for_each(|value| buffer.extend_from_slice(value.as_bytes()));
    let mut buffer = buffer.freeze();
    move |value| {
        if !is_text(&value) {
            return value.clone();
        }
        // The bytes were a value before, so they are one now.
        match HeaderValue::from_maybe_shared(buffer.split_to(value.len())) {
            Ok(mut copy) => {
                copy.set_sensitive(value.is_sensitive());
                copy
            }
            Err(_) => value.clone(),
        }
    }
}

/// What a cloned map takes of memory beside its texts, in bytes: an index of four
/// bytes for each place, of which a quarter stays free, a bucket for each name, and
/// for each further value of a name a link.
pub(crate) fn table(fields: &HeaderMap) -> usize {
    let more = fields.len() - fields.keys_len();
    allocated(fields.capacity() / 3 * 4 * 4)
        + allocated(fields.keys_len() * BUCKET)
        + allocated(more * LINK)
}

/// The same for a map with slots and so many lines, each with another name.
pub(crate) fn table_of(lines: usize) -> usize {
    let most = lines + SLOTS + 1;
    let places = (most + most / 3).next_power_of_two();
    allocated(places * 4) + allocated((lines + SLOTS) * BUCKET)
}

/// What the texts of compacted fields take, in bytes.
pub(crate) fn texts(fields: &HeaderMap) -> usize {
    shared(fields.values().map(HeaderValue::len).sum()) + names(fields)
}

/// What their names take, in bytes.
pub(crate) fn names(fields: &HeaderMap) -> usize {
    fields.keys().map(heap::name).sum()
}

/// How many slots there are.
pub(crate) const SLOTS: usize = 2;

const BUCKET: usize = size_of::<HeaderName>() + size_of::<HeaderValue>() + 32;
const LINK: usize = size_of::<HeaderValue>() + 32;

#[cfg(test)]
mod tests {
    use tower_edge_core::Coding;

    use super::*;

    #[test]
    fn compact_fields_are_the_same_fields_behind_the_slots() {
        let fields = [("a", "1"), ("b", ""), ("a", "2"), ("age", "7"), ("date", "x")];
        let fields = fields.map(|(name, value)| (name.parse().unwrap(), value.parse().unwrap()));
        let mut fields = HeaderMap::from_iter(fields);
        let offered = OfferedCodings::new([Coding::Br]);
        fields.insert("vary", offered.vary().clone());
        for status in ["", "other; hit"] {
            let status = HeaderValue::from_static(status);
            fields.insert(CACHE_STATUS, status.clone());
            let mut copy = compact(fields.iter());
            assert_eq!(OfferedCodings::of_vary(&copy["vary"]), Some(offered));
            let names: Vec<_> = copy.keys().map(HeaderName::as_str).take(2).collect();
            assert_eq!((names[0], names[1] == "cache-status"), ("age", status.is_empty()));
            assert_eq!(copy.insert(AGE, fields[AGE].clone()), Some(HeaderValue::from_static("")));
            assert_eq!(copy, fields);
            assert_eq!(apart(&copy), fields);
        }
    }

    #[test]
    fn the_entity_tag_is_found_wherever_it_stands() {
        let tagged = [("a", "1"), ("b", "2"), ("etag", "\"x\""), ("c", "3")];
        let tagged = tagged.map(|(name, value)| (name.parse().unwrap(), value.parse().unwrap()));
        let mut fields = HeaderMap::from_iter(tagged);
        let copy = compact(fields.iter());
        assert_eq!(copy.keys().nth(SLOTS), Some(&ETAG));
        assert_eq!([tag(&fields), tag(&copy)].map(|tag| tag.unwrap()), ["\"x\"", "\"x\""]);
        fields.remove("a");
        assert_eq!(tag(&fields).unwrap(), "\"x\"");
        fields.remove(ETAG);
        assert_eq!([tag(&fields), tag(&compact(fields.iter()))], [None, None]);
    }

    #[test]
    fn a_map_with_slots_does_not_grow_when_they_are_filled() {
        for count in 0..50 {
            let names = (0..count).map(|number| format!("x-{number}").parse().unwrap());
            let fields = names.map(|name| (name, HeaderValue::from_static("1")));
            let mut fields = with_slots(count, false, fields);
            assert_eq!(table(&fields), table_of(count));
            let capacity = fields.capacity();
            for name in [AGE, CACHE_STATUS] {
                fields.insert(name, HeaderValue::from_static("2"));
            }
            assert_eq!(fields.capacity(), capacity, "{count}");
        }
    }
}
