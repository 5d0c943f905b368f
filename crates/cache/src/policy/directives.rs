use std::borrow::Cow;
use std::time::Duration;

use http::header::{CACHE_CONTROL, EXPIRES, PRAGMA};
use http::{HeaderMap, HeaderName};

/// What a request asks of caches (RFC 9111 §5.2.1).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct RequestDirectives {
    pub(crate) no_store: bool,
    pub(crate) no_cache: bool,
    pub(crate) only_if_cached: bool,
    pub(crate) max_age: Option<Duration>,
    pub(crate) min_fresh: Option<Duration>,
    /// How stale a response may be; without an argument for ever.
    pub(crate) max_stale: Option<Duration>,
    /// How stale it may be if the origin fails (RFC 5861 §4).
    pub(crate) stale_if_error: Option<Duration>,
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
            b"max-age" => least(&mut all.max_age, seconds(argument)),
            b"min-fresh" => all.min_fresh = all.min_fresh.max(Some(seconds(argument))),
            b"max-stale" => {
                least(&mut all.max_stale, argument.map_or(FOREVER, |_| seconds(argument)))
            }
            b"stale-if-error" => least(&mut all.stale_if_error, seconds(argument)),
            _ => {}
        });
        all
    }
}

/// What a response permits caches (RFC 9111 §5.2.2, RFC 5861, RFC 8246).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct ResponseDirectives {
    pub(crate) no_store: bool,
    pub(crate) no_cache: bool,
    pub(crate) private: bool,
    pub(crate) public: bool,
    pub(crate) must_revalidate: bool,
    pub(crate) proxy_revalidate: bool,
    pub(crate) must_understand: bool,
    pub(crate) immutable: bool,
    pub(crate) max_age: Option<Duration>,
    pub(crate) s_maxage: Option<Duration>,
    pub(crate) stale_while_revalidate: Option<Duration>,
    pub(crate) stale_if_error: Option<Duration>,
    /// Whether `Expires` is there, and counts.
    pub(crate) expires: bool,
    /// The fields that `no-cache` and `private` name (§§5.2.2.4, 5.2.2.7): the
    /// response may be stored and reused without them.
    pub(crate) excluded: Vec<HeaderName>,
}

impl ResponseDirectives {
    pub(crate) fn of(headers: &HeaderMap) -> Self {
        let mut all = Self { expires: headers.contains_key(EXPIRES), ..Self::default() };
        each(headers, &CACHE_CONTROL, |name, argument| all.add(name, argument));
        all
    }

    /// Whether it is said for how long the response is fresh, even if for no time.
    pub(crate) fn states_lifetime(&self) -> bool {
        self.expires || self.max_age.is_some() || self.s_maxage.is_some()
    }

    pub(super) fn add(&mut self, name: &[u8], argument: Option<&[u8]>) {
        match lower(name, &mut [0; LONGEST]) {
            b"no-store" => self.no_store = true,
            b"no-cache" => self.no_cache |= !self.exclude(argument),
            b"private" => self.private |= !self.exclude(argument),
            b"public" => self.public = true,
            b"must-revalidate" => self.must_revalidate = true,
            b"proxy-revalidate" => self.proxy_revalidate = true,
            b"must-understand" => self.must_understand = true,
            b"immutable" => self.immutable = true,
            b"max-age" => state(&mut self.max_age, seconds(argument)),
            b"s-maxage" => state(&mut self.s_maxage, seconds(argument)),
            b"stale-while-revalidate" => least(&mut self.stale_while_revalidate, seconds(argument)),
            b"stale-if-error" => least(&mut self.stale_if_error, seconds(argument)),
            _ => {}
        }
    }

