//! The header fields that a proxy takes away, sets and adds (RFC 9110 §7.6).
//!
//! Requests are cleaned before the layers see them: a cache must know a request
//! as the origin will, or `Connection: accept-language` would store the answer
//! to one language under the name of another.

use std::sync::Arc;

use http::header::{
    CONNECTION, CONTENT_LENGTH, COOKIE, EXPECT, HOST, MAX_FORWARDS, PROXY_AUTHENTICATE,
    PROXY_AUTHORIZATION, TE, TRANSFER_ENCODING, UPGRADE, VIA,
};
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, StatusCode, Version};

use crate::forwarding::Forwarding;

/// Makes the fields of a request those that the origin shall get; what is to be
/// removed from the trailers is noted in an extension, [`Hops`].
///
/// `Host` stays the client's, so that the links and cookies that the origin
/// makes hold for the client, and the cache's key names what the origin was
/// asked for.
pub(crate) fn clean_request<B>(mut request: Request<B>, forwarding: &Forwarding) -> Request<B> {
    let version = request.version();
    let fields = request.headers_mut();
    let trailers = lists(fields, TE, "trailers");
    let upgrade = upgrade(fields, version);

    if fields.contains_key(TRANSFER_ENCODING) {
        fields.remove(CONTENT_LENGTH);
    }
    if version < Version::HTTP_11 {
        fields.remove(EXPECT);
    }
    let hops = remove_hop_by_hop(fields);
    join_cookies(fields);

    if let Some(protocol) = upgrade {
        fields.insert(CONNECTION, HeaderValue::from_static("upgrade"));
        fields.insert(UPGRADE, protocol);
    } else if trailers {
        fields.insert(CONNECTION, HeaderValue::from_static("te"));
        fields.insert(TE, HeaderValue::from_static("trailers"));
    }
    fields.append(VIA, via(version));
    if !hops.0.is_empty() {
        request.extensions_mut().insert(hops);
    }
    forwarding.note(&mut request);
    request
}

/// Makes the fields of a response those that the client shall get; gives what is
/// to be removed from the trailers.
///
/// A `101` keeps its `Upgrade`. `Trailer` stays as well: it announces fields
/// that travel from end to end, and HTTP/1.1 sends only those it names.
pub(crate) fn clean_response(status: StatusCode, version: Version, fields: &mut HeaderMap) -> Hops {
    let protocol = fields.get(UPGRADE).cloned();
    let protocol = protocol.filter(|_| status == StatusCode::SWITCHING_PROTOCOLS);
    if fields.contains_key(TRANSFER_ENCODING) {
        fields.remove(CONTENT_LENGTH);
    }
    let hops = remove_hop_by_hop(fields);
    if let Some(protocol) = protocol {
        fields.insert(CONNECTION, HeaderValue::from_static("upgrade"));
        fields.insert(UPGRADE, protocol);
    }
    fields.append(VIA, via(version));
    hops
}

/// What the `Connection` of a message names.
#[derive(Clone, Debug, Default)]
pub(crate) struct Hops(Arc<[HeaderName]>);

impl Hops {
    /// Removes what is for one connection only.
    pub(crate) fn remove_from(&self, fields: &mut HeaderMap) {
        for name in self.0.iter().chain(&HOP_BY_HOP) {
            fields.remove(name);
        }
    }
}

/// Leaves out what HTTP/2 says in other ways (RFC 9113 §8.2.2, §8.3.1).
pub(crate) fn for_http2(fields: &mut HeaderMap) {
    for name in [CONNECTION, UPGRADE, HOST] {
        fields.remove(name);
    }
}

/// How many times OPTIONS and TRACE may still be forwarded, where they say so
/// (RFC 9110 §7.6.2).
pub(crate) fn hops_left(method: &Method, fields: &HeaderMap) -> Option<u64> {
    let limited = [Method::OPTIONS, Method::TRACE].contains(method);
    let left = fields.get(MAX_FORWARDS).filter(|_| limited)?;
    left.to_str().ok()?.parse().ok()
}

/// Whether a request came through here so often that it will not stop: the
/// origin sends it back. A few gateways may well stand in a row.
pub(crate) fn is_loop(fields: &HeaderMap) -> bool {
    members(fields, VIA).filter(|by| by.ends_with(" tower-edge")).count() > ROUNDS
}

/// Whether the client waits to be asked for the body.
pub(crate) fn expects_continue(fields: &HeaderMap) -> bool {
    lists(fields, EXPECT, "100-continue")
}

/// The protocol that an HTTP/1.1 client wants to change to; never `h2c`, whose
/// requests would bypass every layer.
fn upgrade(fields: &HeaderMap, version: Version) -> Option<HeaderValue> {
    let wanted = version == Version::HTTP_11 && lists(fields, CONNECTION, "upgrade");
    let safe = wanted && !lists(fields, UPGRADE, "h2c");
    fields.get(UPGRADE).filter(|_| safe).cloned()
}

