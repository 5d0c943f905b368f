use bytes::Bytes;
use http::header::{ACCEPT, CONTENT_LENGTH, CONTENT_TYPE};
use http::{HeaderMap, HeaderValue, Method, Response, StatusCode};

use crate::RequestHead;

/// An answer that says what went wrong, in the form the client reads.
///
/// - a gRPC request gets a trailers-only response: 200 with `grpc-status`;
/// - a client that prefers text gets one line of `text/plain`;
/// - everybody else gets `application/problem+json` (RFC 9457).
#[derive(Clone, Copy, Debug)]
pub struct Problem {
    status: StatusCode,
    grpc_status: u8,
    detail: &'static str,
    kind: Option<(&'static str, &'static str)>,
}

impl Problem {
    /// A problem with this HTTP status and gRPC status code, such as 14 for
    /// UNAVAILABLE. `detail` is one sentence for people; never a name or an
    /// address from inside.
    ///
    /// # Panics
    ///
    /// If `detail` has a character that one of the forms would have to escape:
    /// anything but printable ASCII, a quote, a backslash or a percent sign. In
    /// a constant it does not compile then.
    pub const fn new(status: StatusCode, grpc_status: u8, detail: &'static str) -> Self {
        let text = detail.as_bytes();
        let mut at = 0;
        while at < text.len() {
            let plain = matches!(text[at], b' '..=b'~') && !matches!(text[at], b'"' | b'\\' | b'%');
            assert!(plain, "a detail is plain text");
            at += 1;
        }
        Self { status, grpc_status, detail, kind: None }
    }

    /// Names the problem's type, a URI, and the title that belongs to it
    /// (RFC 9457 §3.1).
    pub(crate) const fn of_type(mut self, uri: &'static str, title: &'static str) -> Self {
        self.kind = Some((uri, title));
        self
    }

    /// Renders the answer for the client of `request`; for HEAD without its body.
    pub fn response(&self, request: &RequestHead<'_>) -> Response<Bytes> {
        self.response_with(request, "")
    }

    /// As [`response`](Self::response), with more members in JSON, each after a
    /// comma.
    pub(crate) fn response_with(
        &self,
        request: &RequestHead<'_>,
        members: &str,
    ) -> Response<Bytes> {
        if request.is_grpc() {
            return self.grpc();
        }
        let detail = self.detail;
        let (media_type, body) = match prefers_text(request.headers()) {
            true => {
                ("text/plain; charset=utf-8", [self.status.as_str(), " ", detail, "\n"].concat())
            }
            false => {
                // RFC 9457 §4.2.1: without a type, the title is the status's own.
                let own = self.status.canonical_reason().unwrap_or("Error");
                let ([name, uri, end], title) = match self.kind {
                    Some((uri, title)) => ([r#""type":""#, uri, r#"","#], title),
                    None => (["", "", ""], own),
                };
                let status = self.status.as_str();
                // In one go: a string that grows is copied several times.
                let json = [
                    "{",
                    name,
                    uri,
                    end,
                    r#""status":"#,
                    status,
                    r#","title":""#,
                    title,
                    r#"","detail":""#,
                    detail,
                    r#"""#,
                    members,
                    "}",
                ];
                ("application/problem+json", json.concat())
            }
        };
        let mut response = Response::new(Bytes::from(body));
        *response.status_mut() = self.status;
        response.headers_mut().reserve(FIELDS);
        response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(media_type));
        for_method(request, response)
    }

    fn grpc(&self) -> Response<Bytes> {
        let mut response = Response::new(Bytes::new());
        let fields = response.headers_mut();
        fields.insert(CONTENT_TYPE, HeaderValue::from_static("application/grpc"));
        fields.insert("grpc-status", HeaderValue::from(u16::from(self.grpc_status)));
        fields.insert("grpc-message", HeaderValue::from_static(self.detail));
        response
    }
}

/// States the length of the body, and empties it for HEAD: over HTTP/2 hyper
/// would send it.
pub(crate) fn for_method(request: &RequestHead<'_>, response: Response<Bytes>) -> Response<Bytes> {
    let mut response = response;
    let length = number(response.body().len() as u64);
    response.headers_mut().insert(CONTENT_LENGTH, length);
    if request.method() == Method::HEAD {
        response.body_mut().clear();
    }
    response
}

/// A number as the value of a field, in one allocation where `HeaderValue::from`
/// takes two.
pub(crate) fn number(number: u64) -> HeaderValue {
    let mut digits = itoa::Buffer::new();
    HeaderValue::from_str(digits.format(number)).unwrap_or_else(|_| HeaderValue::from(number))
}

/// Whether `Accept` gives text a higher quality than JSON (RFC 9110 §12.5.1).
/// Who says nothing gets JSON.
fn prefers_text(headers: &HeaderMap) -> bool {
    let best = |types: [&str; 2]| types.map(|name| quality(headers, name)).into_iter().max();
    best(["text/plain", "text/html"]) > best(["application/problem+json", "application/json"])
}

/// The quality of a media type, in thousandths: that of the most specific range
/// that matches it.
fn quality(headers: &HeaderMap, name: &str) -> u16 {
    let kind = name.split('/').next().unwrap_or_default();
    let ranges = headers.get_all(ACCEPT).iter().filter_map(|value| value.to_str().ok());
    let matching = ranges.flat_map(|value| value.split(',')).filter_map(|range| {
        let mut parts = range.split(';').map(str::trim);
        let range = parts.next()?;
        let specific = match range.split_once('/')? {
            _ if range.eq_ignore_ascii_case(name) => 2,
            (of, "*") if of.eq_ignore_ascii_case(kind) => 1,
            ("*", "*") => 0,
            _ => return None,
        };
        let quality = parts.find_map(|part| part.strip_prefix("q=").or(part.strip_prefix("Q=")));
        let quality = quality.map_or(1.0, |quality| quality.parse::<f32>().unwrap_or(0.0));
        Some((specific, (quality.clamp(0.0, 1.0) * 1_000.0) as u16))
    });
    matching.max().map_or(0, |(_, quality)| quality)
}

/// Room for the fields of a problem, and for those that layers add to a refusal.
const FIELDS: usize = 6;

#[cfg(test)]
mod tests {
    use http::Request;

