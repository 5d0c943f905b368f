//! Who asked whom for what, as proxies tell the origin (RFC 7239).

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use http::header::{FORWARDED, HOST};
use http::uri::{Authority, Scheme};
use http::{HeaderMap, HeaderName, HeaderValue, Request, Uri};
use tower_edge::core::{Cidr, PeerAddr, RequestHead};

/// Writes `Host`, `Forwarded` and `X-Forwarded-*`.
///
/// What a client says of itself is replaced. A trusted proxy is believed: its
/// list is continued, and the host and scheme that it names become those of
/// the request, so that the origin and the key of the cache know the same ones.
/// Where it wrote any of `X-Forwarded-*` those are read, otherwise `Forwarded`;
/// never both, since a proxy lets pass what a client wrote into the fields that
/// it does not know. The others are written anew.
///
/// Of `X-Forwarded-*` nothing but `For`, `Host` and `Proto` is passed on: an
/// answer that depends on another one would be stored for everybody.
#[derive(Clone, Debug)]
pub(crate) struct Forwarding {
    trusted: Arc<[Cidr]>,
}

impl Forwarding {
    /// Believes the proxies in these ranges, and nobody else.
    pub(crate) fn trusting(proxies: &[Cidr]) -> Self {
        Self { trusted: proxies.into() }
    }

    /// Makes the fields of `request` say where it comes from.
    pub(crate) fn note<B>(&self, request: &mut Request<B>) {
        let peer = request.extensions().get::<PeerAddr>().map(|peer| peer.0.ip().to_canonical());
        let trusted = |peer| self.trusted.iter().any(|range| range.contains(peer));
        let said = match peer.is_some_and(trusted) {
            true => Said::by_proxy(request.headers()),
            false => Said::default(),
        };
        forget(request.headers_mut());
        if let Some(scheme) = said.scheme {
            request.extensions_mut().insert(scheme);
        }
        if let Some(host) = said.host {
            rename(request, host);
        }

        let target = RequestHead::new(request).target();
        let (scheme, authority) =
            (target.scheme().to_owned(), target.authority().map(String::from));
        let fields = request.headers_mut();
        if let Some(authority) = &authority {
            set(fields, HOST, authority.as_bytes());
            set(fields, X_FORWARDED_HOST, authority.as_bytes());
        }
        if let Some(peer) = peer {
            let element = element(peer, authority.as_deref());
            set(fields, FORWARDED, &with(said.forwarded, &element));
            set(fields, X_FORWARDED_FOR, &with(said.clients, &peer.to_string()));
        }
        set(fields, X_FORWARDED_PROTO, scheme.as_bytes());
    }
}

/// What a trusted proxy told.
#[derive(Default)]
struct Said {
    forwarded: Vec<u8>,
    clients: Vec<u8>,
    host: Option<Authority>,
    scheme: Option<Scheme>,
}

impl Said {
    fn by_proxy(fields: &HeaderMap) -> Self {
        let family = [X_FORWARDED_FOR, X_FORWARDED_HOST, X_FORWARDED_PROTO];
        match family.iter().any(|name| fields.contains_key(name)) {
            true => Self::in_x_forwarded(fields),
            false => Self::in_forwarded(fields),
        }
    }

    fn in_x_forwarded(fields: &HeaderMap) -> Self {
        let clients = list(fields, X_FORWARDED_FOR);
        let elements = members(&clients).map(|client| format!("for={}", node(address(client))));
        Self {
            forwarded: elements.collect::<Vec<_>>().join(", ").into(),
            host: host(&list(fields, X_FORWARDED_HOST)),
            scheme: scheme(&list(fields, X_FORWARDED_PROTO)),
            clients,
        }
    }

    fn in_forwarded(fields: &HeaderMap) -> Self {
        let forwarded = list(fields, FORWARDED);
        let clients = members(&forwarded).map(|element| match address(parameter(element, "for")) {
            Some(client) => client.to_string(),
            None => UNKNOWN.to_owned(),
        });
        let clients = clients.collect::<Vec<_>>().join(", ").into();
        let last = members(&forwarded).last().unwrap_or_default();
        let (host, scheme) = (host(parameter(last, "host")), scheme(parameter(last, "proto")));
        Self { clients, host, scheme, forwarded }
    }
}

fn forget(fields: &mut HeaderMap) {
    let family = fields.keys().filter(|name| name.as_str().starts_with("x-forwarded-"));
    let family: Vec<HeaderName> = family.cloned().collect();
    for name in family.iter().chain([&FORWARDED]) {
        fields.remove(name);
    }
}

