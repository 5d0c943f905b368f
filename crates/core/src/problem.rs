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
    /// The HTTP status.
    pub status: StatusCode,
    /// The gRPC status code, such as 14 for UNAVAILABLE.
    pub grpc_status: u8,
    /// One sentence for people; never a name or an address from inside.
    pub title: &'static str,
}

impl Problem {
    /// Renders the answer for the client of `request`; for HEAD without its body.
    pub fn response(&self, request: &RequestHead<'_>) -> Response<Bytes> {
        if request.is_grpc() {
            return self.grpc();
        }
        let (status, title) = (self.status.as_u16(), self.title);
        let (media_type, body) = match prefers_text(request.headers()) {
            true => ("text/plain; charset=utf-8", format!("{status} {title}\n")),
            false => {
                ("application/problem+json", format!(r#"{{"status":{status},"title":"{title}"}}"#))
            }
        };
        let mut response = Response::new(Bytes::new());
        *response.status_mut() = self.status;
        let fields = response.headers_mut();
        fields.insert(CONTENT_TYPE, HeaderValue::from_static(media_type));
        fields.insert(CONTENT_LENGTH, HeaderValue::from(body.len()));
        if request.method() != Method::HEAD {
            *response.body_mut() = body.into();
        }
        response
    }

    fn grpc(&self) -> Response<Bytes> {
        let mut response = Response::new(Bytes::new());
        let fields = response.headers_mut();
        fields.insert(CONTENT_TYPE, HeaderValue::from_static("application/grpc"));
        fields.insert("grpc-status", HeaderValue::from(u16::from(self.grpc_status)));
        fields.insert("grpc-message", HeaderValue::from_static(self.title));
        response
    }
}

/// Whether `Accept` gives `text/plain` a higher quality than
/// `application/problem+json` (RFC 9110 §12.5.1). Who says nothing gets JSON.
fn prefers_text(headers: &HeaderMap) -> bool {
    let quality = |names: &[&str]| {
        let ranges = headers.get_all(ACCEPT).iter().filter_map(|value| value.to_str().ok());
        let ranges = ranges.flat_map(|value| value.split(','));
        let matching = ranges.filter_map(|range| {
            let mut parts = range.split(';').map(str::trim);
            let name = parts.next()?;
            let place = names.iter().position(|known| name.eq_ignore_ascii_case(known))?;
            let quality =
                parts.find_map(|part| part.strip_prefix("q=").or(part.strip_prefix("Q=")));
            Some((place, quality.map_or(1.0, |quality| quality.parse().unwrap_or(0.0))))
        });
        // The most specific range that matches counts, not the highest quality.
        matching.min_by_key(|(place, _)| *place).map_or(0.0_f32, |(_, quality)| quality)
    };
    let text = quality(&["text/plain", "text/html", "text/*", "*/*"]);
    let json = quality(&["application/problem+json", "application/json", "application/*", "*/*"]);
    text > json
}

#[cfg(test)]
mod tests {
    use http::Request;

    use super::*;

    const BUSY: Problem = Problem {
        status: StatusCode::SERVICE_UNAVAILABLE,
        grpc_status: 14,
        title: "try again later",
    };

    fn rendered(name: &str, value: &str) -> Response<Bytes> {
        let request = Request::builder().header(name, value).body(()).unwrap();
        BUSY.response(&RequestHead::new(&request))
    }

    #[test]
    fn the_client_gets_the_form_it_reads() {
        let json = r#"{"status":503,"title":"try again later"}"#;
        for (accept, body) in [
            ("*/*", json),
            ("", json),
            ("application/json", json),
            ("text/plain, application/json", json),
            ("text/*;q=0.4, application/*;q=0.5", json),
            ("text/plain", "503 try again later\n"),
            ("text/html,application/xhtml+xml,*/*;q=0.8", "503 try again later\n"),
            ("text/html;q=0.5, TEXT/PLAIN;q=0.9, application/json;q=0.6", "503 try again later\n"),
        ] {
            let response = rendered("accept", accept);
            assert_eq!(response.status(), 503);
            assert_eq!(response.body(), body, "{accept}");
        }
    }

    #[test]
    fn head_gets_the_length_and_no_body() {
        let request = Request::head("/").body(()).unwrap();
        let response = BUSY.response(&RequestHead::new(&request));
        assert_eq!(response.headers()["content-length"], "40");
        assert!(response.body().is_empty());
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
}
