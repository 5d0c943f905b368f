use http::header::{CACHE_STATUS, CONTENT_TYPE};
use http::{HeaderMap, HeaderValue, Method, StatusCode};
use tower_edge_core::{Reason, Refusal, ResponseHead};

use crate::labels::Protocol;

/// What the head of a response says about who made it, and for how long.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Detail {
    /// Why one of our layers refused.
    pub(crate) refused: Option<Reason>,
    pub(crate) cache: Option<CacheUse>,
    /// Whether it lasts as long as somebody listens: an upgrade, a tunnel or a
    /// stream of events.
    pub(crate) long_lived: bool,
}

impl Detail {
    pub(crate) fn of(protocol: Protocol, response: &ResponseHead<'_>) -> Self {
        let refusal = response.extensions().get::<Refusal>();
        let mut detail = Self { refused: refusal.map(Refusal::reason), ..Self::default() };
        let status = response.status();
        detail.long_lived = status == StatusCode::SWITCHING_PROTOCOLS
            || (protocol.method() == Some(&Method::CONNECT) && status.is_success());
        if !response.headers().is_empty() {
            detail.read(response.headers());
        }
        detail
    }

    #[inline(never)]
    fn read(&mut self, fields: &HeaderMap) {
        // Once through a few fields is less than to look for two of them.
        for (name, value) in fields {
            match *name {
                // Each cache adds its member behind those of the caches before it.
                CACHE_STATUS => self.cache = CacheUse::of(value),
                CONTENT_TYPE => self.long_lived |= is_stream_of_parts(value),
                _ => {}
            }
        }
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
    fn of(value: &HeaderValue) -> Option<Self> {
        let member = value.to_str().ok()?.rsplit(',').next()?;
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

/// Whether this media type is that of parts which come as long as somebody listens.
fn is_stream_of_parts(media_type: &HeaderValue) -> bool {
    let essence = media_type.as_bytes().split(|byte| *byte == b';').next().unwrap_or_default();
    let is = |name: &str| essence.trim_ascii().eq_ignore_ascii_case(name.as_bytes());
    is("text/event-stream") || is("multipart/x-mixed-replace")
}

#[cfg(test)]
mod tests {
    use http::{Request, Response};
    use tower_edge_core::RequestHead;

    use super::*;

    fn detail(method: &str, response: http::response::Builder) -> Detail {
        let request = Request::builder().method(method).body(()).unwrap();
        let protocol = Protocol::of(&RequestHead::new(&request));
        Detail::of(protocol, &ResponseHead::new(&response.body(()).unwrap()))
    }

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
            let mut response = Response::builder();
            for value in values {
                response = response.header(CACHE_STATUS, *value);
            }
            assert_eq!(detail("GET", response).cache, found, "{values:?}");
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
            let mut response = Response::builder().status(status);
            if !media_type.is_empty() {
                response = response.header(CONTENT_TYPE, media_type);
            }
            let seen = detail(method, response).long_lived;
            assert_eq!(seen, expected, "{method} {status} {media_type}");
        }
    }
}
