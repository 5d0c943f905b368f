use std::ops::Deref;

use http::header::{
    CACHE_CONTROL, CONNECTION, IF_MATCH, IF_MODIFIED_SINCE, IF_NONE_MATCH, IF_UNMODIFIED_SINCE,
    PRAGMA, RANGE, UPGRADE,
};
use http::{HeaderMap, HeaderName, HeaderValue};

use super::RequestDirectives;
use crate::head::tag;

/// The fields of a request, and which of those it has that tell a cache anything.
///
/// These are found in one pass: to ask a map for each of them by name would cost
/// more than all the rules that they are for.
#[derive(Clone, Copy, Debug)]
pub(crate) struct RequestFields<'a> {
    all: &'a HeaderMap,
    has: u16,
    /// The last line of `If-None-Match`.
    none_match: Option<&'a HeaderValue>,
}

impl<'a> RequestFields<'a> {
    pub(crate) fn of(all: &'a HeaderMap) -> Self {
        let mut fields = Self { all, has: 0, none_match: None };
        for (name, value) in all {
            if *name == IF_NONE_MATCH {
                fields.none_match = Some(value);
            }
            fields.has |= bit(name);
        }
        fields
    }

    /// Whether a cache may look at the request at all.
    ///
    /// Preconditions that only an origin can judge, and connections that become
    /// something else are passed on.
    pub(crate) fn is_for_cache(&self) -> bool {
        !self.has_any(FOR_ORIGIN) && self.has & UPGRADES != UPGRADES
    }

    pub(crate) fn directives(&self) -> RequestDirectives {
        match self.has_any(DIRECTIVES) {
            true => RequestDirectives::of(self.all),
            false => RequestDirectives::default(),
        }
    }

    /// Whether there are conditions that a cache evaluates.
    pub(crate) fn has_conditions(&self) -> bool {
        self.has_any(CONDITIONS)
    }

    /// Whether `If-None-Match` names the entity tag of a response as that has it,
    /// which most do that name it at all.
    pub(crate) fn repeats_tag_of(&self, response: &HeaderMap) -> bool {
        self.none_match.is_some() && self.none_match == tag(response)
    }

    pub(crate) fn has_range(&self) -> bool {
        self.has_any(RANGES)
    }

    fn has_any(&self, bits: u16) -> bool {
        self.has & bits != 0
    }
}

impl Deref for RequestFields<'_> {
    type Target = HeaderMap;

    fn deref(&self) -> &HeaderMap {
        self.all
    }
}

/// The bit of a field; none for most.
#[inline]
fn bit(name: &HeaderName) -> u16 {
    match name {
        name if *name == CACHE_CONTROL || *name == PRAGMA => DIRECTIVES,
        name if *name == IF_NONE_MATCH || *name == IF_MODIFIED_SINCE => CONDITIONS,
        name if *name == RANGE => RANGES,
        name if *name == IF_MATCH || *name == IF_UNMODIFIED_SINCE => FOR_ORIGIN,
        name if *name == CONNECTION => UPGRADES & 0b1_0000,
        name if *name == UPGRADE => UPGRADES & 0b10_0000,
        _ => 0,
    }
}

const DIRECTIVES: u16 = 0b1;
const CONDITIONS: u16 = 0b10;
const RANGES: u16 = 0b100;
const FOR_ORIGIN: u16 = 0b1000;

/// It needs both.
const UPGRADES: u16 = 0b11_0000;

#[cfg(test)]
mod tests {
    use super::*;

    fn map(names: &[&str]) -> HeaderMap {
        names.iter().map(|name| (name.parse().unwrap(), "no-store".parse().unwrap())).collect()
    }

    #[test]
    fn what_a_cache_looks_at_is_found_among_all_else() {
        for (names, [for_cache, no_store, conditions, range]) in [
            (&[][..], [true, false, false, false]),
            (&["host", "accept", "x-range", "if-range"], [true, false, false, false]),
            (&["host", "cache-control"], [true, true, false, false]),
            (&["if-none-match", "host"], [true, false, true, false]),
            (&["if-modified-since", "range"], [true, false, true, true]),
            (&["connection"], [true, false, false, false]),
            (&["upgrade"], [true, false, false, false]),
            (&["upgrade", "connection"], [false, false, false, false]),
            (&["if-match"], [false, false, false, false]),
            (&["if-unmodified-since", "range"], [false, false, false, true]),
        ] {
            let map = map(names);
            let fields = RequestFields::of(&map);
            let found = [
                fields.is_for_cache(),
                fields.directives().no_store,
                fields.has_conditions(),
                fields.has_range(),
            ];
            assert_eq!(found, [for_cache, no_store, conditions, range], "{names:?}");
        }
        let pragma = HeaderMap::from_iter([(PRAGMA, "no-cache".parse().unwrap())]);
        assert!(RequestFields::of(&pragma).directives().no_cache);
    }
}
