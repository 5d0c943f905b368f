use http::uri::Scheme;
use http::{Method, StatusCode};
use tower_edge_core::RequestHead;

/// What tells one series from another. Whatever clients send, there are few:
/// no part of it is a text that a client chose.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Labels {
    pub(crate) protocol: Protocol,
    /// As [`registered`] has it; none for a call that ended without a response.
    pub(crate) status: Option<StatusCode>,
    pub(crate) route: RouteId,
    /// Whether the response lasts as long as somebody listens: its time says
    /// nothing about those of others.
    pub(crate) long_lived: bool,
}

impl Labels {
    /// All of them in a word.
    pub(crate) fn packed(self) -> u64 {
        let status = self.status.map_or(0, |status| u64::from(status.as_u16()));
        let protocol = self.protocol.index() as u64;
        u64::from(self.route.0) << 32 | protocol << 16 | status << 1 | u64::from(self.long_lived)
    }
}

/// A route by its number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct RouteId(u32);

impl RouteId {
    /// No route is known.
    pub(crate) const NONE: Self = Self(0);
    /// There are too many.
    pub(crate) const OVERFLOW: Self = Self(u32::MAX);

    /// The route at this place of a table, or one for which there is no room.
    pub(crate) fn of(place: Option<usize>) -> Self {
        let number = place.and_then(|place| u32::try_from(place + 1).ok());
        number.map_or(Self::OVERFLOW, Self)
    }

    pub(crate) fn place(self) -> Option<usize> {
        match self {
            Self::NONE | Self::OVERFLOW => None,
            Self(number) => Some(number as usize - 1),
        }
    }
}

/// How a request came: one of the methods of RFC 9110 and RFC 5789 or another
/// one, with or without TLS.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Protocol(u8);

impl Protocol {
    pub(crate) const COUNT: usize = 2 * (METHODS.len() + 1);

    pub(crate) fn of(head: &RequestHead<'_>) -> Self {
        let known = METHODS.iter().position(|method| method == head.method());
        let scheme = head.uri().scheme().or_else(|| head.extensions().get::<Scheme>());
        let is_secure = scheme.is_some_and(|scheme| *scheme == Scheme::HTTPS);
        Self(known.unwrap_or(METHODS.len()) as u8 * 2 + u8::from(is_secure))
    }

    /// The method; none where it is not a known one.
    pub(crate) fn method(self) -> Option<&'static Method> {
        METHODS.get(usize::from(self.0 / 2))
    }

    pub(crate) fn method_name(self) -> &'static str {
        self.method().map_or("_OTHER", Method::as_str)
    }

    pub(crate) fn scheme(self) -> &'static str {
        if self.0 % 2 == 1 { "https" } else { "http" }
    }

    /// A number below [`COUNT`](Self::COUNT).
    pub(crate) fn index(self) -> usize {
        usize::from(self.0)
    }
}

/// The status itself where it is registered, else the x00 of its class
/// (RFC 9110 §15), so that a service cannot make up hundreds of series.
pub(crate) fn registered(status: StatusCode) -> StatusCode {
    if status == StatusCode::OK || status.canonical_reason().is_some() {
        return status;
    }
    match status.as_u16() / 100 {
        1 => StatusCode::CONTINUE,
        2 => StatusCode::OK,
        3 => StatusCode::MULTIPLE_CHOICES,
        4 => StatusCode::BAD_REQUEST,
        _ => StatusCode::INTERNAL_SERVER_ERROR,
    }
}

static METHODS: [Method; 9] = [
    Method::GET,
    Method::HEAD,
    Method::POST,
    Method::PUT,
    Method::DELETE,
    Method::OPTIONS,
    Method::PATCH,
    Method::CONNECT,
    Method::TRACE,
];

#[cfg(test)]
mod tests {
    use http::Request;

    use super::*;

    fn protocol(request: http::request::Builder) -> Protocol {
        Protocol::of(&RequestHead::new(&request.body(()).unwrap()))
    }

    #[test]
    fn methods_that_nobody_knows_are_one() {
        for (method, name) in [("GET", "GET"), ("TRACE", "TRACE"), ("get", "_OTHER")] {
            assert_eq!(protocol(Request::builder().method(method)).method_name(), name);
        }
        let (one, other) = (Request::builder().method("X"), Request::builder().method("Y"));
        assert_eq!(protocol(one), protocol(other));
    }

    #[test]
    fn the_scheme_is_the_uri_s_or_what_the_server_noted() {
        let noted = Request::builder().extension(Scheme::HTTPS);
        assert_eq!(protocol(noted).scheme(), "https");
        for (uri, scheme) in
            [("/", "http"), ("https://a/", "https"), ("http://a/", "http"), ("gopher://a/", "http")]
        {
            assert_eq!(protocol(Request::get(uri)).scheme(), scheme, "{uri}");
        }
    }

    #[test]
    fn a_status_that_is_not_registered_counts_as_its_class() {
        for (status, label) in
            [(200, 200), (418, 418), (299, 200), (399, 300), (499, 400), (599, 500), (742, 500)]
        {
            assert_eq!(registered(StatusCode::from_u16(status).unwrap()).as_u16(), label);
        }
    }
}
