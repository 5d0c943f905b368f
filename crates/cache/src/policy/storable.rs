use std::time::{Duration, SystemTime};

use http::header::{AUTHORIZATION, DATE, ETAG, LAST_MODIFIED, SET_COOKIE, VARY};
use http::{HeaderMap, HeaderName, StatusCode};

use super::freshness::{date, is_heuristically_cacheable};
use super::{Exchange, Freshness, RequestDirectives, ResponseDirectives, Rules};

/// A response that could be stored.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Candidate<'a> {
    /// The fields of the request.
    pub(crate) request: &'a HeaderMap,
    /// How long it is fresh if its origin says nothing.
    pub(crate) default_ttl: Option<Duration>,
    pub(crate) status: StatusCode,
    pub(crate) headers: &'a HeaderMap,
    pub(crate) exchange: Exchange,
}

/// What a cache keeps in mind of a response that it may store.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Kept {
    pub(crate) freshness: Freshness,
    /// By its `Date`: the latest of several that a request selects is used (§4).
    pub(crate) generated: SystemTime,
    /// `no-cache`: never reused without validation.
    pub(crate) no_cache: bool,
    /// While it is fresh it does not change, whatever a client believes
    /// (RFC 8246).
    pub(crate) immutable: bool,
    pub(crate) stale: Stale,
}

/// How long after its freshness a response may still be reused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Stale {
    /// Whether nobody but the origin may allow it, who has not (§4.2.4).
    pub(crate) forbidden: bool,
    pub(crate) while_revalidate: Duration,
    pub(crate) if_error: Duration,
}

/// Why a response may not be stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Unstorable {
    Status,
    /// `no-store` of the response.
    NoStore,
    /// `no-store` of the request.
    Unwanted,
    Private,
    Authorization,
    /// The origin may have answered to another method.
    MethodOverride,
    SetCookie,
    VaryAny,
    /// Neither fresh for a time nor ever to be validated: storing it is no use.
    Useless,
}

impl Unstorable {
    /// Whether it is for who asked that a response may not be stored: others may
    /// leave it behind.
    pub(crate) fn concerns_one_client(self) -> bool {
        use Unstorable::{Authorization, MethodOverride, SetCookie, Unwanted};
        matches!(self, Authorization | MethodOverride | SetCookie | Unwanted)
    }
}

/// Whether the response to a request may be for others as well, as far as the
/// request tells.
pub(crate) fn is_for_others(request: &HeaderMap) -> bool {
    let kept_apart = OVERRIDES.iter().any(|name| request.contains_key(name));
    !kept_apart && !request.contains_key(AUTHORIZATION) && !RequestDirectives::of(request).no_store
}

/// Decides whether a response may be stored by a shared cache (RFC 9111 §3). A
/// part (206) is to be shown as the 200 that it is a part of.
///
/// Beside what is to be kept in mind it gives the names of the fields that must
/// not be stored.
pub(crate) fn storable(
    rules: &Rules,
    candidate: &Candidate<'_>,
) -> Result<(Kept, Vec<HeaderName>), Unstorable> {
    let &Candidate { request, default_ttl, status, headers, ref exchange } = candidate;
    let directives = rules.directives(headers);
    let understood = status.canonical_reason().is_some();
    if !is_complete(status) || (directives.must_understand && !understood) {
        return Err(Unstorable::Status);
    }
    // §5.2.2.3: who understands is meant to ignore the no-store beside it.
    if directives.no_store && !directives.must_understand {
        return Err(Unstorable::NoStore);
    }
    if RequestDirectives::of(request).no_store {
        return Err(Unstorable::Unwanted);
    }
    if directives.private {
        return Err(Unstorable::Private);
    }
    if request.contains_key(AUTHORIZATION) && !is_shared_explicitly(&directives) {
        return Err(Unstorable::Authorization);
    }
    if OVERRIDES.iter().any(|name| request.contains_key(name)) {
        return Err(Unstorable::MethodOverride);
    }
    if varies_on_anything(headers) {
        return Err(Unstorable::VaryAny);
    }
    let explicit = directives.public || directives.states_lifetime();
    if headers.contains_key(SET_COOKIE) && !rules.set_cookie.permits(explicit) {
        return Err(Unstorable::SetCookie);
    }
    let freshness = Freshness::of(status, headers, &directives, default_ttl, exchange);
    let fresh = freshness.lifetime() > freshness.age(exchange.responded) && !directives.no_cache;
    let permitted = explicit || is_heuristically_cacheable(status);
    if !permitted || !(fresh || (status == StatusCode::OK && has_validator(headers))) {
        return Err(Unstorable::Useless);
    }
    let stale = stale(rules, &directives);
    let generated = date(headers, DATE).unwrap_or(exchange.wall);
    let ResponseDirectives { no_cache, immutable, .. } = directives;
    let kept = Kept { freshness, generated, no_cache, immutable, stale };
    Ok((kept, directives.excluded))
}

