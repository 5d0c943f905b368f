//! WebSockets between HTTP/1.1, where a connection is upgraded (RFC 6455), and
//! HTTP/2, where a stream is (RFC 8441).

use http::header::{CONNECTION, SEC_WEBSOCKET_ACCEPT, SEC_WEBSOCKET_KEY, UPGRADE};
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, Response, StatusCode, Version};
use hyper::ext::Protocol;
use tower_edge::core::Problem;
use tungstenite::handshake::client::generate_key;
use tungstenite::handshake::derive_accept_key;

use crate::fields::lists;

/// How the client's side of a tunnel and the origin's one are opened.
#[derive(Debug, PartialEq)]
pub(crate) enum Opening {
    /// Both upgrade a connection, to whatever the two of them agree on.
    Connections,
    /// Both open a stream.
    Streams,
    /// The client opened a stream; the origin accepts the upgrade with this value.
    StreamToConnection(String),
    /// The client upgrades a connection; it is to be told this value.
    ConnectionToStream(String),
}

impl Opening {
    /// Makes the request for the origin of the client's one, if it asks for a
    /// tunnel.
    pub(crate) fn ask<B>(
        request: &mut Request<B>,
        origin: Version,
    ) -> Result<Option<Self>, Problem> {
        let (upgrades, streams) =
            (request.headers().contains_key(UPGRADE), origin == Version::HTTP_2);
        if request.method() == Method::CONNECT {
            let protocol = request.extensions().get::<Protocol>();
            return match protocol.is_some_and(|p| p.as_ref().eq_ignore_ascii_case(WEBSOCKET)) {
                true if streams => Ok(Some(Self::Streams)),
                true => Ok(Some(stream_to_connection(request))),
                false => Err(NO_TUNNEL),
            };
        }
        match upgrades && lists(request.headers(), UPGRADE, "websocket") {
            true if streams => connection_to_stream(request).map(Some),
            // Over a stream, a server just goes on without a change of protocol.
            _ => Ok((upgrades && !streams).then_some(Self::Connections)),
        }
    }

    /// Makes the response for the client of the origin's one; says whether both
    /// sides are open now.
    pub(crate) fn answer<B>(&self, response: &mut Response<B>) -> Result<bool, Problem> {
        let status = response.status();
        let switches = status == StatusCode::SWITCHING_PROTOCOLS;
        let fields = response.headers_mut();
        match self {
            Self::Connections => Ok(switches),
            Self::StreamToConnection(accept) if switches => {
                let accepts = fields.get(SEC_WEBSOCKET_ACCEPT).is_some_and(|said| said == accept)
                    && lists(fields, UPGRADE, "websocket");
                if !accepts {
                    return Err(BAD_HANDSHAKE);
                }
                for name in [CONNECTION, UPGRADE, SEC_WEBSOCKET_ACCEPT] {
                    fields.remove(name);
                }
                *response.status_mut() = StatusCode::OK;
                Ok(true)
            }
            Self::Streams if status == StatusCode::OK => Ok(true),
            Self::ConnectionToStream(accept) if status == StatusCode::OK => {
                upgrade(fields, SEC_WEBSOCKET_ACCEPT, accept);
                *response.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
                Ok(true)
            }
            // It did not understand, but a client would take it for a yes.
            _ if switches || status.is_success() => Err(BAD_HANDSHAKE),
            _ => Ok(false),
        }
    }
}

fn stream_to_connection<B>(request: &mut Request<B>) -> Opening {
    let key = generate_key();
    *request.method_mut() = Method::GET;
    request.extensions_mut().remove::<Protocol>();
    upgrade(request.headers_mut(), SEC_WEBSOCKET_KEY, &key);
    Opening::StreamToConnection(derive_accept_key(key.as_bytes()))
}

fn connection_to_stream<B>(request: &mut Request<B>) -> Result<Opening, Problem> {
    let key = request.headers_mut().remove(SEC_WEBSOCKET_KEY).filter(is_key);
    let key = key.filter(|_| *request.method() == Method::GET).ok_or(NO_KEY)?;
    *request.method_mut() = Method::CONNECT;
    request.extensions_mut().insert(Protocol::from_static("websocket"));
    Ok(Opening::ConnectionToStream(derive_accept_key(key.as_bytes())))
}

/// 16 bytes in base64.
fn is_key(key: &HeaderValue) -> bool {
    let digit = |c: &u8| c.is_ascii_alphanumeric() || b"+/".contains(c);
    let digits = key.as_bytes().strip_suffix(b"==");
    digits.is_some_and(|digits| digits.len() == 22 && digits.iter().all(digit))
}

fn upgrade(fields: &mut HeaderMap, name: HeaderName, value: &str) {
    fields.insert(CONNECTION, HeaderValue::from_static("upgrade"));
    fields.insert(UPGRADE, HeaderValue::from_static("websocket"));
    if let Ok(value) = HeaderValue::from_str(value) {
        fields.insert(name, value);
    }
}

const WEBSOCKET: &[u8] = b"websocket";
const NO_TUNNEL: Problem =
    Problem::new(StatusCode::NOT_IMPLEMENTED, 12, "this gateway opens no tunnels but WebSockets");
