use std::borrow::Cow;
use std::time::Duration;

use http::header::{CACHE_CONTROL, PRAGMA};
use http::{HeaderMap, HeaderName};

/// What a request asks of caches (RFC 9111 §5.2.1).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct RequestDirectives {
    pub(crate) no_store: bool,
    pub(crate) no_cache: bool,
    pub(crate) only_if_cached: bool,
    pub(crate) max_age: Option<Duration>,
    pub(crate) min_fresh: Option<Duration>,
}

impl RequestDirectives {
    pub(crate) fn of(headers: &HeaderMap) -> Self {
        let mut all = Self::default();
        if !headers.contains_key(CACHE_CONTROL) {
            // §5.4: Pragma counts only where Cache-Control is missing.
            each(headers, &PRAGMA, |name, _| {
                all.no_cache |= name.eq_ignore_ascii_case(b"no-cache")
            });
            return all;
        }
        each(headers, &CACHE_CONTROL, |name, argument| match lower(name, &mut [0; LONGEST]) {
            b"no-store" => all.no_store = true,
            b"no-cache" => all.no_cache = true,
            b"only-if-cached" => all.only_if_cached = true,
            b"max-age" => {
                let limit = seconds(argument);
                all.max_age = Some(all.max_age.map_or(limit, |other| other.min(limit)));
            }
            b"min-fresh" => all.min_fresh = all.min_fresh.max(Some(seconds(argument))),
            _ => {}
        });
        all
    }
}

/// What a response permits caches (RFC 9111 §5.2.2).
///
/// `no-cache` and `private` that name fields count as without them: RFC 9111
/// §§5.2.2.4 and 5.2.2.7 let a cache be that careful.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct ResponseDirectives {
    pub(crate) no_store: bool,
    pub(crate) no_cache: bool,
    pub(crate) private: bool,
    pub(crate) public: bool,
    pub(crate) must_revalidate: bool,
    pub(crate) max_age: Option<Duration>,
    pub(crate) s_maxage: Option<Duration>,
}

impl ResponseDirectives {
    pub(crate) fn of(headers: &HeaderMap) -> Self {
        let mut all = Self::default();
        each(headers, &CACHE_CONTROL, |name, argument| match lower(name, &mut [0; LONGEST]) {
            b"no-store" => all.no_store = true,
            b"no-cache" => all.no_cache = true,
            b"private" => all.private = true,
            b"public" => all.public = true,
            b"must-revalidate" => all.must_revalidate = true,
            b"max-age" => state(&mut all.max_age, seconds(argument)),
            b"s-maxage" => state(&mut all.s_maxage, seconds(argument)),
            _ => {}
        });
        all
    }
}

/// `delta-seconds` (RFC 9111 §1.2.2): what is too large is as good as for ever;
/// what is no number makes the response stale (§4.2.1).
fn seconds(argument: Option<&[u8]>) -> Duration {
    let digits = argument.unwrap_or_default();
    if digits.is_empty() || !digits.iter().all(u8::is_ascii_digit) {
        return Duration::ZERO;
    }
    let add = |sum: u64, digit: &u8| (sum * 10 + u64::from(digit - b'0')).min(FOREVER);
    Duration::from_secs(digits.iter().fold(0, add))
}

/// A lifetime that is stated twice, and differently, makes the response stale
/// (§4.2.1).
fn state(lifetime: &mut Option<Duration>, stated: Duration) {
    let agrees = lifetime.is_none_or(|lifetime| lifetime == stated);
    *lifetime = Some(if agrees { stated } else { Duration::ZERO });
}

/// Calls `f` with the name and the argument of each list member, all lines of
/// the field in order. Arguments come in token and in quoted form (§5.2).
fn each(headers: &HeaderMap, name: &HeaderName, mut f: impl FnMut(&[u8], Option<&[u8]>)) {
    for line in headers.get_all(name) {
        let mut rest = line.as_bytes();
        while !rest.is_empty() {
            let end = rest.iter().position(|c| matches!(c, b',' | b'='));
            let (directive, tail) = rest.split_at(end.unwrap_or(rest.len()));
            let directive = directive.trim_ascii();
            if let [b'=', tail @ ..] = tail {
                let (argument, tail) = argument(tail);
                f(directive, Some(&argument));
                rest = tail;
            } else {
                if !directive.is_empty() {
                    f(directive, None);
                }
                rest = tail.get(1..).unwrap_or_default();
            }
        }
    }
}