    use super::*;

    const BUSY: Problem = Problem::new(StatusCode::SERVICE_UNAVAILABLE, 14, "try again later");

    fn rendered(name: &str, value: &str) -> Response<Bytes> {
        let request = Request::builder().header(name, value).body(()).unwrap();
        BUSY.response(&RequestHead::new(&request))
    }

    #[test]
    fn the_client_gets_the_form_it_reads() {
        let json = r#"{"status":503,"title":"Service Unavailable","detail":"try again later"}"#;
        let text = "503 try again later\n";
        for (accept, body) in [
            ("*/*", json),
            ("", json),
            ("application/json", json),
            ("text/plain, application/json", json),
            ("text/*;q=0.4, application/*;q=0.5", json),
            ("text/plain;q=NaN", json),
            ("text/plain", text),
            ("text/html,application/xhtml+xml,*/*;q=0.8", text),
            ("text/html;q=0.5, TEXT/PLAIN;q=0.9, application/json;q=0.6", text),
            ("text/*, text/html;q=0.1, application/json;q=0.6", text),
        ] {
            let response = rendered("accept", accept);
            assert_eq!(response.status(), 503);
            assert_eq!(response.body(), body, "{accept}");
        }
    }

    #[test]
    fn grpc_gets_a_trailers_only_response() {
        let response = rendered("content-type", "application/grpc+proto");
        assert_eq!(response.status(), 200);
        assert_eq!(response.headers()["content-type"], "application/grpc");
        assert_eq!(response.headers()["grpc-status"], "14");
        assert_eq!(response.headers()["grpc-message"], "try again later");
        assert!(response.body().is_empty());
    }

    #[test]
    fn head_gets_the_length_and_no_body() {
        let request = Request::head("/").body(()).unwrap();
        let response = BUSY.response(&RequestHead::new(&request));
        assert_eq!(response.headers()["content-length"], "71");
        assert!(response.body().is_empty());
    }

    #[test]
    #[should_panic(expected = "a detail is plain text")]
    fn a_detail_that_would_break_a_form_is_refused() {
        let _ = Problem::new(StatusCode::BAD_GATEWAY, 14, "\"quoted\"");
    }
}
