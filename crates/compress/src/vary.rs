use http::header::VARY;
use http::{HeaderMap, HeaderValue};

/// Names `Accept-Encoding` in a `Vary` that does not.
pub(crate) fn vary_by_coding(headers: &mut HeaderMap) {
    headers.append(VARY, HeaderValue::from_static("accept-encoding"));
}

/// Whether this line of `Vary` names `Accept-Encoding`, or all.
pub(crate) fn names_coding(line: &HeaderValue) -> bool {
    let mut names = line.as_bytes().split(|&c| c == b',').map(<[u8]>::trim_ascii);
    names.any(|name| name == b"*" || name.eq_ignore_ascii_case(b"accept-encoding"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_names_the_coding_in_any_case() {
        for (line, named) in [
            ("accept-encoding", true),
            ("Accept-Encoding", true),
            ("b ,ACCEPT-ENCODING, c", true),
            ("*", true),
            ("accept", false),
            ("x-accept-encoding", false),
            ("", false),
        ] {
            assert_eq!(names_coding(&HeaderValue::from_static(line)), named, "{line}");
        }
    }

    #[test]
    fn a_line_is_added_to_those_there_are() {
        let mut headers = HeaderMap::from_iter([(VARY, HeaderValue::from_static("accept"))]);
        vary_by_coding(&mut headers);
        assert_eq!(headers.get_all(VARY).iter().collect::<Vec<_>>(), ["accept", "accept-encoding"]);
    }
}
