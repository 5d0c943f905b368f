use http::header::CONTENT_TYPE;
use http::{HeaderMap, HeaderValue, StatusCode};

use super::RequestFields;
use super::conditions::{not_modified, ranges_apply};
use super::range::{Asked, asked};

/// What a client gets of a response to GET or HEAD.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Wanted {
    Whole,
    /// 304: it has that already.
    Unmodified,
    /// 206, or 416.
    Ranges(Asked),
}

/// Evaluates what a request says of a response, be it stored or just fetched
/// (RFC 9110 §13.2.2); nothing else does so for a cache.
///
/// Without a `length` no parts can be given: of HEAD, of what has trailers, of a
/// body whose end nobody knows yet. Only a 200 has parts, and conditions are for
/// successes (§§13.2.1, 14.2). `If-Match` and its like are for the origin: 412 is
/// never the answer.
pub(crate) fn wanted(
    request: &RequestFields<'_>,
    status: StatusCode,
    fields: &HeaderMap,
    length: Option<usize>,
) -> Wanted {
    let has_it = || request.repeats_tag_of(fields) || not_modified(request, fields);
    if request.has_conditions() && status.is_success() && has_it() {
        return Wanted::Unmodified;
    }
    let length = length.filter(|_| status == StatusCode::OK && request.has_range());
    let ranges = length.and_then(|length| ranges_of(request, fields, length));
    ranges.map_or(Wanted::Whole, Wanted::Ranges)
}

/// What the ranges of a request ask for of a 200, if they count.
pub(crate) fn ranges_of(request: &HeaderMap, fields: &HeaderMap, length: usize) -> Option<Asked> {
    let media_type = fields.get(CONTENT_TYPE).map_or(0, HeaderValue::len);
    let asked = asked(request, length, PART_HEAD + media_type)?;
    ranges_apply(request, fields).then_some(asked)
}

/// What the head of a part takes beside its media type, about.
const PART_HEAD: usize = 100;

#[cfg(test)]
mod tests {
    use super::*;

    fn map(fields: &[(&str, &str)]) -> HeaderMap {
        fields.iter().map(|(name, value)| (name.parse().unwrap(), value.parse().unwrap())).collect()
    }

    #[test]
    fn conditions_come_first_then_ranges() {
        const RANGE: (&str, &str) = ("range", "bytes=2-3");
        let ranges = || Wanted::Ranges(Asked::One(2..4));
        let none = || Wanted::Ranges(Asked::Unsatisfiable);
        for (request, status, length, got) in [
            (&[][..], 200, Some(10), Wanted::Whole),
            (&[RANGE], 200, Some(10), ranges()),
            (&[RANGE], 200, None, Wanted::Whole),
            (&[RANGE], 200, Some(2), none()),
            (&[RANGE], 203, Some(10), Wanted::Whole),
            (&[RANGE], 404, Some(10), Wanted::Whole),
            (&[RANGE, ("if-range", "\"a\"")], 200, Some(10), ranges()),
            (&[RANGE, ("if-range", "\"b\"")], 200, Some(10), Wanted::Whole),
            (&[RANGE, ("if-none-match", "\"a\"")], 200, Some(10), Wanted::Unmodified),
            (&[RANGE, ("if-none-match", "\"b\"")], 200, Some(10), ranges()),
            (&[("if-none-match", "W/\"a\"")], 203, None, Wanted::Unmodified),
            (
                &[("if-none-match", "\"a\""), ("if-none-match", "\"b\"")],
                200,
                None,
                Wanted::Unmodified,
            ),
            (
                &[("if-none-match", "\"b\""), ("if-none-match", "\"a\"")],
                200,
                None,
                Wanted::Unmodified,
            ),
            (&[("if-none-match", "*")], 206, None, Wanted::Unmodified),
            (&[("if-none-match", "\"a\"")], 404, None, Wanted::Whole),
            (&[("if-none-match", "\"a\"")], 302, None, Wanted::Whole),
            (&[("if-match", "\"b\"")], 200, None, Wanted::Whole),
        ] {
            let status = StatusCode::from_u16(status).unwrap();
            let request = map(request);
            let found =
                wanted(&RequestFields::of(&request), status, &map(&[("etag", "\"a\"")]), length);
            assert_eq!(found, got, "{request:?} {status} {length:?}");
        }
    }
}
