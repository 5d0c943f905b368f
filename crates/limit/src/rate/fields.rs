//! What clients are told about their quotas
//! (draft-ietf-httpapi-ratelimit-headers-11).

use std::cell::RefCell;
use std::fmt::Write;

use bytes::{Bytes, BytesMut};
use http::{HeaderMap, HeaderName, HeaderValue};

use super::bucket::Standing;
use super::quota::SECOND;

/// A quota as clients are told about it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Policy<'a> {
    pub(crate) name: &'a str,
    pub(crate) permits: u32,
    /// The period, in nanoseconds.
    pub(crate) nanos: u64,
}

impl Policy<'_> {
    /// Quota and window in whole seconds: no more than the rate, and at least 1.
    fn window(&self) -> (u64, u64) {
        let seconds = self.nanos.div_ceil(SECOND);
        let permits = u128::from(self.permits) * u128::from(seconds) * u128::from(SECOND);
        let permits = permits / u128::from(self.nanos);
        (u64::try_from(permits).unwrap_or(u64::MAX).clamp(1, MOST), seconds)
    }
}

/// Adds `RateLimit-Policy` with all quotas, and `RateLimit` with how a key stands
/// by the one of this name.
///
/// Other lines of these fields stay: a list may have several.
pub(crate) fn add<'a>(
    fields: &mut HeaderMap,
    policies: impl Iterator<Item = Policy<'a>>,
    (name, standing): (&str, Standing),
) {
    let value = written(|text| {
        for (at, policy) in policies.enumerate() {
            let (quota, window) = policy.window();
            let comma = if at == 0 { "" } else { ", " };
            write!(text, "{comma}\"{}\";q={quota};w={window}", policy.name)?;
        }
        Ok(())
    });
    fields.append(POLICY, value);
    let value = written(|text| {
        let Standing { available, within, .. } = standing;
        write!(text, "\"{name}\";r={available};t={}", seconds(within))
    });
    fields.append(LIMIT, value);
}

/// Sets the fields that were common before: `X-RateLimit-Limit`, `-Remaining` and
/// `-Reset`, the latter in seconds from now.
pub(crate) fn add_common(fields: &mut HeaderMap, policy: Policy<'_>, standing: Standing) {
    let number = |number: u64| written(|text| write!(text, "{number}"));
    fields.insert(X_LIMIT, number(policy.window().0));
    fields.insert(X_REMAINING, number(standing.available.into()));
    fields.insert(X_RESET, number(seconds(standing.within)));
}

/// Rounded up, never 0.
fn seconds(nanos: u64) -> u64 {
    nanos.div_ceil(SECOND).max(1)
}

/// A value that shares its memory with others: one allocation for many.
fn written(write: impl FnOnce(&mut BytesMut) -> std::fmt::Result) -> HeaderValue {
    let text = |space: &RefCell<BytesMut>| -> Bytes {
        let mut space = space.borrow_mut();
        // As soon as all values of the old space are gone, it is used again.
        space.reserve(SPACE / 4);
        let written = write(&mut space);
        written.map(|()| space.split().freeze()).unwrap_or_default()
    };
    // A thread that ends tells nothing more.
    let text = SHARED.try_with(text).unwrap_or_default();
    HeaderValue::from_maybe_shared(text).unwrap_or(HeaderValue::from_static(""))
}

thread_local! {
    static SHARED: RefCell<BytesMut> = RefCell::new(BytesMut::with_capacity(SPACE));
}

/// A response that lasts keeps so many bytes.
const SPACE: usize = 2_048;
/// The greatest integer of a structured field.
const MOST: u64 = 999_999_999_999_999;
const POLICY: HeaderName = HeaderName::from_static("ratelimit-policy");
const LIMIT: HeaderName = HeaderName::from_static("ratelimit");
const X_LIMIT: HeaderName = HeaderName::from_static("x-ratelimit-limit");
const X_REMAINING: HeaderName = HeaderName::from_static("x-ratelimit-remaining");
const X_RESET: HeaderName = HeaderName::from_static("x-ratelimit-reset");

#[cfg(test)]
mod tests {
    use sfv::{FieldType, List, Parser};

    use super::*;

    fn fields(policies: &[Policy<'_>], standing: Standing) -> HeaderMap {
        let mut fields = HeaderMap::new();
        add(&mut fields, policies.iter().copied(), (policies[0].name, standing));
        add_common(&mut fields, policies[0], standing);
        fields
    }

    #[test]
    fn fields_are_lists_as_the_draft_has_them() {
        let client = Policy { name: "per client", permits: 100, nanos: SECOND };
        let slow = Policy { name: "100/1.5s", permits: 100, nanos: SECOND * 3 / 2 };
        let fast = Policy { name: "fast", permits: 1, nanos: 1_000 };
        let day = Policy { name: "day", permits: 1_000, nanos: 86_400 * SECOND };
        let standing = Standing { available: 7, owed: 0, within: SECOND + 1 };
        let fields = fields(&[client, slow, fast, day], standing);
        let expected = concat!(
            r#""per client";q=100;w=1, "100/1.5s";q=133;w=2, "#,
            r#""fast";q=1000000;w=1, "day";q=1000;w=86400"#
        );
        assert_eq!(fields["ratelimit-policy"], expected);
        assert_eq!(fields["ratelimit"], r#""per client";r=7;t=2"#);
        for (name, value) in [("limit", "100"), ("remaining", "7"), ("reset", "2")] {
            assert_eq!(fields[format!("x-ratelimit-{name}")], value);
        }
        for name in ["ratelimit", "ratelimit-policy"] {
            let value = fields[name].as_bytes();
            let list: List = Parser::new(value).parse().unwrap();
            assert_eq!(list.serialize().unwrap().as_bytes(), value);
        }
    }

    #[test]
    fn what_others_said_before_stays() {
        let policy = Policy { name: "ours", permits: 1, nanos: SECOND };
        let standing = Standing { available: 0, owed: 0, within: 0 };
        let mut fields = HeaderMap::new();
        fields.insert("ratelimit", HeaderValue::from_static("\"theirs\";r=1"));
        add(&mut fields, [policy].into_iter(), ("ours", standing));
        let all: Vec<_> = fields.get_all("ratelimit").iter().collect();
        assert_eq!(all, ["\"theirs\";r=1", "\"ours\";r=0;t=1"]);
    }
}