/// Splits off an argument and all up to the next comma behind it.
fn argument(text: &[u8]) -> (Cow<'_, [u8]>, &[u8]) {
    let after_comma =
        |text: &'_ [u8]| text.iter().position(|&c| c == b',').map_or(text.len(), |i| i + 1);
    let [b'"', quoted @ ..] = text.trim_ascii_start() else {
        let next = after_comma(text);
        let argument = text[..next].strip_suffix(b",").unwrap_or(&text[..next]);
        return (Cow::Borrowed(argument.trim_ascii()), &text[next..]);
    };
    let mut unquoted = Vec::new();
    let mut bytes = quoted.iter().enumerate();
    while let Some((at, &byte)) = bytes.next() {
        match byte {
            b'"' => {
                let tail = &quoted[at + 1..];
                return (Cow::Owned(unquoted), &tail[after_comma(tail)..]);
            }
            b'\\' => unquoted.extend(bytes.next().map(|(_, &escaped)| escaped)),
            _ => unquoted.push(byte),
        }
    }
    // No closing quote: the rest of the line belongs to the argument.
    (Cow::Owned(unquoted), &[])
}

fn lower<'a>(name: &[u8], buffer: &'a mut [u8; LONGEST]) -> &'a [u8] {
    let Some(copy) = buffer.get_mut(..name.len()) else { return b"" };
    copy.copy_from_slice(name);
    copy.make_ascii_lowercase();
    copy
}

/// The length of the longest directive that is known here.
const LONGEST: usize = "must-revalidate".len();

/// 2^31 seconds, the least that RFC 9111 §1.2.2 wants an overflow to become.
const FOREVER: u64 = 1 << 31;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn response(lines: &[&str]) -> ResponseDirectives {
        let lines = lines.iter().map(|line| (CACHE_CONTROL, line.parse().unwrap()));
        ResponseDirectives::of(&HeaderMap::from_iter(lines))
    }

    fn max_age(lines: &[&str]) -> Option<u64> {
        response(lines).max_age.map(|age| age.as_secs())
    }

    #[test]
    fn arguments_are_seconds() {
        for (line, seconds) in [
            ("max-age=60", Some(60)),
            ("MAX-AGE=60", Some(60)),
            ("max-age=\"60\"", Some(60)),
            ("max-age=\"6\\0\"", Some(60)),
            ("x=\"max-age=1, max-age=2\", max-age=60", Some(60)),
            (" , ,max-age=60,", Some(60)),
            ("x=\"open, max-age=60", None),
            ("max-age=00060", Some(60)),
            ("max-age=99999999999999999999999", Some(FOREVER)),
            ("max-age=-1", Some(0)),
            ("max-age=1.5", Some(0)),
            ("max-age=", Some(0)),
            ("max-age", Some(0)),
            ("max-age = 60", Some(60)),
            ("max-age=60, max-age=60", Some(60)),
            ("max-age=60, max-age=5", Some(0)),
            ("s-maxage=60", None),
            ("xmax-age=60", None),
        ] {
            assert_eq!(max_age(&[line]), seconds, "{line}");
        }
        assert_eq!(max_age(&["public", "max-age=60"]), Some(60));
    }

    #[test]
    fn directives_have_no_case_and_may_name_fields() {
        let all = response(&["No-Cache=\"set-cookie, x\", PRIVATE=\"x\", must-revalidate, public"]);
        assert!(all.no_cache && all.private && all.must_revalidate && all.public);
        assert!(!all.no_store);
    }

    #[test]
    fn pragma_counts_without_cache_control_only() {
        let mut headers = HeaderMap::from_iter([(PRAGMA, "x, No-Cache".parse().unwrap())]);
        assert!(RequestDirectives::of(&headers).no_cache);
        headers.insert(CACHE_CONTROL, "max-age=5".parse().unwrap());
        assert!(!RequestDirectives::of(&headers).no_cache);
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_without_a_panic(line in "[ -~\t]{0,80}") {
            let line = http::HeaderValue::from_str(&line).unwrap();
            let headers = HeaderMap::from_iter([(CACHE_CONTROL, line.clone()), (PRAGMA, line)]);
            RequestDirectives::of(&headers);
            ResponseDirectives::of(&headers);
        }

        #[test]
        fn a_directive_is_found_wherever_it_stands(
            before in "([a-z]{1,9}(=([0-9]{1,3}|\"[a-z,= ]{0,9}\"))?[ ]?,[ ]?){0,4}", age in 0_u32..,
        ) {
            prop_assume!(!before.contains("max-age"));
            prop_assert_eq!(max_age(&[&format!("{before}max-age={age}")]), Some(u64::from(age).min(FOREVER)));
        }
    }
}
