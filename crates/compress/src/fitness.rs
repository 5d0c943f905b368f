use http::header::{
    CACHE_CONTROL, CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_RANGE, CONTENT_TYPE, VARY,
};
use http::{HeaderMap, HeaderValue, StatusCode};
use tower_edge_core::ResponseHead;

use crate::Predicate;
use crate::predicate::{is_compressed, is_text};

/// What the head of a response tells of whether it may be encoded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Judged {
    pub(crate) fitness: Fitness,
    /// Whether `Vary` names `Accept-Encoding` already.
    pub(crate) varies: bool,
}

/// Whether a response may be encoded, as far as its head tells.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fitness {
    /// It never is, whatever the client wants.
    Unfit,
    /// It has no whole representation, but it belongs to one that may be encoded:
    /// 206, 304 and what else has a `Content-Range`.
    Kin,
    /// It may be.
    Fit,
}

impl Judged {
    /// Judges a response to anything but CONNECT. `size` is what the body says of
    /// itself, which `Content-Length` overrules; HEAD has no body to say it. Without a
    /// predicate it is [`MediaTypes`](crate::MediaTypes).
    pub(crate) fn of(
        response: &ResponseHead<'_>,
        size: Option<u64>,
        min_size: u64,
        predicate: Option<&dyn Predicate>,
    ) -> Self {
        let status = response.status();
        let bodiless = status.is_informational()
            || matches!(status, StatusCode::NO_CONTENT | StatusCode::RESET_CONTENT);
        if bodiless {
            return Self { fitness: Fitness::Unfit, varies: false };
        }
        let fields = Fields::of(response.headers());
        let kin = fields.range
            || matches!(status, StatusCode::PARTIAL_CONTENT | StatusCode::NOT_MODIFIED);
        let announced = || fields.length.and_then(length).or(size);
        let small = !kin && announced().is_some_and(|size| size < min_size);
        let media_type = fields.media_type.map(HeaderValue::as_bytes).unwrap_or_default();
        let known = is_text(media_type);
        let grpc = !known && is_like_grpc(media_type) && response.is_grpc();
        let encodes = || match predicate {
            None => known || !is_compressed(media_type),
            Some(predicate) => predicate.encodes(response),
        };
        let fitness = match () {
            () if small || fields.forbid || grpc || !encodes() => Fitness::Unfit,
            () if kin => Fitness::Kin,
            () => Fitness::Fit,
        };
        Self { fitness, varies: fields.varies }
    }
}

/// The announced length, if it can be read.
pub(crate) fn length(value: &HeaderValue) -> Option<u64> {
    value.to_str().ok()?.parse().ok()
}

/// Whether the type may be that of gRPC: most are told from it by one letter.
fn is_like_grpc(media_type: &[u8]) -> bool {
    let letter = media_type.get(GRPC.len() - 1).map(u8::to_ascii_lowercase);
    letter.as_ref() == GRPC.last()
}

/// What the fields say; they are looked through once, for most responses have few.
#[derive(Default)]
struct Fields<'a> {
    /// The first one, as is the media type.
    length: Option<&'a HeaderValue>,
    media_type: Option<&'a HeaderValue>,
    range: bool,
    forbid: bool,
    varies: bool,
}

impl<'a> Fields<'a> {
    fn of(headers: &'a HeaderMap) -> Self {
        let mut fields = Self::default();
        for (name, value) in headers {
            match *name {
                CONTENT_TYPE => fields.media_type = fields.media_type.or(Some(value)),
                CONTENT_LENGTH => fields.length = fields.length.or(Some(value)),
                CONTENT_ENCODING => fields.forbid |= is_encoded(value),
                CACHE_CONTROL => fields.forbid |= forbids(value),
                VARY => fields.varies |= names_coding(value),
                CONTENT_RANGE => fields.range = true,
                _ => {}
            }
        }
        fields
    }
}

