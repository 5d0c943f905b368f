use http::header::{ACCEPT_RANGES, CONTENT_ENCODING, CONTENT_LENGTH};
use http::{HeaderMap, HeaderName, HeaderValue};
use tower_edge_core::Coding;

use crate::conditions::mark_tag;

/// Makes the fields of a response those of its encoded form; with a `weak` tag, if
/// the same content may get other bytes another time.
///
/// The length of the plain bytes goes, and what else is true of them only: digests
/// of them (RFC 9530, RFC 3230), and that ranges of them can be had.
pub(crate) fn describe(headers: &mut HeaderMap, coding: Coding, level: u8, weak: bool) {
    headers.insert(CONTENT_ENCODING, HeaderValue::from_static(coding.as_str()));
    headers.remove(CONTENT_LENGTH);
    headers.remove(ACCEPT_RANGES);
    drop_digests(headers);
    mark_tag(headers, coding, level, weak);
}

/// Drops digests of other bytes, which may stand in trailers too.
pub(crate) fn drop_digests(fields: &mut HeaderMap) {
    DIGESTS.iter().for_each(|name| drop(fields.remove(name)));
}

static DIGESTS: [HeaderName; 4] = [
    HeaderName::from_static("content-digest"),
    HeaderName::from_static("repr-digest"),
    HeaderName::from_static("digest"),
    HeaderName::from_static("content-md5"),
];

#[cfg(test)]
mod tests {
    use super::*;

    fn map(fields: &[(&str, &str)]) -> HeaderMap {
        fields.iter().map(|(name, value)| (name.parse().unwrap(), value.parse().unwrap())).collect()
    }

    #[test]
    fn what_is_true_of_the_plain_bytes_only_goes() {
        let mut headers = map(&[
            ("content-type", "text/plain"),
            ("content-length", "9"),
            ("content-encoding", "identity"),
            ("accept-ranges", "bytes"),
            ("content-digest", "sha-256=:AA==:"),
            ("repr-digest", "sha-256=:AA==:"),
            ("digest", "sha-256=AA=="),
            ("content-md5", "AA=="),
            ("etag", "\"v1\""),
            ("last-modified", "Sun, 06 Nov 1994 08:49:37 GMT"),
        ]);
        describe(&mut headers, Coding::Gzip, 6, true);
        let after = map(&[
            ("content-type", "text/plain"),
            ("content-encoding", "gzip"),
            ("etag", "W/\"v1+gzip6\""),
            ("last-modified", "Sun, 06 Nov 1994 08:49:37 GMT"),
        ]);
        assert_eq!(headers, after);
    }
}