/// Removes the fields that are for one connection only (RFC 9110 §7.6.1), and
/// those that `Connection` names.
fn remove_hop_by_hop(fields: &mut HeaderMap) -> Hops {
    let named = members(fields, CONNECTION)
        .filter_map(|name| HeaderName::from_bytes(name.as_bytes()).ok())
        .filter(|name| ![CONTENT_LENGTH, HOST].contains(name) && !HOP_BY_HOP.contains(name));
    let hops = Hops(named.collect());
    hops.remove_from(fields);
    hops
}

/// HTTP/2 may send the cookies apart, HTTP/1.1 must not (RFC 9113 §8.2.3).
fn join_cookies(fields: &mut HeaderMap) {
    let cookies: Vec<&[u8]> = fields.get_all(COOKIE).iter().map(HeaderValue::as_bytes).collect();
    if cookies.len() > 1
        && let Ok(joined) = HeaderValue::from_bytes(&cookies.join(&b"; "[..]))
    {
        fields.insert(COOKIE, joined);
    }
}

/// The protocol that the message came in by, and who passes it on.
fn via(received: Version) -> HeaderValue {
    HeaderValue::from_static(match received {
        Version::HTTP_10 => "1.0 tower-edge",
        Version::HTTP_2 => "2 tower-edge",
        _ => "1.1 tower-edge",
    })
}

pub(crate) fn lists(fields: &HeaderMap, name: HeaderName, wanted: &str) -> bool {
    members(fields, name).any(|member| member.eq_ignore_ascii_case(wanted))
}

fn members(fields: &HeaderMap, name: HeaderName) -> impl Iterator<Item = &str> {
    let lines = fields.get_all(name).into_iter().filter_map(|line| line.to_str().ok());
    lines.flat_map(|line| line.split(',')).map(str::trim)
}

const ROUNDS: usize = 16;
const HOP_BY_HOP: [HeaderName; 9] = [
    CONNECTION,
    PROXY_AUTHENTICATE,
    PROXY_AUTHORIZATION,
    TE,
    TRANSFER_ENCODING,
    UPGRADE,
    HeaderName::from_static("keep-alive"),
    HeaderName::from_static("proxy-connection"),
    HeaderName::from_static("http2-settings"),
];

#[cfg(test)]
mod tests {
    use super::*;

    fn cleaned(version: Version, fields: &[(&'static str, &str)]) -> HeaderMap {
        let mut request = Request::builder().uri("/").version(version).body(()).unwrap();
        for (name, value) in fields {
            request.headers_mut().append(*name, value.parse().unwrap());
        }
        clean_request(request, &Forwarding::trusting(&[])).headers().clone()
    }

    #[test]
    fn what_the_client_calls_its_hops_cannot_take_a_body_apart() {
        let named = [
            ("connection", "content-length, host, x-a"),
            ("content-length", "3"),
            ("host", "h"),
            ("x-a", "b"),
        ];
        let fields = cleaned(Version::HTTP_11, &named);
        assert_eq!(
            (&fields["content-length"], &fields["host"]),
            (&"3".parse().unwrap(), &"h".parse().unwrap())
        );
        assert!(!fields.contains_key("x-a") && !fields.contains_key("connection"));
        let both = [("transfer-encoding", "chunked"), ("content-length", "3")];
        let fields = cleaned(Version::HTTP_11, &both);
        assert!(!fields.contains_key("content-length"));
        assert!(!fields.contains_key("transfer-encoding"));
    }

    #[test]
    fn cookies_that_came_apart_are_joined() {
        let fields = cleaned(Version::HTTP_2, &[("cookie", "a=1"), ("cookie", "b=2")]);
        assert!(fields.get_all("cookie").iter().eq(["a=1; b=2"]));
        assert_eq!(fields["via"], "2 tower-edge");
    }

    #[test]
    fn only_an_upgrade_that_is_safe_is_passed_on() {
        for (version, connection, upgrade, passed) in [
            (Version::HTTP_11, "Upgrade", "websocket", true),
            (Version::HTTP_11, "keep-alive, upgrade", "WebSocket", true),
            (Version::HTTP_11, "Upgrade", "h2c", false),
            (Version::HTTP_11, "Upgrade", "websocket, H2C", false),
            (Version::HTTP_11, "close", "websocket", false),
            (Version::HTTP_10, "Upgrade", "websocket", false),
        ] {
            let asked = [("connection", connection), ("upgrade", upgrade), ("te", "trailers")];
            let fields = cleaned(version, &asked);
            assert_eq!(fields.contains_key("upgrade"), passed, "{connection} {upgrade}");
            assert_eq!(fields["connection"], if passed { "upgrade" } else { "te" });
        }
    }

    #[test]
    fn a_response_keeps_its_upgrade_only_with_101() {
        for (status, kept) in [(101, true), (200, false), (426, false)] {
            let mut fields = HeaderMap::new();
            fields.insert("upgrade", HeaderValue::from_static("websocket"));
            fields.insert("trailer", HeaderValue::from_static("x-sum"));
            clean_response(StatusCode::from_u16(status).unwrap(), Version::HTTP_11, &mut fields);
            assert_eq!(fields.contains_key("upgrade"), kept, "{status}");
            assert!(fields.contains_key("trailer"));
        }
    }
}