const NO_KEY: Problem =
    Problem::new(StatusCode::BAD_REQUEST, 3, "a WebSocket is opened by GET and with a key");
const BAD_HANDSHAKE: Problem =
    Problem::new(StatusCode::BAD_GATEWAY, 14, "the origin did not open a WebSocket");

#[cfg(test)]
mod tests {
    use super::*;

    const KEY: &str = "dGhlIHNhbXBsZSBub25jZQ==";
    const ACCEPT: &str = "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=";

    fn upgrading(method: Method, protocol: &str, key: &str) -> Request<()> {
        let request = Request::builder().method(method).header("upgrade", protocol);
        request.header("sec-websocket-key", key).body(()).unwrap()
    }

    fn connecting(protocol: Option<&'static str>) -> Request<()> {
        let mut request = Request::connect("http://h/chat").body(()).unwrap();
        if let Some(protocol) = protocol {
            request.extensions_mut().insert(Protocol::from_static(protocol));
        }
        request
    }

    fn answered(
        opening: &Opening,
        status: u16,
        fields: &[(&'static str, &str)],
    ) -> (u16, HeaderMap) {
        let mut response = Response::builder().status(status).body(()).unwrap();
        for (name, value) in fields {
            response.headers_mut().insert(*name, value.parse().unwrap());
        }
        match opening.answer(&mut response) {
            Ok(_) => (response.status().as_u16(), response.headers().clone()),
            Err(_) => (502, HeaderMap::new()),
        }
    }

    #[test]
    fn what_is_no_websocket_is_no_tunnel_over_http_2() {
        for (protocol, origin) in [
            (None, Version::HTTP_11),
            (None, Version::HTTP_2),
            (Some("connect-udp"), Version::HTTP_11),
            (Some("webtransport"), Version::HTTP_2),
        ] {
            let refused = Opening::ask(&mut connecting(protocol), origin);
            assert!(refused.is_err(), "{protocol:?}");
        }
        let mut other = upgrading(Method::GET, "irc/6.9", KEY);
        assert_eq!(Opening::ask(&mut other, Version::HTTP_2).unwrap(), None);
        let other = Opening::ask(&mut other, Version::HTTP_11).unwrap();
        assert_eq!(other, Some(Opening::Connections));
    }

    #[test]
    fn an_upgrade_becomes_a_stream_if_it_has_a_key() {
        let mut request = upgrading(Method::GET, "WebSocket", KEY);
        let opening = Opening::ask(&mut request, Version::HTTP_2).unwrap().unwrap();
        assert_eq!(opening, Opening::ConnectionToStream(ACCEPT.into()));
        assert_eq!(request.method(), Method::CONNECT);
        assert!(!request.headers().contains_key("sec-websocket-key"));
        let (status, fields) = answered(&opening, 200, &[("sec-websocket-protocol", "chat")]);
        assert_eq!(status, 101);
        for (name, value) in [
            ("connection", "upgrade"),
            ("upgrade", "websocket"),
            ("sec-websocket-accept", ACCEPT),
            ("sec-websocket-protocol", "chat"),
        ] {
            assert_eq!(fields[name], value);
        }
        assert_eq!(answered(&opening, 204, &[]).0, 502);
        assert_eq!(answered(&opening, 403, &[]).0, 403);
        for (method, key) in [(Method::POST, KEY), (Method::GET, "short=="), (Method::GET, "")] {
            assert!(
                Opening::ask(&mut upgrading(method, "websocket", key), Version::HTTP_2).is_err()
            );
        }
    }

    #[test]
    fn a_stream_becomes_an_upgrade_with_a_key_of_its_own() {
        let mut request = connecting(Some("websocket"));
        let opening = Opening::ask(&mut request, Version::HTTP_11).unwrap().unwrap();
        let fields = request.headers();
        assert_eq!(
            (request.method(), &fields["upgrade"]),
            (&Method::GET, &"websocket".parse().unwrap())
        );
        let accept = derive_accept_key(fields["sec-websocket-key"].as_bytes());
        assert_eq!(opening, Opening::StreamToConnection(accept.clone()));
        let upgrade = ("upgrade", "websocket");
        let (status, fields) =
            answered(&opening, 101, &[upgrade, ("sec-websocket-accept", &accept)]);
        assert_eq!((status, fields.len()), (200, 0));
        for (status, fields, seen) in [
            (101, &[upgrade, ("sec-websocket-accept", ACCEPT)][..], 502),
            (101, &[("upgrade", "irc"), ("sec-websocket-accept", &accept)], 502),
            (101, &[upgrade], 502),
            (200, &[], 502),
            (206, &[], 502),
            (302, &[], 302),
            (426, &[], 426),
        ] {
            assert_eq!(answered(&opening, status, fields).0, seen, "{status} {fields:?}");
        }
    }

    #[test]
    fn two_streams_are_joined_as_they_are() {
        let mut request = connecting(Some("websocket"));
        let opening = Opening::ask(&mut request, Version::HTTP_2).unwrap().unwrap();
        assert_eq!(opening, Opening::Streams);
        assert!(request.extensions().get::<Protocol>().is_some());
        for (status, seen) in [(200, 200), (201, 502), (101, 502), (404, 404)] {
            assert_eq!(answered(&opening, status, &[]).0, seen);
        }
    }
}