/// Those that are not empty. Quotes are not minded: nothing that is read here
/// has a comma in it, and what a client sent must not swallow what follows.
fn members(list: &[u8]) -> impl Iterator<Item = &[u8]> {
    list.split(|&c| c == b',').map(<[u8]>::trim_ascii).filter(|member| !member.is_empty())
}

/// A parameter of an element, without its quotes; empty if there is none.
fn parameter<'a>(element: &'a [u8], wanted: &str) -> &'a [u8] {
    let mut pairs = element.split(|&c| c == b';').filter_map(|pair| {
        let equals = pair.iter().position(|&c| c == b'=')?;
        Some((pair[..equals].trim_ascii(), pair[equals + 1..].trim_ascii()))
    });
    let value = pairs.find(|(name, _)| name.eq_ignore_ascii_case(wanted.as_bytes()));
    let value = value.map_or(&b""[..], |(_, value)| value);
    value.strip_prefix(b"\"").and_then(|value| value.strip_suffix(b"\"")).unwrap_or(value)
}

/// With or without a port and brackets.
fn address(text: &[u8]) -> Option<IpAddr> {
    let text = str::from_utf8(text).ok()?;
    let bare = text.strip_prefix('[').and_then(|text| text.strip_suffix(']')).unwrap_or(text);
    bare.parse().ok().or_else(|| text.parse().ok().map(|socket: SocketAddr| socket.ip()))
}

fn host(text: &[u8]) -> Option<Authority> {
    let host = Authority::try_from(text).ok()?;
    (!host.host().is_empty() && !host.as_str().contains('@')).then_some(host)
}

fn scheme(text: &[u8]) -> Option<Scheme> {
    match &*text.to_ascii_lowercase() {
        b"http" => Some(Scheme::HTTP),
        b"https" => Some(Scheme::HTTPS),
        _ => None,
    }
}

/// Gives a request another authority, wherever it names one.
fn rename<B>(request: &mut Request<B>, host: Authority) {
    set(request.headers_mut(), HOST, host.as_str().as_bytes());
    let mut parts = request.uri().clone().into_parts();
    if parts.authority.replace(host).is_some()
        && let Ok(uri) = Uri::from_parts(parts)
    {
        *request.uri_mut() = uri;
    }
}

/// All lines of a list field as one.
fn list(fields: &HeaderMap, name: HeaderName) -> Vec<u8> {
    let lines: Vec<&[u8]> = fields.get_all(name).iter().map(HeaderValue::as_bytes).collect();
    lines.join(&b", "[..])
}

fn with(mut list: Vec<u8>, member: &str) -> Vec<u8> {
    if !list.is_empty() {
        list.extend(b", ");
    }
    list.extend(member.as_bytes());
    list
}

fn set(fields: &mut HeaderMap, name: HeaderName, value: &[u8]) {
    if let Ok(value) = HeaderValue::from_bytes(value) {
        fields.insert(name, value);
    }
}

/// What this proxy saw, as RFC 7239 §4 writes it.
fn element(peer: IpAddr, host: Option<&str>) -> String {
    let host = host.map(|host| format!(";host=\"{host}\"")).unwrap_or_default();
    format!("for={}{host};proto=http", node(Some(peer)))
}

/// An address as RFC 7239 §6 writes it.
fn node(address: Option<IpAddr>) -> String {
    match address {
        Some(IpAddr::V4(address)) => address.to_string(),
        Some(IpAddr::V6(address)) => format!("\"[{address}]\""),
        None => UNKNOWN.to_owned(),
    }
}

const UNKNOWN: &str = "unknown";
const X_FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
const X_FORWARDED_HOST: HeaderName = HeaderName::from_static("x-forwarded-host");
const X_FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");

#[cfg(test)]
mod tests {
    use super::*;

