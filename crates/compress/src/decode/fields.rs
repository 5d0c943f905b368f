use http::HeaderMap;
use http::header::CONTENT_ENCODING;
use tower_edge_core::Coding;

/// The codings of a message's content, in the order in which they were put on
/// (RFC 9110 §8.4); `None` if one is not known here.
pub(crate) fn codings(headers: &HeaderMap) -> Option<Vec<Coding>> {
    let lines = headers.get_all(CONTENT_ENCODING).iter().map(|line| line.as_bytes());
    let names = lines.flat_map(|line| line.split(|&c| c == b',')).map(<[u8]>::trim_ascii);
    let codings = names.filter(|name| !name.is_empty());
    let codings = codings.map(|name| Coding::from_name(str::from_utf8(name).ok()?));
    let plain = |coding: &Option<Coding>| *coding != Some(Coding::Identity);
    codings.filter(plain).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codings_are_listed_in_their_order() {
        use Coding::{Br, Deflate, Gzip};
        for (lines, meant) in [
            (&[][..], Some(&[][..])),
            (&["gzip"], Some(&[Gzip])),
            (&["GZip, br"], Some(&[Gzip, Br])),
            (&["x-gzip", " deflate ,br"], Some(&[Gzip, Deflate, Br])),
            (&["identity, gzip,"], Some(&[Gzip])),
            (&["compress"], None),
            (&["gzip, sdch"], None),
        ] {
            let line = |line: &&str| (CONTENT_ENCODING, line.parse().unwrap());
            let headers = lines.iter().map(line).collect();
            assert_eq!(codings(&headers).as_deref(), meant, "{lines:?}");
        }
    }
}
