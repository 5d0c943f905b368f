use http::header::{AUTHORIZATION, ETAG, LAST_MODIFIED, SET_COOKIE, VARY};
use http::{HeaderMap, StatusCode};

use super::freshness::{date, is_heuristically_cacheable};
use super::{Exchange, Freshness, RequestDirectives, ResponseDirectives};

/// What a cache keeps in mind of a response that it may store.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Kept {
    pub(crate) freshness: Freshness,
    /// `no-cache`: never reused without validation.
    pub(crate) no_cache: bool,
}

/// Why a response may not be stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Unstorable {
    Status,
    NoStore,
    Private,
    Authorization,
    SetCookie,
    VaryAny,
    /// Neither fresh for a time nor ever to be validated: storing it is no use.
    Useless,
}

/// Decides whether a response to GET may be stored by a shared cache
/// (RFC 9111 §3).
///
/// Two things that the RFC permits are left out. Responses with `Set-Cookie`
/// are meant for one user, whatever their other fields say. Partial responses
/// (206) are passed on.
pub(crate) fn storable(
    request: &HeaderMap,
    status: StatusCode,
    headers: &HeaderMap,
    exchange: &Exchange,
) -> Result<Kept, Unstorable> {
    let directives = ResponseDirectives::of(headers);
    if !is_complete(status) {
        return Err(Unstorable::Status);
    }
    if directives.no_store || RequestDirectives::of(request).no_store {
        return Err(Unstorable::NoStore);
    }
    if directives.private {
        return Err(Unstorable::Private);
    }
    if request.contains_key(AUTHORIZATION) && !is_shared_explicitly(&directives) {
        return Err(Unstorable::Authorization);
    }
    if headers.contains_key(SET_COOKIE) {
        return Err(Unstorable::SetCookie);
    }
    if varies_on_anything(headers) {
        return Err(Unstorable::VaryAny);
    }
    let freshness = Freshness::of(status, headers, &directives, exchange);
    let fresh = freshness.lifetime() > freshness.age(exchange.responded) && !directives.no_cache;
    let explicit = directives.public
        || directives.max_age.is_some()
        || directives.s_maxage.is_some()
        || headers.contains_key(http::header::EXPIRES);
    let permitted = explicit || is_heuristically_cacheable(status);
    match permitted && (fresh || (status == StatusCode::OK && has_validator(headers))) {
        true => Ok(Kept { freshness, no_cache: directives.no_cache }),
        false => Err(Unstorable::Useless),
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

#[cfg(test)]
#[expect(clippy::disallowed_methods, reason = "an instant to count from")]
mod tests {
    use std::time::{Instant, SystemTime};

    use super::*;

    fn decided(
        request: &[(&str, &str)],
        status: u16,
        response: &[(&str, &str)],
    ) -> Option<Unstorable> {
        let map = |fields: &[(&str, &str)]| -> HeaderMap {
            fields
                .iter()
                .map(|(name, value)| (name.parse().unwrap(), value.parse().unwrap()))
                .collect()
        };
        let now = Instant::now();
        let exchange = Exchange { requested: now, responded: now, wall: SystemTime::UNIX_EPOCH };
        let status = StatusCode::from_u16(status).unwrap();
        storable(&map(request), status, &map(response), &exchange).err()
    }

    #[test]
    fn a_shared_cache_stores_what_rfc_9111_section_3_permits() {
        const FRESH: (&str, &str) = ("cache-control", "max-age=60");
        const TOKEN: &[(&str, &str)] = &[("authorization", "Bearer x")];
        for (request, status, response, why) in [
            (&[][..], 200, &[FRESH][..], None),
            (&[], 200, &[("cache-control", "max-age=60, no-store")], Some(Unstorable::NoStore)),
            (&[("cache-control", "no-store")], 200, &[FRESH], Some(Unstorable::NoStore)),
            (&[], 200, &[FRESH, ("cache-control", "private=\"x\"")], Some(Unstorable::Private)),
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
}