/// Whether it is encoded already (RFC 9110 §8.4).
fn is_encoded(value: &HeaderValue) -> bool {
    let mut codings = value.as_bytes().split(|&c| c == b',').map(<[u8]>::trim_ascii);
    codings.any(|coding| !coding.is_empty() && !coding.eq_ignore_ascii_case(b"identity"))
}

/// Whether it must stay as it is (RFC 9111 §5.2.2.6).
fn forbids(value: &HeaderValue) -> bool {
    let mut directives = value.as_bytes().split(|&c| c == b',').map(<[u8]>::trim_ascii);
    directives.any(|directive| directive.eq_ignore_ascii_case(b"no-transform"))
}

/// Whether this line of `Vary` names `Accept-Encoding`, or all.
fn names_coding(line: &HeaderValue) -> bool {
    let mut names = line.as_bytes().split(|&c| c == b',').map(<[u8]>::trim_ascii);
    names.any(|name| name == b"*" || name.eq_ignore_ascii_case(b"accept-encoding"))
}

const GRPC: &[u8] = b"application/grpc";

#[cfg(test)]
mod tests {
    use http::Response;

    use super::*;
    use crate::MediaTypes;

    fn fitness(status: u16, fields: &[(&str, &str)], size: Option<u64>) -> Fitness {
        let mut response = Response::builder().status(status);
        for (name, value) in fields {
            response = response.header(*name, *value);
        }
        let response = response.body(()).unwrap();
        let head = ResponseHead::new(&response);
        let judged = Judged::of(&head, size, 100, None);
        assert_eq!(judged, Judged::of(&head, size, 100, Some(&MediaTypes)));
        judged.fitness
    }

    #[test]
    fn the_head_tells_whether_a_response_may_be_encoded() {
        use Fitness::{Fit, Kin, Unfit};
        for (status, fields, size, meant) in [
            (200, &[][..], None, Fit),
            (200, &[("content-type", "text/html")], Some(1_000), Fit),
            (404, &[("content-type", "text/html")], Some(1_000), Fit),
            (500, &[], None, Fit),
            (200, &[], Some(99), Unfit),
            (200, &[], Some(100), Fit),
            (200, &[("content-length", "99")], None, Unfit),
            (200, &[("content-length", "99")], Some(1_000), Unfit),
            (200, &[("content-length", "1000")], Some(0), Fit),
            (200, &[("content-length", "x")], None, Fit),
            (200, &[("content-encoding", "gzip")], None, Unfit),
            (200, &[("content-encoding", "GZIP")], None, Unfit),
            (200, &[("content-encoding", "identity, br")], None, Unfit),
            (200, &[("content-encoding", "Identity")], None, Fit),
            (200, &[("content-encoding", "")], None, Fit),
            (200, &[("cache-control", "max-age=1, No-Transform")], None, Unfit),
            (200, &[("cache-control", "a"), ("cache-control", "no-transform")], None, Unfit),
            (200, &[("cache-control", "no-transformers")], None, Fit),
            (200, &[("content-type", "application/grpc+proto")], None, Unfit),
            (200, &[("content-type", "Application/GRPC")], None, Unfit),
            (200, &[("content-type", "application/grpc-web")], None, Fit),
            (200, &[("content-type", "image/png")], None, Unfit),
            (101, &[], None, Unfit),
            (204, &[], None, Unfit),
            (205, &[], None, Unfit),
            (206, &[("content-range", "bytes 0-9/100")], Some(10), Kin),
            (206, &[("content-type", "image/png")], None, Unfit),
            (200, &[("content-range", "bytes 0-9/100")], None, Kin),
            (416, &[("content-range", "bytes */100")], Some(0), Kin),
            (304, &[], Some(0), Kin),
            (304, &[("content-encoding", "gzip")], None, Unfit),
        ] {
            assert_eq!(fitness(status, fields, size), meant, "{status} {fields:?} {size:?}");
        }
    }

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
}
