use std::cell::RefCell;
use std::sync::Arc;
use std::time::Duration;

use http::header::CACHE_STATUS;
use http::{HeaderMap, HeaderValue, StatusCode};

use crate::policy::Kept;

/// Why a request went upstream, in the words of RFC 9211 §2.2.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Forward {
    Bypass,
    Method,
    UriMiss,
    VaryMiss,
    Request,
    Stale,
    Partial,
}

impl Forward {
    /// The word for logs and traces.
    pub(crate) const fn word(self) -> &'static str {
        match self {
            Self::Bypass => "bypass",
            Self::Method => "method",
            Self::UriMiss | Self::VaryMiss | Self::Partial => "miss",
            Self::Request => "request",
            Self::Stale => "expired",
        }
    }
}

/// What became of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Status {
    /// Answered from the store, fresh for so many seconds more; stale for so
    /// many, if negative.
    Hit { ttl: i64 },
    /// It was forwarded, and the response passed on.
    Forwarded(Forward),
    /// It was forwarded, and the response is stored while it passes.
    Stored(Forward),
    /// It waited for a request that was forwarded before, and shares what came of
    /// that.
    Collapsed(Forward),
    /// It was forwarded as a validation, and what is stored is still good.
    Validated(Forward),
    /// It was forwarded in vain, with this status if there was one, and what is
    /// stored answers though it is stale.
    StaleOnError(Forward, Option<StatusCode>),
    /// It wanted only what is stored, and there was nothing.
    Unsatisfied,
}

impl Status {
    /// The answer of a stored response of this age.
    pub(crate) fn hit(kept: &Kept, age: Duration) -> Self {
        let seconds = |time: Duration| time.as_secs() as i64;
        Self::Hit { ttl: seconds(kept.freshness.lifetime()) - seconds(age) }
    }

    /// The word for logs and traces.
    pub(crate) const fn word(self) -> &'static str {
        match self {
            Self::Hit { ttl: ..0 } | Self::StaleOnError(..) => "stale",
            Self::Hit { .. } => "hit",
            Self::Collapsed(_) => "collapsed",
            Self::Validated(_) => "validated",
            Self::Unsatisfied => "unsatisfied",
            Self::Forwarded(forward) | Self::Stored(forward) => forward.word(),
        }
    }
}

/// Writes the member of a cache into `Cache-Status` (RFC 9211).
///
/// What does not change is made once; the member of a hit is made once a thread
/// and second.
#[derive(Debug)]
pub(crate) struct StatusField {
    name: Box<str>,
    forwarded: [HeaderValue; FORWARDS.len()],
    stored: [HeaderValue; FORWARDS.len()],
}

impl StatusField {
    /// A member of this name; none if it is no token and no string of a
    /// structured field (RFC 9211 §2).
    pub(crate) fn new(name: &str) -> Option<Self> {
        let token = |c: char| c.is_ascii_alphanumeric() || "-._~!#$%&'*+^`|:/".contains(c);
        let plain = name.starts_with(|c: char| c.is_ascii_alphabetic()) && name.chars().all(token);
        let quotable = name.chars().all(|c| matches!(c, ' '..='~') && !"\"\\".contains(c));
        let name: Box<str> = match plain {
            true => name.into(),
            false if quotable && !name.is_empty() => format!("\"{name}\"").into(),
            false => return None,
        };
        let member = |text: String| HeaderValue::try_from(text).ok();
        let all = |end: &str| {
            let values = FORWARDS.map(|forward| member(format!("{name}; fwd={forward}{end}")));
            values.into_iter().collect::<Option<Vec<_>>>()?.try_into().ok()
        };
        Some(Self { forwarded: all("")?, stored: all("; stored")?, name })
    }

    /// Adds the member behind those of the caches nearer to the origin; an empty
    /// value is a slot to be filled, or goes where there is no member.
    pub(crate) fn put(member: Option<HeaderValue>, fields: &mut HeaderMap) {
        let Some(member) = member else {
            if fields.get(CACHE_STATUS).is_some_and(HeaderValue::is_empty) {
                fields.remove(CACHE_STATUS);
            }
            return;
        };
        // The slot that stored fields have stands second: to find it by its name
        // would cost as much as all else here.
        match fields.iter_mut().nth(1) {
            Some((name, slot)) if *name == CACHE_STATUS && slot.is_empty() => *slot = member,
            _ => match fields.get_mut(CACHE_STATUS) {
                Some(slot) if slot.is_empty() => *slot = member,
                _ => drop(fields.append(CACHE_STATUS, member)),
            },
        }
    }

