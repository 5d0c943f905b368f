use http::header::{CACHE_STATUS, CONTENT_TYPE};
use http::{HeaderMap, Method, StatusCode};
use tower_edge_core::{Reason, Refusal, ResponseHead};

use crate::labels::Protocol;

/// What the head of a response says about who made it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Detail {
    /// Why one of our layers refused.
    pub(crate) refused: Option<Reason>,
    pub(crate) cache: Option<CacheUse>,
}

impl Detail {
    pub(crate) fn of(response: &ResponseHead<'_>) -> Self {
        let refusal = response.extensions().get::<Refusal>();
        Self { refused: refusal.map(Refusal::reason), cache: CacheUse::of(response.headers()) }
    }
}

/// What the nearest cache did, as it says in `Cache-Status` (RFC 9211): the one
/// way to know that does not depend on which cache it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum CacheUse {
    Hit,
    Stale,
    Revalidated,
    Miss,
    Bypass,
}

impl CacheUse {
    fn of(headers: &HeaderMap) -> Option<Self> {
        // Each cache adds its member behind those of the caches before it.
        let value = headers.get_all(CACHE_STATUS).iter().next_back()?.to_str().ok()?;
        let member = value.rsplit(',').next()?;
        let mut parameters = member.split(';').skip(1).map(str::trim);
        let (mut found, mut expired) = (None, false);
        for parameter in parameters.by_ref() {
            match parameter {
                "hit" => found = Some(Self::Hit),
                "fwd=stale" => found = Some(Self::Revalidated),
                "fwd=bypass" | "fwd=method" => found = Some(Self::Bypass),
                _ if parameter.starts_with("fwd=") => found = Some(Self::Miss),
                _ => expired |= parameter.starts_with("ttl=-"),
            }
        }
        match found {
            Some(Self::Hit) if expired => Some(Self::Stale),
            found => found,
        }
    }
}

/// Whether a response lasts as long as somebody listens: an upgrade, a tunnel or
/// a stream of events.
pub(crate) fn is_long_lived(protocol: Protocol, response: &ResponseHead<'_>) -> bool {
    let status = response.status();
    if status == StatusCode::SWITCHING_PROTOCOLS
        || (protocol.method() == Some(&Method::CONNECT) && status.is_success())
    {
        return true;
    }
    let Some(media_type) = response.headers().get(CONTENT_TYPE) else { return false };
    let essence = media_type.as_bytes().split(|byte| *byte == b';').next().unwrap_or_default();
    let is = |name: &str| essence.trim_ascii().eq_ignore_ascii_case(name.as_bytes());
    is("text/event-stream") || is("multipart/x-mixed-replace")
}

#[cfg(test)]
mod tests {
    use http::{Request, Response};
    use tower_edge_core::RequestHead;

    use super::*;

    #[test]
    fn the_nearest_cache_says_what_it_did() {
        for (values, found) in [
            (&["tower-edge; hit"][..], Some(CacheUse::Hit)),
            (&["tower-edge; hit; ttl=30"], Some(CacheUse::Hit)),
            (&["tower-edge; hit; ttl=-3"], Some(CacheUse::Stale)),
            (&["tower-edge;fwd=uri-miss;stored"], Some(CacheUse::Miss)),
            (&["tower-edge; fwd=vary-miss"], Some(CacheUse::Miss)),
            (&["tower-edge; fwd=request"], Some(CacheUse::Miss)),
            (&["tower-edge; fwd=stale; fwd-status=304"], Some(CacheUse::Revalidated)),
            (&["tower-edge; fwd=method"], Some(CacheUse::Bypass)),
            (&["far; hit", "near; fwd=miss"], Some(CacheUse::Miss)),
            (&["far; fwd=miss, near; hit"], Some(CacheUse::Hit)),
            (&["tower-edge; detail=only-if-cached"], None),
            (&["hit"], None),
            (&[""], None),
            (&[], None),
        ] {
            let mut headers = HeaderMap::new();
            for value in values {
                headers.append(CACHE_STATUS, value.parse().unwrap());
            }
            assert_eq!(CacheUse::of(&headers), found, "{values:?}");
        }
    }

    #[test]
    fn streams_of_events_upgrades_and_tunnels_are_long_lived() {
        for (method, status, media_type, expected) in [
            ("GET", 200, "text/event-stream", true),
            ("GET", 200, "Text/Event-Stream ; charset=utf-8", true),
            ("GET", 200, "multipart/x-mixed-replace;boundary=a", true),
            ("GET", 200, "text/event-streams", false),
            ("GET", 101, "", true),
            ("CONNECT", 200, "", true),
            ("CONNECT", 403, "", false),
            ("GET", 200, "", false),
        ] {
            let request = Request::builder().method(method).body(()).unwrap();
            let mut response = Response::builder().status(status).body(()).unwrap();
            if !media_type.is_empty() {
                response.headers_mut().insert(CONTENT_TYPE, media_type.parse().unwrap());
            }
            let protocol = Protocol::of(&RequestHead::new(&request));
            let seen = is_long_lived(protocol, &ResponseHead::new(&response));
            assert_eq!(seen, expected, "{method} {status} {media_type}");
        }
    }
}
