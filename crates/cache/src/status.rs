use http::header::CACHE_STATUS;
use http::{HeaderMap, HeaderValue};

/// Why a request went upstream, in the words of RFC 9211 §2.2.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Forward {
    Bypass,
    Method,
    UriMiss,
    VaryMiss,
    Request,
    Stale,
}

/// What became of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Status {
    Hit,
    /// It was forwarded, and the response passed on.
    Forwarded(Forward),
    /// It was forwarded, and the response is stored while it passes.
    Stored(Forward),
    /// It was forwarded as a validation, and what is stored is still good.
    Validated(Forward),
    /// It wanted only what is stored, and there was nothing.
    Unsatisfied,
}

impl Status {
    /// Adds the member of this cache to `Cache-Status`, behind those of the
    /// caches nearer to the origin; an empty value is a slot to be filled.
    pub(crate) fn add_to(self, fields: &mut HeaderMap) {
        let member = HeaderValue::from_static(self.member());
        match fields.get_mut(CACHE_STATUS) {
            Some(slot) if slot.is_empty() => *slot = member,
            _ => drop(fields.append(CACHE_STATUS, member)),
        }
    }

    /// The word for logs and traces.
    pub(crate) const fn word(self) -> &'static str {
        match self {
            Self::Hit => "hit",
            Self::Validated(_) => "validated",
            Self::Unsatisfied => "unsatisfied",
            Self::Forwarded(forward) | Self::Stored(forward) => match forward {
                Forward::Bypass => "bypass",
                Forward::Method => "method",
                Forward::UriMiss | Forward::VaryMiss => "miss",
                Forward::Request => "request",
                Forward::Stale => "stale",
            },
        }
    }

    const fn member(self) -> &'static str {
        use Forward::{Bypass, Method, Request, Stale, UriMiss, VaryMiss};
        match self {
            Self::Hit => "tower-edge; hit",
            Self::Unsatisfied => "tower-edge; detail=only-if-cached",
            Self::Forwarded(Bypass) | Self::Stored(Bypass) => "tower-edge; fwd=bypass",
            Self::Forwarded(Method) | Self::Stored(Method) => "tower-edge; fwd=method",
            Self::Forwarded(UriMiss) => "tower-edge; fwd=uri-miss",
            Self::Forwarded(VaryMiss) => "tower-edge; fwd=vary-miss",
            Self::Forwarded(Request) => "tower-edge; fwd=request",
            Self::Forwarded(Stale) => "tower-edge; fwd=stale",
            Self::Stored(UriMiss) => "tower-edge; fwd=uri-miss; stored",
            Self::Stored(VaryMiss) => "tower-edge; fwd=vary-miss; stored",
            Self::Stored(Request) => "tower-edge; fwd=request; stored",
            Self::Stored(Stale) => "tower-edge; fwd=stale; stored",
            Self::Validated(Request) => "tower-edge; fwd=request; fwd-status=304",
            Self::Validated(_) => "tower-edge; fwd=stale; fwd-status=304",
        }
    }
}
