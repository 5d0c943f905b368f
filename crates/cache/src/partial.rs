use std::hash::{BuildHasher, RandomState};
use std::ops::Range;

use bytes::Bytes;
use http::header::{CONTENT_LENGTH, CONTENT_RANGE, CONTENT_TYPE, IF_RANGE, RANGE};
use http::{HeaderMap, HeaderValue, Response, StatusCode};
use tower_edge_core::ReplyBody;

use crate::policy::{Asked, asked, partial_fields, ranges_apply, unsatisfiable_fields};

/// The answer to a GET that asks for parts of a stored 200 (RFC 9110 §§14.2,
/// 15.3.7); `None` where the whole is the answer.
///
/// Parts are views of the stored bytes. `Age` and `Cache-Status` are to be added.
pub(crate) fn partial<B>(
    stored: &HeaderMap,
    body: &Bytes,
    request: &HeaderMap,
) -> Option<Response<ReplyBody<B>>> {
    if !request.contains_key(RANGE) {
        return None;
    }
    let media_type = stored.get(CONTENT_TYPE).map_or(&b""[..], HeaderValue::as_bytes);
    let asked = asked(request, body.len(), PART_HEAD + media_type.len())?;
    if !ranges_apply(request, stored) {
        return None;
    }
    let (status, mut fields) = match asked {
        Asked::Unsatisfiable => (StatusCode::RANGE_NOT_SATISFIABLE, unsatisfiable_fields(stored)),
        _ => (StatusCode::PARTIAL_CONTENT, partial_fields(stored, request.contains_key(IF_RANGE))),
    };
    let (name, value, pieces) = match asked {
        Asked::Unsatisfiable => (CONTENT_RANGE, format!("bytes */{}", body.len()), Vec::new()),
        Asked::One(part) => {
            (CONTENT_RANGE, content_range(&part, body.len()), vec![body.slice(part)])
        }
        Asked::Several(parts) => {
            let boundary = boundary();
            let media_type_of_all = format!("multipart/byteranges; boundary={boundary}");
            (CONTENT_TYPE, media_type_of_all, multipart(body, &parts, media_type, &boundary))
        }
    };
    let length = pieces.iter().map(Bytes::len).sum::<usize>();
    fields.insert(name, HeaderValue::try_from(value).ok()?);
    fields.insert(CONTENT_LENGTH, HeaderValue::from(length));
    let mut response = Response::new(ReplyBody::pieces(pieces));
    *response.status_mut() = status;
    *response.headers_mut() = fields;
    Some(response)
}

/// The pieces of a body of several parts (RFC 9110 §14.6, RFC 2046 §5.1.1).
fn multipart(
    body: &Bytes,
    parts: &[Range<usize>],
    media_type: &[u8],
    boundary: &str,
) -> Vec<Bytes> {
    let mut pieces = Vec::with_capacity(2 * parts.len() + 1);
    let name: &[u8] = if media_type.is_empty() { b"" } else { b"\r\nContent-Type: " };
    for part in parts {
        let start = format!("{}--{boundary}", if pieces.is_empty() { "" } else { "\r\n" });
        let end = format!("\r\nContent-Range: {}\r\n\r\n", content_range(part, body.len()));
        let head = [start.as_bytes(), name, media_type, end.as_bytes()].concat();
        pieces.extend([head.into(), body.slice(part.clone())]);
    }
    pieces.push(format!("\r\n--{boundary}--\r\n").into());
    pieces
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

/// What the head of a part takes beside its media type, about.
const PART_HEAD: usize = 100;