/// `s-maxage` forbids stale responses as `proxy-revalidate` does (§5.2.2.10),
/// but an origin that sends it with one of RFC 5861's windows means the window.
fn stale(rules: &Rules, directives: &ResponseDirectives) -> Stale {
    let never = directives.no_cache || directives.must_revalidate || directives.proxy_revalidate;
    let window = |stated: Option<Duration>, default: Duration| match stated {
        _ if never => Duration::ZERO,
        Some(stated) => stated,
        None if directives.s_maxage.is_some() => Duration::ZERO,
        None => default,
    };
    Stale {
        forbidden: never || directives.s_maxage.is_some(),
        while_revalidate: window(directives.stale_while_revalidate, rules.stale_while_revalidate),
        if_error: window(directives.stale_if_error, rules.stale_if_error),
    }
}

/// Final statuses, except those that are part of something else.
fn is_complete(status: StatusCode) -> bool {
    let part = matches!(status, StatusCode::PARTIAL_CONTENT | StatusCode::NOT_MODIFIED);
    !status.is_informational() && !part
}

/// RFC 9111 §3.5.
fn is_shared_explicitly(directives: &ResponseDirectives) -> bool {
    directives.public || directives.must_revalidate || directives.s_maxage.is_some()
}

fn varies_on_anything(headers: &HeaderMap) -> bool {
    let mut lines = headers.get_all(VARY).iter();
    lines.any(|line| line.as_bytes().split(|&c| c == b',').any(|name| name.trim_ascii() == b"*"))
}

fn has_validator(headers: &HeaderMap) -> bool {
    headers.contains_key(ETAG) || date(headers, LAST_MODIFIED).is_some()
}

/// By these some origins take another method than the request has.
const OVERRIDES: [HeaderName; 3] = [
    HeaderName::from_static("x-http-method-override"),
    HeaderName::from_static("x-http-method"),
    HeaderName::from_static("x-method-override"),
];

#[cfg(test)]
#[expect(clippy::disallowed_methods, reason = "an instant to count from")]
mod tests {
    use std::time::Instant;

    use super::*;
    use crate::policy::SetCookie;

    fn map(fields: &[(&str, &str)]) -> HeaderMap {
        fields.iter().map(|(name, value)| (name.parse().unwrap(), value.parse().unwrap())).collect()
    }

    fn judged(
        rules: &Rules,
        request: &[(&str, &str)],
        status: u16,
        response: &[(&str, &str)],
    ) -> Result<(Kept, Vec<HeaderName>), Unstorable> {
        let now = Instant::now();
        let candidate = Candidate {
            request: &map(request),
            default_ttl: None,
            status: StatusCode::from_u16(status).unwrap(),
            headers: &map(response),
            exchange: Exchange { requested: now, responded: now, wall: SystemTime::UNIX_EPOCH },
        };
        storable(rules, &candidate)
    }

    fn decided(
        request: &[(&str, &str)],
        status: u16,
        response: &[(&str, &str)],
    ) -> Option<Unstorable> {
        judged(&Rules::default(), request, status, response).err()
    }

