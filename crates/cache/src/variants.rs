use std::cell::OnceCell;
use std::cmp::Reverse;
use std::sync::Arc;

use http::HeaderMap;

use crate::entry::Entry;
use crate::policy::Selection;

/// The responses of one resource, those that were generated last first.
pub(crate) type Variants = Arc<[Arc<Entry>]>;

/// The newest response that a request selects, of those that have what it asks
/// for (RFC 9111 §4.1).
pub(crate) fn selected<'a>(
    variants: &'a [Arc<Entry>],
    request: &HeaderMap,
    head_only: bool,
) -> Option<&'a Arc<Entry>> {
    let accepted = OnceCell::new();
    variants.iter().find(|entry| {
        entry.selection.matches_reading(request, &accepted) && entry.can_answer(request, head_only)
    })
}

/// The responses of a resource with a new one in place of those that the same
/// requests select; `None` if a later one is there.
///
/// Where an origin forgets `Vary` now and then, the latest there is counts for all
/// (§4.1): a response without it is kept for the requests that are like its own,
/// and not at all where nobody noted what that had.
pub(crate) fn with(
    variants: &[Arc<Entry>],
    mut entry: Entry,
    request: &HeaderMap,
) -> Option<Vec<Arc<Entry>>> {
    if !Selection::varies(&entry.fields)
        && let Some(latest) = variants.iter().find(|other| Selection::varies(&other.fields))
    {
        entry.selection = Selection::of(request, &latest.fields)?;
    }
    let same = |other: &&Arc<Entry>| other.selection == entry.selection;
    let later = |other: &Arc<Entry>| {
        !other.mark().is_stale() && other.came().freshness.is_later(&entry.came().freshness)
    };
    if variants.iter().find(same).is_some_and(later) {
        return None;
    }
    let comparable = |other: &&Arc<Entry>| {
        Selection::varies(&other.fields) || other.selection.notes(&entry.fields)
    };
    let others = variants.iter().filter(|other| !same(other) && comparable(other));
    let others = others.take(MOST_VARIANTS - 1).cloned().collect::<Vec<_>>();
    Some([Arc::new(entry)].into_iter().chain(others).collect())
}

/// The responses of a resource with others that were stored before as well, and
/// went out of memory since.
///
/// Those are left out that the same requests select as newer ones, or that the
/// newest knows too little of (RFC 9111 §4.1).
pub(crate) fn merged(variants: &[Arc<Entry>], others: Vec<Arc<Entry>>) -> Vec<Arc<Entry>> {
    if variants.is_empty() && others.len() <= 1 {
        return others;
    }
    let mut others = others;
    others.sort_by_key(|entry| Reverse(entry.came().generated));
    let mut all = variants.to_vec();
    for other in others {
        let same = |entry: &Arc<Entry>| entry.selection == other.selection;
        let comparable = |newest: &Arc<Entry>| {
            Selection::varies(&other.fields) || other.selection.notes(&newest.fields)
        };
        let is_of_use = all.first().is_none_or(comparable) && !all.iter().any(same);
        if is_of_use && all.len() < MOST_VARIANTS {
            all.push(other);
        }
    }
    all
}

/// The most responses kept for one resource.
const MOST_VARIANTS: usize = 32;