    fn noted(uri: &str, peer: &str, fields: &[(&'static str, &str)]) -> Request<()> {
        let peer: SocketAddr = peer.parse().unwrap();
        let request = Request::builder().uri(uri).extension(PeerAddr(peer));
        let mut request = request.extension(Scheme::HTTP).body(()).unwrap();
        for (name, value) in fields {
            request.headers_mut().append(*name, value.parse().unwrap());
        }
        Forwarding::trusting(&["10.0.0.0/8".parse().unwrap()]).note(&mut request);
        request
    }

    #[test]
    fn the_peer_is_written_as_each_field_wants_it() {
        for (peer, plain, node) in [
            ("192.0.2.1:5000", "192.0.2.1", "for=192.0.2.1;"),
            ("[2001:db8::1]:5000", "2001:db8::1", "for=\"[2001:db8::1]\";"),
            ("[::ffff:192.0.2.1]:5000", "192.0.2.1", "for=192.0.2.1;"),
        ] {
            let request = noted("http://h/", peer, &[]);
            assert_eq!(request.headers()["x-forwarded-for"], plain);
            let forwarded = request.headers()["forwarded"].to_str().unwrap();
            assert_eq!(forwarded, format!("{node}host=\"h\";proto=http"));
        }
    }

    #[test]
    fn only_a_trusted_proxy_is_believed() {
        let said = [
            ("host", "inside"),
            ("forwarded", "for=6.6.6.6;host=evil"),
            ("x-forwarded-for", "1.1.1.1"),
            ("x-forwarded-for", "2.2.2.2"),
            ("x-forwarded-host", "shop.example"),
            ("x-forwarded-proto", "HTTPS"),
            ("x-forwarded-prefix", "/evil"),
        ];
        for (peer, clients, forwarded, url) in [
            ("9.9.9.9:1", "9.9.9.9", "for=9.9.9.9;host=\"inside\";proto=http", "http://inside/a"),
            (
                "10.0.0.1:1",
                "1.1.1.1, 2.2.2.2, 10.0.0.1",
                "for=1.1.1.1, for=2.2.2.2, for=10.0.0.1;host=\"shop.example\";proto=http",
                "https://shop.example/a",
            ),
        ] {
            for uri in ["/a", "http://inside/a"] {
                let request = noted(uri, peer, &said);
                let target = RequestHead::new(&request).target();
                let fields = request.headers();
                assert_eq!(fields["x-forwarded-for"], clients);
                assert_eq!(fields["forwarded"], forwarded);
                assert_eq!(fields["host"], target.authority().unwrap());
                assert_eq!(fields["x-forwarded-host"], target.authority().unwrap());
                assert_eq!(fields["x-forwarded-proto"], target.scheme());
                assert_eq!(target.to_string(), url);
                assert!(!fields.contains_key("x-forwarded-prefix"));
            }
        }
    }

    #[test]
    fn the_standard_field_is_read_where_there_is_no_other() {
        let element = "For=\"[2001:db8::1]:99\";HOST=\"Shop.example\" ; proto=HTTPS";
        let mine = "for=10.0.0.1;host=\"Shop.example\";proto=http";
        for (line, clients, url) in [
            (element.to_owned(), "2001:db8::1, 10.0.0.1", "https://shop.example/"),
            (
                format!("for=\"a, {element}"),
                "unknown, 2001:db8::1, 10.0.0.1",
                "https://shop.example/",
            ),
        ] {
            let request = noted("/", "10.0.0.1:1", &[("host", "h"), ("forwarded", &line)]);
            assert_eq!(RequestHead::new(&request).target().to_string(), url);
            assert_eq!(request.headers()["forwarded"], format!("{line}, {mine}"));
            assert_eq!(request.headers()["x-forwarded-for"], clients);
            assert_eq!(request.headers()["x-forwarded-proto"], "https");
            let with_other = [("host", "h"), ("forwarded", &line), ("x-forwarded-for", "::1, _x")];
            let request = noted("/", "10.0.0.1:1", &with_other);
            assert_eq!(RequestHead::new(&request).target().to_string(), "http://h/");
            let forwarded = "for=\"[::1]\", for=unknown, for=10.0.0.1;host=\"h\";proto=http";
            assert_eq!(request.headers()["forwarded"], forwarded);
        }
        let earlier = "for=1.1.1.1;host=a;proto=https, for=2.2.2.2:80";
        let request = noted("/", "10.0.0.1:1", &[("host", "h"), ("forwarded", earlier)]);
        assert_eq!(RequestHead::new(&request).target().to_string(), "http://h/");
        assert_eq!(request.headers()["x-forwarded-for"], "1.1.1.1, 2.2.2.2, 10.0.0.1");
    }

    #[test]
    fn nonsense_of_a_trusted_proxy_changes_nothing() {
        for host in ["a, b", "user@h", "", "a b", ":80", "\u{e9}"] {
            let said = [("host", "h"), ("x-forwarded-host", host), ("x-forwarded-proto", "gopher")];
            let request = noted("/", "10.0.0.1:1", &said);
            assert_eq!(RequestHead::new(&request).target().to_string(), "http://h/", "{host}");
            assert_eq!(request.headers()["x-forwarded-host"], "h", "{host}");
        }
    }
}
