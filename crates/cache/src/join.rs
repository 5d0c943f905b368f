//! Parts (206) among the stored responses (RFC 9111 §3.4, RFC 9110 §15.3.7.3).

use std::sync::Arc;

use http::StatusCode;
use http::header::IF_RANGE;

use crate::draft::{Arrival, Draft};
use crate::entry::Entry;
use crate::policy::{Content, Selection, strong_tag};
use crate::shared::Shared;

/// Whether it is of use to store a part of so many bytes in all.
pub(crate) fn is_wanted(draft: &Draft, length: usize, stored: &[Arc<Entry>]) -> bool {
    base(draft, length, stored).is_some() || stands_alone(draft, stored)
}

/// The response that a part becomes among those that are stored: a larger part, or
/// the whole, if one of them has the same strong tag, else a new one; `None` if it
/// is not wanted.
pub(crate) fn joined(
    shared: &Shared,
    draft: &Draft,
    content: Content,
    stored: &[Arc<Entry>],
) -> Option<Entry> {
    let Draft { fetch, arrival, exchange, .. } = draft;
    let Arrival { fields, selection, kept, .. } = &**arrival;
    if let Some(base) = base(draft, content.length(), stored) {
        let mut joined = fetch.updated(shared, base, fields, exchange).ok()?;
        joined.selection = Selection::of(&fetch.request, &joined.fields)?;
        joined.content = base.content.joined(&content, shared.max_entry);
        return Some(joined);
    }
    let new = || {
        Entry::new(StatusCode::OK, fields, content, None, selection.clone(), *kept, None)
            .marked(fetch.mark(shared, fields))
    };
    stands_alone(draft, stored).then(new)
}

/// The response of which a part is a part.
fn base<'a>(draft: &Draft, length: usize, stored: &'a [Arc<Entry>]) -> Option<&'a Arc<Entry>> {
    let tag = strong_tag(&draft.arrival.fields)?;
    stored.iter().find(|entry| {
        entry.selection.matches(&draft.fetch.request)
            && entry.has_parts()
            && entry.content.length() == length
            && entry.origin_tag() == Some(tag)
    })
}

/// Whether a part can be stored by itself.
///
/// After `If-Range` it cannot: it lacks the fields that describe the whole. And a
/// whole that it does not belong to is worth more, unless the origin was asked
/// about that very one and has another by now.
fn stands_alone(draft: &Draft, stored: &[Arc<Entry>]) -> bool {
    let Draft { fetch, arrival, .. } = draft;
    let is_worth_more = |entry: &Arc<Entry>| {
        let asked_about = fetch.nominated.iter().any(|nominated| Arc::ptr_eq(nominated, entry));
        entry.selection == arrival.selection
            && entry.status == StatusCode::OK
            && entry.content.is_whole()
            && !asked_about
    };
    !fetch.request.contains_key(IF_RANGE) && !stored.iter().any(is_worth_more)
}
