//! Who asked whom for what, as proxies tell the origin (RFC 7239).

use std::net::IpAddr;
use std::sync::Arc;

use http::header::{FORWARDED, HOST};
use http::uri::{Authority, Scheme};
use http::{HeaderMap, HeaderName, HeaderValue, Request, Uri};
use tower_edge::core::{Cidr, PeerAddr, RequestHead};

/// Writes `Host`, `Forwarded` and `X-Forwarded-*`.
///
/// What a client says of itself is replaced. A trusted proxy is believed: its
/// lists are continued, and the host and scheme that it names become those of
/// the request, so that the origin and the key of the cache know the same ones.
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
        Self {
            forwarded: list(fields, FORWARDED),
            clients: list(fields, X_FORWARDED_FOR),
            host: Authority::try_from(list(fields, X_FORWARDED_HOST))
                .ok()
                .filter(|host| !host.host().is_empty() && !host.as_str().contains('@')),
            scheme: match &*list(fields, X_FORWARDED_PROTO).to_ascii_lowercase() {
                b"http" => Some(Scheme::HTTP),
                b"https" => Some(Scheme::HTTPS),
                _ => None,
            },
        }
    }
}

fn forget(fields: &mut HeaderMap) {
    let family = fields.keys().filter(|name| name.as_str().starts_with("x-forwarded-"));
    let family: Vec<HeaderName> = family.cloned().collect();
    for name in family.iter().chain([&FORWARDED]) {
        fields.remove(name);
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
    let client = match peer {
        IpAddr::V4(address) => address.to_string(),
        IpAddr::V6(address) => format!("\"[{address}]\""),
    };
    let host = host.map(|host| format!(";host=\"{host}\"")).unwrap_or_default();
    format!("for={client}{host};proto=http")
}

const X_FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
const X_FORWARDED_HOST: HeaderName = HeaderName::from_static("x-forwarded-host");
const X_FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");

#[cfg(test)]
mod tests {
    use std::net::SocketAddr;

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
            ("forwarded", "for=1.1.1.1"),
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
                "for=1.1.1.1, for=10.0.0.1;host=\"shop.example\";proto=http",
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
    fn nonsense_of_a_trusted_proxy_changes_nothing() {
        for host in ["a, b", "user@h", "", "a b", ":80", "\u{e9}"] {
            let said = [("host", "h"), ("x-forwarded-host", host), ("x-forwarded-proto", "gopher")];
            let request = noted("/", "10.0.0.1:1", &said);
            assert_eq!(RequestHead::new(&request).target().to_string(), "http://h/", "{host}");
            assert_eq!(request.headers()["x-forwarded-host"], "h", "{host}");
        }
    }
}