    /// Notes the fields that an argument names; `false` if it is none, or one
    /// that cannot be read: then the directive holds for the whole response.
    fn exclude(&mut self, argument: Option<&[u8]>) -> bool {
        let names = argument.unwrap_or_default().split(|&c| c == b',').map(<[u8]>::trim_ascii);
        let names = names.filter(|name| !name.is_empty()).map(HeaderName::from_bytes);
        match names.collect::<Result<Vec<_>, _>>() {
            Ok(names) if !names.is_empty() => {
                self.excluded.extend(names);
                true
            }
            _ => false,
        }
    }
}

/// `delta-seconds` (RFC 9111 §1.2.2): what is too large is as good as for ever;
/// `None` for what is no number.
pub(super) fn delta_seconds(digits: &[u8]) -> Option<Duration> {
    let valid = !digits.is_empty() && digits.iter().all(u8::is_ascii_digit);
    let add = |sum: u64, digit: &u8| (sum * 10 + u64::from(digit - b'0')).min(FOREVER.as_secs());
    valid.then(|| Duration::from_secs(digits.iter().fold(0, add)))
}

/// An argument in seconds; what is no number makes the response stale (§4.2.1).
fn seconds(argument: Option<&[u8]>) -> Duration {
    argument.and_then(delta_seconds).unwrap_or_default()
}

/// Limits that are set twice: the smaller one keeps both.
fn least(limit: &mut Option<Duration>, other: Duration) {
    *limit = Some(limit.map_or(other, |limit| limit.min(other)));
}

/// A lifetime that is stated twice, and differently, makes the response stale
/// (§4.2.1).
fn state(lifetime: &mut Option<Duration>, stated: Duration) {
    let agrees = lifetime.is_none_or(|lifetime| lifetime == stated);
    *lifetime = Some(if agrees { stated } else { Duration::ZERO });
}

/// Calls `f` with the name and the argument of each list member, all lines of
/// the field in order. Arguments come in token and in quoted form (§5.2).
pub(super) fn each(
    headers: &HeaderMap,
    name: &HeaderName,
    mut f: impl FnMut(&[u8], Option<&[u8]>),
) {
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
const LONGEST: usize = "stale-while-revalidate".len();

/// 2^31 seconds, the least that RFC 9111 §1.2.2 wants an overflow to become.
pub(super) const FOREVER: Duration = Duration::from_secs(1 << 31);

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
            ("max-age=99999999999999999999999", Some(1 << 31)),
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
    fn directives_have_no_case() {
        let all = response(&["No-Cache, PRIVATE, must-revalidate, public, Must-Understand"]);
        assert!(all.no_cache && all.private && all.must_revalidate && all.public);
        assert!(all.must_understand && !all.no_store && !all.proxy_revalidate);
    }

    #[test]
    fn fields_may_be_excluded_instead_of_the_whole() {
        for (line, whole, excluded) in [
            ("no-cache=\"Set-Cookie, x\"", false, &["set-cookie", "x"][..]),
            ("private=x", false, &["x"]),
            ("no-cache=\"a\", no-cache", true, &["a"]),
            ("private=\"\"", true, &[]),
            ("no-cache=\"a b\"", true, &[]),
        ] {
            let all = response(&[line]);
            assert_eq!(all.no_cache || all.private, whole, "{line}");
            assert_eq!(all.excluded, excluded, "{line}");
        }
    }

    #[test]
    fn max_stale_may_be_without_a_limit() {
        let stale = |line: &str| {
            let headers = HeaderMap::from_iter([(CACHE_CONTROL, line.parse().unwrap())]);
            RequestDirectives::of(&headers).max_stale.map(|stale| stale.as_secs())
        };
        assert_eq!(stale("max-stale"), Some(1 << 31));
        assert_eq!(stale("max-stale=5, max-stale"), Some(5));
        assert_eq!(stale("max-stale=x"), Some(0));
        assert_eq!(stale("max-age=5"), None);
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
            prop_assert_eq!(max_age(&[&format!("{before}max-age={age}")]), Some(u64::from(age).min(1 << 31)));
        }
    }
}
