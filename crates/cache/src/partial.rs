use std::hash::{BuildHasher, RandomState};
use std::ops::Range;

use bytes::Bytes;
use http::header::{CONTENT_LENGTH, CONTENT_RANGE, CONTENT_TYPE};
use http::{HeaderMap, HeaderValue, Response, StatusCode};
use tower_edge_core::ReplyBody;

use crate::policy::{Asked, Content, partial_fields, ranges_of, unsatisfiable_fields};

/// The answer to a GET that asks for parts of a stored 200 (RFC 9110 §§14.2,
/// 15.3.7); `None` if one of them is not stored.
///
/// Parts are views of the stored bytes. `Age` and `Cache-Status` are to be added.
pub(crate) fn partial<B>(
    stored: &HeaderMap,
    content: &Content,
    asked: Asked,
    if_range: bool,
) -> Option<Response<ReplyBody<B>>> {
    let length = content.length();
    let (status, mut fields) = match asked {
        Asked::Unsatisfiable => (StatusCode::RANGE_NOT_SATISFIABLE, unsatisfiable_fields(stored)),
        _ => (StatusCode::PARTIAL_CONTENT, partial_fields(stored, if_range)),
    };
    let (name, value, pieces) = match asked {
        Asked::Unsatisfiable => (CONTENT_RANGE, format!("bytes */{length}"), Vec::new()),
        Asked::One(part) => (CONTENT_RANGE, content_range(&part, length), content.slice(&part)?),
        Asked::Several(parts) => {
            let boundary = boundary();
            let media_type_of_all = format!("multipart/byteranges; boundary={boundary}");
            (CONTENT_TYPE, media_type_of_all, multipart(stored, content, &parts, &boundary)?)
        }
    };
    let sent = pieces.iter().map(Bytes::len).sum::<usize>();
    fields.insert(name, HeaderValue::try_from(value).ok()?);
    fields.insert(CONTENT_LENGTH, HeaderValue::from(sent));
    let mut response = Response::new(ReplyBody::pieces(pieces));
    *response.status_mut() = status;
    *response.headers_mut() = fields;
    Some(response)
}

/// Whether a request asks for ranges of a stored 200, and all of them are there.
pub(crate) fn has_ranges(stored: &HeaderMap, content: &Content, request: &HeaderMap) -> bool {
    let has = |part: &Range<usize>| content.slice(part).is_some();
    match ranges_of(request, stored, content.length()) {
        Some(Asked::One(part)) => has(&part),
        Some(Asked::Several(parts)) => parts.iter().all(has),
        Some(Asked::Unsatisfiable) | None => false,
    }
}

/// The pieces of a body of several parts (RFC 9110 §14.6, RFC 2046 §5.1.1).
fn multipart(
    stored: &HeaderMap,
    content: &Content,
    parts: &[Range<usize>],
    boundary: &str,
) -> Option<Vec<Bytes>> {
    let mut pieces = Vec::with_capacity(2 * parts.len() + 1);
    let media_type = media_type(stored);
    let name: &[u8] = if media_type.is_empty() { b"" } else { b"\r\nContent-Type: " };
    for part in parts {
        let start = format!("{}--{boundary}", if pieces.is_empty() { "" } else { "\r\n" });
        let content_range = content_range(part, content.length());
        let end = format!("\r\nContent-Range: {content_range}\r\n\r\n");
        pieces.push([start.as_bytes(), name, media_type, end.as_bytes()].concat().into());
        pieces.extend(content.slice(part)?);
    }
    pieces.push(format!("\r\n--{boundary}--\r\n").into());
    Some(pieces)
}

fn media_type(stored: &HeaderMap) -> &[u8] {
    stored.get(CONTENT_TYPE).map_or(b"", HeaderValue::as_bytes)
}

fn content_range(part: &Range<usize>, length: usize) -> String {
    format!("bytes {}-{}/{length}", part.start, part.end - 1)
}

/// 128 bits that nobody can foretell: no content has them by accident, nor on
/// purpose.
fn boundary() -> String {
    let secret = RandomState::new();
    format!("{:016x}{:016x}", secret.hash_one(0), secret.hash_one(1))
}
