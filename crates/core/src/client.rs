use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use std::sync::Arc;

use crate::forwarded::{forwarded, x_forwarded_for};
use crate::{Cidr, ExtractKey, Key, RequestHead};

/// The address of the connection's other end, put into each request's
/// extensions by the server; axum's `ConnectInfo<SocketAddr>` does as well,
/// with the feature `axum`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PeerAddr(pub SocketAddr);

/// The field in which trusted proxies note addresses.
///
/// One of the two is read, never both: a proxy adds to the field that it knows
/// and lets whatever a client wrote into the other pass.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum ForwardingField {
    /// `X-Forwarded-For`, what most proxies write.
    #[default]
    XForwardedFor,
    /// `Forwarded` (RFC 7239).
    Forwarded,
}

/// Finds the address of the client, and tells clients apart by it.
///
/// The default is the peer of the connection. Behind proxies the list they
/// write is read from the right, as far as it can be trusted; the left-most
/// entry, which anybody can make up, is never believed for being there. As a
/// key, an IPv6 address counts as its /64, since that is what one client has.
///
/// ```
/// use tower_edge_core::ClientIp;
///
/// let direct = ClientIp::peer();
/// let behind_our_proxies = ClientIp::trusting(["10.0.0.0/8".parse()?]);
/// let behind_two_proxies = ClientIp::hops(2);
/// # Ok::<(), tower_edge_core::CidrError>(())
/// ```
#[derive(Clone, Debug)]
pub struct ClientIp {
    trust: Trust,
    field: ForwardingField,
    ipv6_prefix: u8,
}

impl ClientIp {
    /// The peer of the connection; forwarding fields are not read.
    pub fn peer() -> Self {
        Self::new(Trust::Peer)
    }

    /// The nearest address that is not in `proxies`, starting at the peer.
    ///
    /// Where a trusted proxy noted no address (`unknown`), or all are trusted,
    /// it is the farthest address that is known.
    pub fn trusting(proxies: impl IntoIterator<Item = Cidr>) -> Self {
        Self::new(Trust::Proxies(proxies.into_iter().collect()))
    }

    /// The address that the last of `count` proxies noted, counted from here: 1
    /// is the right-most entry, 0 the peer.
    ///
    /// A request with fewer entries did not come through all of the proxies: its
    /// client is the peer.
    pub fn hops(count: usize) -> Self {
        match count.checked_sub(1) {
            None => Self::peer(),
            Some(skip) => Self::new(Trust::Hops { skip }),
        }
    }

    /// Reads this field; `X-Forwarded-For` is the default.
    #[must_use]
    pub fn field(mut self, field: ForwardingField) -> Self {
        self.field = field;
        self
    }

    /// Keys IPv6 clients by the first `bits` of their address; 64 is the default.
    ///
    /// # Panics
    ///
    /// If `bits` is more than 128.
    #[must_use]
    pub fn ipv6_prefix(mut self, bits: u8) -> Self {
        assert!(bits <= 128, "an IPv6 prefix has at most 128 bits");
        self.ipv6_prefix = bits;
        self
    }

    /// The client's address; `None` where the server did not say who the peer is.
    pub fn address(&self, head: &RequestHead<'_>) -> Option<IpAddr> {
        let peer = || peer(head);
        let listed = |list: &mut dyn Iterator<Item = Option<IpAddr>>| match &self.trust {
            Trust::Peer => peer(),
            Trust::Hops { skip } => list.nth(*skip).flatten().or_else(peer),
            Trust::Proxies(proxies) => {
                let trusted = |address| proxies.iter().any(|range| range.contains(address));
                let mut client = peer()?;
                while trusted(client) {
                    let Some(Some(next)) = list.next() else { break };
                    client = next;
                }
                Some(client)
            }
        };
        match self.field {
            ForwardingField::XForwardedFor => listed(&mut x_forwarded_for(head.headers())),
            ForwardingField::Forwarded => listed(&mut forwarded(head.headers())),
        }
    }

    fn new(trust: Trust) -> Self {
        Self { trust, field: ForwardingField::default(), ipv6_prefix: 64 }
    }
}

impl ExtractKey for ClientIp {
    fn key(&self, head: &RequestHead<'_>) -> Option<Key> {
        Some(match self.address(head)? {
            IpAddr::V4(address) => Key::new(address.octets()),
            IpAddr::V6(address) => {
                let host_bits = 128 - u32::from(self.ipv6_prefix);
                let mask = u128::MAX.checked_shl(host_bits).unwrap_or(0);
                Key::new(Ipv6Addr::from(u128::from(address) & mask).octets())
            }
        })
    }
}

