use http::{Extensions, HeaderMap, Method, Request, Response, StatusCode, Uri, Version};
use http::{request, response};

use crate::Target;

/// Shows a request without its body.
///
/// A `Copy` view: traits that users implement take it instead of a
/// [`Request`], so they need no body parameter and stay object-safe.
#[derive(Clone, Copy, Debug)]
pub struct RequestHead<'a> {
    method: &'a Method,
    uri: &'a Uri,
    version: Version,
    headers: &'a HeaderMap,
    extensions: &'a Extensions,
}

impl<'a> RequestHead<'a> {
    /// Views the head of `request`.
    pub fn new<B>(request: &'a Request<B>) -> Self {
        Self {
            method: request.method(),
            uri: request.uri(),
            version: request.version(),
            headers: request.headers(),
            extensions: request.extensions(),
        }
    }

    /// The method.
    pub fn method(&self) -> &'a Method {
        self.method
    }

    /// The URI as the service sees it; see [`target`](Self::target) for the
    /// one the client asked for.
    pub fn uri(&self) -> &'a Uri {
        self.uri
    }

    /// The protocol version.
    pub fn version(&self) -> Version {
        self.version
    }

    /// The header fields.
    pub fn headers(&self) -> &'a HeaderMap {
        self.headers
    }

    /// The extensions.
    pub fn extensions(&self) -> &'a Extensions {
        self.extensions
    }

    /// The effective target: what the client asked for, whatever a router did
    /// to the URI since.
    pub fn target(&self) -> Target<'a> {
        Target::of(self)
    }

    /// Whether this is a gRPC request, by its media type.
    pub fn is_grpc(&self) -> bool {
        is_grpc(self.headers)
    }
}

impl<'a> From<&'a request::Parts> for RequestHead<'a> {
    fn from(parts: &'a request::Parts) -> Self {
        Self {
            method: &parts.method,
            uri: &parts.uri,
            version: parts.version,
            headers: &parts.headers,
            extensions: &parts.extensions,
        }
    }
}

/// Shows a response without its body; `Copy`, as [`RequestHead`].
#[derive(Clone, Copy, Debug)]
pub struct ResponseHead<'a> {
    status: StatusCode,
    version: Version,
    headers: &'a HeaderMap,
    extensions: &'a Extensions,
}

impl<'a> ResponseHead<'a> {
    /// Views the head of `response`.
    pub fn new<B>(response: &'a Response<B>) -> Self {
        Self {
            status: response.status(),
            version: response.version(),
            headers: response.headers(),
            extensions: response.extensions(),
        }
    }

    /// The status.
    pub fn status(&self) -> StatusCode {
        self.status
    }

    /// The protocol version.
    pub fn version(&self) -> Version {
        self.version
    }

    /// The header fields.
    pub fn headers(&self) -> &'a HeaderMap {
        self.headers
    }

    /// The extensions.
    pub fn extensions(&self) -> &'a Extensions {
        self.extensions
    }

    /// Whether this is a gRPC response, by its media type.
    pub fn is_grpc(&self) -> bool {
        is_grpc(self.headers)
    }
}

impl<'a> From<&'a response::Parts> for ResponseHead<'a> {
    fn from(parts: &'a response::Parts) -> Self {
        Self {
            status: parts.status,
            version: parts.version,
            headers: &parts.headers,
            extensions: &parts.extensions,
        }
    }
}

/// `application/grpc`, alone or followed by `+proto`, `;charset` and the like;
/// media types have no case (RFC 9110 §8.3.1). gRPC-Web is not gRPC: its
/// clients read plain HTTP statuses.
fn is_grpc(headers: &HeaderMap) -> bool {
    const GRPC: &[u8] = b"application/grpc";
    headers
        .get(http::header::CONTENT_TYPE)
        .map(|value| value.as_bytes())
        .and_then(|value| value.split_at_checked(GRPC.len()))
        .is_some_and(|(name, rest)| {
            name.eq_ignore_ascii_case(GRPC)
                && matches!(rest.first(), None | Some(b'+' | b';' | b' '))
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn grpc_is_told_by_its_media_type() {
        for (value, grpc) in [
            ("application/grpc", true),
            ("Application/gRPC+proto", true),
            ("application/grpc; charset=utf-8", true),
            ("application/grpc-web", false),
            ("application/json", false),
            ("app", false),
        ] {
            let request = Request::builder().header("content-type", value).body(()).unwrap();
            assert_eq!(RequestHead::new(&request).is_grpc(), grpc, "{value}");
        }
    }
}