    #[test]
    fn a_shared_cache_stores_what_rfc_9111_section_3_permits() {
        const FRESH: (&str, &str) = ("cache-control", "max-age=60");
        const TOKEN: &[(&str, &str)] = &[("authorization", "Bearer x")];
        for (request, status, response, why) in [
            (&[][..], 200, &[FRESH][..], None),
            (&[], 200, &[("cache-control", "max-age=60, no-store")], Some(Unstorable::NoStore)),
            (&[("cache-control", "no-store")], 200, &[FRESH], Some(Unstorable::Unwanted)),
            (&[], 200, &[FRESH, ("cache-control", "private")], Some(Unstorable::Private)),
            (&[], 200, &[FRESH, ("cache-control", "private=\"x\"")], None),
            (&[], 200, &[("cache-control", "max-age=60, no-store, must-understand")], None),
            (
                &[],
                599,
                &[("cache-control", "max-age=60, must-understand")],
                Some(Unstorable::Status),
            ),
            (TOKEN, 200, &[FRESH], Some(Unstorable::Authorization)),
            (TOKEN, 200, &[("cache-control", "public, max-age=60")], None),
            (TOKEN, 200, &[("cache-control", "s-maxage=60")], None),
            (TOKEN, 200, &[("cache-control", "must-revalidate, max-age=60")], None),
            (&[], 200, &[FRESH, ("set-cookie", "a=b")], Some(Unstorable::SetCookie)),
            (&[], 200, &[FRESH, ("vary", "accept, *")], Some(Unstorable::VaryAny)),
            (&[], 206, &[FRESH], Some(Unstorable::Status)),
            (&[], 304, &[FRESH], Some(Unstorable::Status)),
            (&[], 429, &[FRESH], None),
            (&[], 429, &[], Some(Unstorable::Useless)),
            (&[], 503, &[FRESH], None),
            (&[], 599, &[FRESH], None),
            (&[], 404, &[FRESH], None),
            (&[], 200, &[], Some(Unstorable::Useless)),
            (&[], 200, &[("cache-control", "max-age=0")], Some(Unstorable::Useless)),
            (
                &[],
                200,
                &[("cache-control", "max-age=60"), ("age", "60")],
                Some(Unstorable::Useless),
            ),
            (&[], 200, &[("cache-control", "no-cache")], Some(Unstorable::Useless)),
            (&[], 200, &[("cache-control", "no-cache"), ("etag", "\"a\"")], None),
            (&[], 200, &[("etag", "W/\"a\"")], None),
            (&[], 500, &[("etag", "\"a\"")], Some(Unstorable::Useless)),
            (
                &[],
                404,
                &[("cache-control", "max-age=0"), ("etag", "\"a\"")],
                Some(Unstorable::Useless),
            ),
        ] {
            assert_eq!(
                decided(request, status, response),
                why,
                "{request:?} {status} {response:?}"
            );
        }
    }

    #[test]
    fn cookies_are_treated_as_the_operator_says() {
        let fresh = [("cache-control", "max-age=60"), ("set-cookie", "a=b")];
        let guessed = [("etag", "\"a\""), ("set-cookie", "a=b")];
        for (set_cookie, response, stored, excluded) in [
            (SetCookie::Never, &fresh, false, &[][..]),
            (SetCookie::Strip, &fresh, true, &["set-cookie"]),
            (SetCookie::Strip, &guessed, true, &["set-cookie"]),
            (SetCookie::Rfc, &fresh, true, &[]),
            (SetCookie::Rfc, &guessed, false, &[]),
        ] {
            let rules = Rules { set_cookie, ..Rules::default() };
            let judged = judged(&rules, &[], 200, response);
            assert_eq!(judged.is_ok(), stored, "{set_cookie:?} {response:?}");
            assert_eq!(judged.map(|(_, names)| names).unwrap_or_default(), excluded);
        }
    }

    #[test]
    fn a_targeted_field_replaces_cache_control_and_expires() {
        let targets = vec![HeaderName::from_static("cdn-cache-control")];
        let rules = Rules { targets, ..Rules::default() };
        let lifetime = |response: &[(&str, &str)]| {
            judged(&rules, &[], 200, response).map(|(kept, _)| kept.freshness.lifetime().as_secs())
        };
        let private = ("cache-control", "private, max-age=5");
        assert_eq!(lifetime(&[private, ("cdn-cache-control", "max-age=9")]), Ok(9));
        assert_eq!(
            lifetime(&[private, ("cdn-cache-control", "max-age=")]),
            Err(Unstorable::Private)
        );
        let expired = ("expires", "0");
        let silent = [expired, ("cdn-cache-control", "public"), ("etag", "\"a\"")];
        assert_eq!(lifetime(&silent), Ok(0));
        let none = [("cache-control", "max-age=5"), ("cdn-cache-control", "no-store")];
        assert_eq!(lifetime(&none), Err(Unstorable::NoStore));
    }

    #[test]
    fn stale_windows_are_stated_or_set_or_forbidden() {
        let seconds = Duration::from_secs;
        let rules = Rules {
            stale_while_revalidate: seconds(1),
            stale_if_error: seconds(2),
            ..Rules::default()
        };
        for (line, forbidden, while_revalidate, if_error) in [
            ("max-age=9", false, 1, 2),
            ("max-age=9, stale-while-revalidate=5, stale-if-error=6", false, 5, 6),
            ("max-age=9, stale-if-error=0", false, 1, 0),
            ("s-maxage=9", true, 0, 0),
            ("s-maxage=9, stale-while-revalidate=5", true, 5, 0),
            ("max-age=9, must-revalidate, stale-if-error=6", true, 0, 0),
            ("max-age=9, proxy-revalidate, stale-if-error=6", true, 0, 0),
        ] {
            let (kept, _) = judged(&rules, &[], 200, &[("cache-control", line)]).unwrap();
            let (while_revalidate, if_error) = (seconds(while_revalidate), seconds(if_error));
            assert_eq!(kept.stale, Stale { forbidden, while_revalidate, if_error }, "{line}");
        }
    }
}