#[derive(Clone, Debug)]
enum Trust {
    Peer,
    Proxies(Arc<[Cidr]>),
    Hops { skip: usize },
}

fn peer(head: &RequestHead<'_>) -> Option<IpAddr> {
    let peer = head.extensions().get::<PeerAddr>().map(|peer| peer.0);
    #[cfg(feature = "axum")]
    let peer = peer.or_else(|| {
        let info = head.extensions().get::<axum::extract::ConnectInfo<SocketAddr>>();
        info.map(|info| info.0)
    });
    peer.map(|peer| peer.ip().to_canonical())
}

#[cfg(test)]
mod tests {
    use http::Request;

    use super::*;

    fn request(peer: &str, list: &str) -> Request<()> {
        let peer = PeerAddr(SocketAddr::new(peer.parse().unwrap(), 1));
        let request = Request::builder().extension(peer).header("x-forwarded-for", list);
        request.header("forwarded", "for=7.7.7.7").body(()).unwrap()
    }

    fn found(client: &ClientIp, peer: &str, list: &str) -> String {
        let request = request(peer, list);
        client.address(&RequestHead::new(&request)).unwrap().to_string()
    }

    #[test]
    fn the_first_address_from_the_right_that_is_not_trusted_is_the_client() {
        let client = ClientIp::trusting(["10.0.0.0/8".parse().unwrap()]);
        for (peer, list, address) in [
            ("9.9.9.9", "1.1.1.1", "9.9.9.9"),
            ("10.0.0.1", "6.6.6.6, 1.1.1.1", "1.1.1.1"),
            ("::ffff:10.0.0.1", "6.6.6.6, 1.1.1.1, 10.0.0.2", "1.1.1.1"),
            ("10.0.0.1", "6.6.6.6, unknown, 10.0.0.2", "10.0.0.2"),
            ("10.0.0.1", "10.0.0.3, 10.0.0.2", "10.0.0.3"),
            ("10.0.0.1", "", "10.0.0.1"),
        ] {
            assert_eq!(found(&client, peer, list), address, "{peer} {list}");
        }
    }

    #[test]
    fn hops_count_from_the_right() {
        for (hops, list, address) in [
            (0, "1.1.1.1", "9.9.9.9"),
            (1, "6.6.6.6, 1.1.1.1", "1.1.1.1"),
            (2, "6.6.6.6, 2.2.2.2, 1.1.1.1", "2.2.2.2"),
            (2, "1.1.1.1", "9.9.9.9"),
            (1, "1.1.1.1, unknown", "9.9.9.9"),
        ] {
            assert_eq!(found(&ClientIp::hops(hops), "9.9.9.9", list), address, "{hops} {list}");
        }
    }

    #[test]
    fn one_field_is_read() {
        let trusting = ClientIp::trusting(["10.0.0.0/8".parse().unwrap()]);
        assert_eq!(found(&trusting, "10.0.0.1", "1.1.1.1"), "1.1.1.1");
        let forwarded = trusting.field(ForwardingField::Forwarded);
        assert_eq!(found(&forwarded, "10.0.0.1", "1.1.1.1"), "7.7.7.7");
        assert_eq!(found(&ClientIp::peer(), "10.0.0.1", "1.1.1.1"), "10.0.0.1");
    }

    #[test]
    fn an_ipv6_client_is_keyed_by_its_prefix() {
        let key = |client: &ClientIp, peer| client.key(&RequestHead::new(&request(peer, "")));
        let client = ClientIp::peer();
        assert_eq!(key(&client, "2001:db8::1"), key(&client, "2001:db8::ffff:1"));
        assert_ne!(key(&client, "2001:db8::1"), key(&client, "2001:db8:0:1::1"));
        let all = ClientIp::peer().ipv6_prefix(128);
        assert_ne!(key(&all, "2001:db8::1"), key(&all, "2001:db8::2"));
        let none = ClientIp::peer().ipv6_prefix(0);
        assert_eq!(key(&none, "2001:db8::1"), key(&none, "fe80::1"));
        assert_ne!(key(&client, "1.1.1.1"), key(&client, "1.1.1.2"));
    }

    #[test]
    fn without_a_peer_there_is_no_client() {
        let request = Request::new(());
        assert_eq!(ClientIp::peer().key(&RequestHead::new(&request)), None);
    }
}
