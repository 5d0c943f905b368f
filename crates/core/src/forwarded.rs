use std::error::Error;
use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::str::FromStr;

use http::{HeaderMap, HeaderName};
use ipnet::IpNet;

/// A range of addresses, such as `10.0.0.0/8`; a single address is a range of one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cidr(IpNet);

impl Cidr {
    /// Whether `address` is in the range; an IPv4-mapped IPv6 address counts as
    /// the IPv4 address it holds.
    pub fn contains(&self, address: IpAddr) -> bool {
        self.0.contains(&address.to_canonical())
    }
}

impl FromStr for Cidr {
    type Err = CidrError;

    fn from_str(text: &str) -> Result<Self, CidrError> {
        let range = text.parse::<IpNet>();
        let range = range.or_else(|_| text.parse::<IpAddr>().map(IpNet::from));
        range.map(Self).map_err(|_| CidrError { text: text.into() })
    }
}

/// A text that is no range of addresses.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CidrError {
    text: Box<str>,
}

impl fmt::Display for CidrError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "`{}` is not a range of addresses such as 10.0.0.0/8 or 2001:db8::/32", self.text)
    }
}

impl Error for CidrError {}

/// The addresses that proxies noted in `Forwarded` (RFC 7239), nearest first;
/// `None` where a proxy wrote something else, such as `unknown`.
pub(crate) fn forwarded(headers: &HeaderMap) -> impl Iterator<Item = Option<IpAddr>> {
    from_the_right(headers, http::header::FORWARDED).map(|element| {
        let element = str::from_utf8(element).ok()?;
        let mut pairs = element.split(';').filter_map(|pair| pair.split_once('='));
        let (_, node) = pairs.find(|(name, _)| name.trim().eq_ignore_ascii_case("for"))?;
        address(node)
    })
}

/// The same for `X-Forwarded-For`.
pub(crate) fn x_forwarded_for(headers: &HeaderMap) -> impl Iterator<Item = Option<IpAddr>> {
    let members = from_the_right(headers, HeaderName::from_static("x-forwarded-for"));
    members.map(|node| address(str::from_utf8(node).ok()?))
}

/// List members from the last to the first, over all lines of the field.
///
/// Quotes and unreadable bytes are not minded here: no address has a comma in
/// it, and what a client sent must not swallow what a proxy added behind it.
fn from_the_right(headers: &HeaderMap, name: HeaderName) -> impl Iterator<Item = &[u8]> {
    let lines = headers.get_all(name).iter().rev().map(|line| line.as_bytes());
    let members = lines.flat_map(|line| line.rsplit(|&c| c == b',')).map(<[u8]>::trim_ascii);
    members.filter(|member| !member.is_empty())
}

/// An address with or without port, brackets and quotes.
fn address(node: &str) -> Option<IpAddr> {
    let node = node.trim();
    let node = node.strip_prefix('"').and_then(|node| node.strip_suffix('"')).unwrap_or(node);
    let bare = node.strip_prefix('[').and_then(|node| node.strip_suffix(']')).unwrap_or(node);
    let address = bare.parse().or_else(|_| node.parse::<SocketAddr>().map(|socket| socket.ip()));
    address.ok().map(|address: IpAddr| address.to_canonical())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(name: &'static str, lines: &[&str]) -> HeaderMap {
        let value = |line: &str| http::HeaderValue::from_bytes(line.as_bytes()).unwrap();
        lines.iter().map(|line| (HeaderName::from_static(name), value(line))).collect()
    }

    fn shown(addresses: impl Iterator<Item = Option<IpAddr>>) -> String {
        let shown = addresses.map(|a| a.map_or("-".into(), |a| a.to_string()));
        shown.collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn x_forwarded_for_is_read_from_the_right() {
        for (lines, expected) in [
            (&["1.1.1.1, 2.2.2.2"][..], "2.2.2.2 1.1.1.1"),
            (&["1.1.1.1", "2.2.2.2,,3.3.3.3:80"], "3.3.3.3 2.2.2.2 1.1.1.1"),
            (
                &["2001:db8::1, [2001:db8::2], [2001:db8::3]:4"],
                "2001:db8::3 2001:db8::2 2001:db8::1",
            ),
            (&["::ffff:1.2.3.4"], "1.2.3.4"),
            (&["unknown, 1.1.1.1, 1.1.1.1.1"], "- 1.1.1.1 -"),
            (&["\u{e9}"], "-"),
            (&["6.6.6.6, \u{e9}, 1.1.1.1"], "1.1.1.1 - 6.6.6.6"),
            (&[], ""),
        ] {
            assert_eq!(shown(x_forwarded_for(&headers("x-forwarded-for", lines))), expected);
        }
    }

    #[test]
    fn forwarded_is_read_from_the_right() {
        for (lines, expected) in [
            (&["for=1.1.1.1;proto=http, proto=https;For=\"2.2.2.2:81\""][..], "2.2.2.2 1.1.1.1"),
            (&["for=\"[2001:db8:cafe::17]:4711\""], "2001:db8:cafe::17"),
            (&["for=_hidden, by=1.1.1.1, for=unknown"], "- - -"),
            (&["for=\"6.6.6.6, for=9.9.9.9"], "9.9.9.9 -"),
        ] {
            assert_eq!(shown(forwarded(&headers("forwarded", lines))), expected);
        }
    }

    #[test]
    fn a_range_holds_its_addresses() {
        let range: Cidr = "10.0.0.0/8".parse().unwrap();
        assert!(range.contains([10, 1, 2, 3].into()));
        assert!(range.contains("::ffff:10.1.2.3".parse().unwrap()));
        assert!(!range.contains([11, 1, 2, 3].into()));
        let one: Cidr = "2001:db8::1".parse().unwrap();
        assert!(one.contains("2001:db8::1".parse().unwrap()));
        let error = "10.0.0.0/33".parse::<Cidr>().unwrap_err().to_string();
        assert!(error.starts_with("`10.0.0.0/33` is not a range"), "{error}");
    }
}