    /// The member that says this.
    pub(crate) fn member(self: &Arc<Self>, status: Status) -> Option<HeaderValue> {
        let name = &self.name;
        let text = match status {
            Status::Hit { ttl } => return self.hit(ttl),
            Status::Forwarded(forward) => return Some(self.forwarded[forward as usize].clone()),
            Status::Stored(forward) => return Some(self.stored[forward as usize].clone()),
            Status::Collapsed(forward) => {
                format!("{name}; fwd={}; collapsed", FORWARDS[forward as usize])
            }
            Status::Validated(forward) => {
                format!("{name}; fwd={}; fwd-status=304", FORWARDS[forward as usize])
            }
            Status::StaleOnError(forward, failed) => {
                let failed = failed
                    .map_or(String::new(), |failed| format!("; fwd-status={}", failed.as_u16()));
                let forward = FORWARDS[forward as usize];
                format!("{name}; fwd={forward}{failed}; detail=stale-if-error")
            }
            Status::Unsatisfied => format!("{name}; detail=only-if-cached"),
        };
        HeaderValue::try_from(text).ok()
    }

    fn hit(self: &Arc<Self>, ttl: i64) -> Option<HeaderValue> {
        MADE.with_borrow_mut(|made| {
            let slot = &mut made[ttl.rem_euclid(SLOTS as i64) as usize];
            if let Some((by, known, value)) = slot
                && *known == ttl
                && Arc::ptr_eq(by, self)
            {
                return Some(value.clone());
            }
            let value = HeaderValue::try_from(format!("{}; hit; ttl={ttl}", self.name)).ok()?;
            *slot = Some((self.clone(), ttl, value.clone()));
            Some(value)
        })
    }
}

type Made = Option<(Arc<StatusField>, i64, HeaderValue)>;

thread_local! {
    static MADE: RefCell<[Made; SLOTS]> = const { RefCell::new([const { None }; SLOTS]) };
}

const SLOTS: usize = 64;

/// In the order of [`Forward`].
const FORWARDS: [&str; 7] =
    ["bypass", "method", "uri-miss", "vary-miss", "request", "stale", "partial"];

#[cfg(test)]
mod tests {
    use super::*;

    fn written(name: &str, status: Status) -> String {
        let field = Arc::new(StatusField::new(name).unwrap());
        let mut fields = HeaderMap::new();
        StatusField::put(field.member(status), &mut fields);
        fields[CACHE_STATUS].to_str().unwrap().to_owned()
    }

    #[test]
    fn a_member_says_what_became_of_the_request() {
        for (status, member) in [
            (Status::Hit { ttl: 5 }, "a; hit; ttl=5"),
            (Status::Hit { ttl: -3 }, "a; hit; ttl=-3"),
            (Status::Forwarded(Forward::Bypass), "a; fwd=bypass"),
            (Status::Stored(Forward::Stale), "a; fwd=stale; stored"),
            (Status::Stored(Forward::UriMiss), "a; fwd=uri-miss; stored"),
            (Status::Collapsed(Forward::UriMiss), "a; fwd=uri-miss; collapsed"),
            (Status::Validated(Forward::Request), "a; fwd=request; fwd-status=304"),
            (
                Status::StaleOnError(Forward::Stale, Some(StatusCode::BAD_GATEWAY)),
                "a; fwd=stale; fwd-status=502; detail=stale-if-error",
            ),
            (Status::StaleOnError(Forward::Request, None), "a; fwd=request; detail=stale-if-error"),
            (Status::Stored(Forward::Partial), "a; fwd=partial; stored"),
        ] {
            assert_eq!(written("a", status), member);
        }
    }

    #[test]
    fn a_name_is_a_token_or_a_string() {
        assert_eq!(written("my cache", Status::Hit { ttl: 0 }), "\"my cache\"; hit; ttl=0");
        assert_eq!(written("9a", Status::Hit { ttl: 64 }), "\"9a\"; hit; ttl=64");
        assert!(["", "a\"b", "\u{e9}", "a\nb"].iter().all(|name| StatusField::new(name).is_none()));
    }

    #[test]
    fn caches_that_share_a_thread_are_told_apart() {
        for _ in 0..2 {
            assert_eq!(written("a", Status::Hit { ttl: 7 }), "a; hit; ttl=7");
            assert_eq!(written("b", Status::Hit { ttl: 7 }), "b; hit; ttl=7");
        }
    }

    #[test]
    fn a_cache_that_says_nothing_leaves_no_slot_behind() {
        let mut fields = HeaderMap::from_iter([(CACHE_STATUS, HeaderValue::from_static(""))]);
        StatusField::put(None, &mut fields);
        assert!(fields.is_empty());
        fields.insert(CACHE_STATUS, HeaderValue::from_static("inner; hit"));
        StatusField::put(None, &mut fields);
        assert_eq!(fields[CACHE_STATUS], "inner; hit");
    }
}
