use std::time::Duration;

use http::header::SET_COOKIE;
use http::{HeaderMap, HeaderName};

use super::ResponseDirectives;
use super::targeted::targeted;

/// What becomes of responses that set a cookie.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum SetCookie {
    /// They are not stored: a cookie is meant for one user, and so, most often,
    /// is the page that comes with it.
    #[default]
    Never,
    /// They are stored without the cookie; only who caused the fill gets it.
    Strip,
    /// They are stored with it when they are explicitly fresh, as RFC 9111
    /// permits.
    Rfc,
}

/// When a stale response answers in place of a failed origin.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum StaleOnError {
    /// Within `stale-if-error` (RFC 5861), of the response or by default.
    #[default]
    Directives,
    /// Always, unless `must-revalidate`, `proxy-revalidate`, `s-maxage` or
    /// `no-cache` forbid it, as RFC 9111 §4.2.4 permits.
    Rfc,
}

impl SetCookie {
    pub(super) fn permits(self, explicitly_fresh: bool) -> bool {
        match self {
            Self::Never => false,
            Self::Strip => true,
            Self::Rfc => explicitly_fresh,
        }
    }
}

/// What the operator of a cache decides, where RFC 9111 leaves it open.
#[derive(Clone, Debug, Default)]
pub(crate) struct Rules {
    pub(crate) set_cookie: SetCookie,
    pub(crate) stale_on_error: StaleOnError,
    /// Fields that are read before `Cache-Control`, in this order.
    pub(crate) targets: Vec<HeaderName>,
    /// The windows of responses that do not name them.
    pub(crate) stale_while_revalidate: Duration,
    pub(crate) stale_if_error: Duration,
}

impl Rules {
    /// The directives that hold for this cache.
    ///
    /// The first targeted field that can be read takes the place of
    /// `Cache-Control` and `Expires` (RFC 9213 §2.2).
    pub(crate) fn directives(&self, response: &HeaderMap) -> ResponseDirectives {
        let mut directives = self
            .targets
            .iter()
            .find_map(|target| targeted(response, target))
            .unwrap_or_else(|| ResponseDirectives::of(response));
        if self.set_cookie == SetCookie::Strip {
            directives.excluded.push(SET_COOKIE);
        }
        directives
    }
}
