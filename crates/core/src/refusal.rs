use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::header::RETRY_AFTER;
use http::{Response, StatusCode};

use crate::problem::{for_method, number};
use crate::{Problem, RequestHead};

/// Why one of our layers did not call on, and when to come back.
///
/// It becomes a response ([`response`](Self::response)) and travels in its
/// extensions, where the layers outside find it: a refusal is no outcome of the
/// service, and a cache may answer stale instead.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Refusal {
    reason: Reason,
    retry_after: Option<Duration>,
}

/// The kinds of [`Refusal`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Reason {
    /// The client's quota is used up: 429, RESOURCE_EXHAUSTED.
    RateLimited,
    /// The service has no capacity left: 503, UNAVAILABLE.
    Overloaded,
    /// The circuit to the service is open: 503, UNAVAILABLE.
    CircuitOpen,
    /// The request's deadline would pass, or has passed: 504, DEADLINE_EXCEEDED.
    DeadlineExceeded,
}

/// Builds the response to a refusal in place of [`Refusal::response`].
pub type OnRefuse = Arc<dyn Fn(&Refusal, &RequestHead<'_>) -> Response<Bytes> + Send + Sync>;

impl Refusal {
    /// Refuses without saying when to come back.
    pub const fn new(reason: Reason) -> Self {
        Self { reason, retry_after: None }
    }

    /// Names the earliest moment, from now, at which a retry can succeed.
    #[must_use]
    pub const fn retry_after(mut self, wait: Duration) -> Self {
        self.retry_after = Some(wait);
        self
    }

    /// Why.
    pub const fn reason(&self) -> Reason {
        self.reason
    }

    /// How long to wait, where it is known.
    pub const fn wait(&self) -> Option<Duration> {
        self.retry_after
    }

    /// Renders the refusal for the client of `request`, as [`Problem`] does, and
    /// puts it into the extensions.
    ///
    /// `Retry-After` is in seconds, rounded up and never 0; gRPC clients get
    /// `grpc-retry-pushback-ms`.
    pub fn response(&self, request: &RequestHead<'_>) -> Response<Bytes> {
        self.response_naming(&[], request)
    }

    /// As [`response`](Self::response), naming the quotas that were exceeded to
    /// clients that read JSON: the member `violated-policies` of the problem type
    /// `quota-exceeded` (draft-ietf-httpapi-ratelimit-headers-11 §5.1).
    ///
    /// Names are printable ASCII without quotes and backslashes.
    pub fn response_naming(&self, policies: &[&str], request: &RequestHead<'_>) -> Response<Bytes> {
        let members = match policies {
            [] => String::new(),
            names => format!(r#","violated-policies":["{}"]"#, names.join(r#"",""#)),
        };
        let mut response = self.problem().response_with(request, &members);
        if let Some(wait) = self.retry_after {
            let millis =
                u64::try_from(wait.as_nanos().div_ceil(1_000_000)).unwrap_or(u64::MAX).max(1);
            let fields = response.headers_mut();
            match request.is_grpc() {
                true => fields.insert("grpc-retry-pushback-ms", number(millis)),
                false => fields.insert(RETRY_AFTER, number(millis.div_ceil(1_000))),
            };
        }
        response.extensions_mut().insert(*self);
        response
    }

    /// As [`response`](Self::response), by the user's function where there is one.
    pub fn response_by(&self, by: Option<&OnRefuse>, request: &RequestHead<'_>) -> Response<Bytes> {
        let Some(by) = by else { return self.response(request) };
        let mut response = for_method(request, by(self, request));
        response.extensions_mut().insert(*self);
        response
    }

    const fn problem(&self) -> Problem {
        let (status, grpc_status, detail) = match self.reason {
            Reason::RateLimited => (StatusCode::TOO_MANY_REQUESTS, 8, "quota exceeded"),
            Reason::Overloaded => (StatusCode::SERVICE_UNAVAILABLE, 14, "service is overloaded"),
            Reason::CircuitOpen => (StatusCode::SERVICE_UNAVAILABLE, 14, "service is unavailable"),
            Reason::DeadlineExceeded => (StatusCode::GATEWAY_TIMEOUT, 4, "deadline exceeded"),
        };
        let problem = Problem::new(status, grpc_status, detail);
        match self.reason {
            Reason::RateLimited => problem.of_type(QUOTA_EXCEEDED, QUOTA_EXCEEDED_TITLE),
            _ => problem,
        }
    }
}

const QUOTA_EXCEEDED: &str = "https://iana.org/assignments/http-problem-types#quota-exceeded";
const QUOTA_EXCEEDED_TITLE: &str =
    "Request cannot be satisfied as assigned quota has been exceeded";

#[cfg(test)]
mod tests {
    use http::Request;

    use super::*;

    fn refused(refusal: Refusal, media_type: &str) -> Response<Bytes> {
        let request = Request::builder().header("content-type", media_type).body(()).unwrap();
        refusal.response(&RequestHead::new(&request))
    }

    #[test]
    fn each_reason_has_its_statuses() {
        for (reason, status, grpc) in [
            (Reason::RateLimited, 429, "8"),
            (Reason::Overloaded, 503, "14"),
            (Reason::CircuitOpen, 503, "14"),
            (Reason::DeadlineExceeded, 504, "4"),
        ] {
            let refusal = Refusal::new(reason);
            let response = refused(refusal, "text/plain");
            assert_eq!(response.status(), status);
            assert_eq!(response.extensions().get(), Some(&refusal));
            assert!(!response.headers().contains_key("retry-after"));
            assert_eq!(refused(refusal, "application/grpc").headers()["grpc-status"], grpc);
        }
    }

    #[test]
    fn retry_after_is_rounded_up_and_never_zero() {
        for (wait, seconds, millis) in [
            (Duration::ZERO, "1", "1"),
            (Duration::from_nanos(1), "1", "1"),
            (Duration::from_millis(1_000), "1", "1000"),
            (Duration::from_micros(1_000_001), "2", "1001"),
            (Duration::MAX, "18446744073709552", "18446744073709551615"),
        ] {
            let refusal = Refusal::new(Reason::RateLimited).retry_after(wait);
            assert_eq!(refused(refusal, "").headers()["retry-after"], seconds);
            let grpc = refused(refusal, "application/grpc");
            assert_eq!(grpc.headers()["grpc-retry-pushback-ms"], millis);
            assert!(!grpc.headers().contains_key("retry-after"));
        }
    }

    #[test]
    fn a_quota_that_was_exceeded_has_a_type_and_its_name() {
        let request = Request::new(());
        let refusal = Refusal::new(Reason::RateLimited);
        let response = refusal.response_naming(&["daily", "burst"], &RequestHead::new(&request));
        let expected = concat!(
            r#"{"type":"https://iana.org/assignments/http-problem-types#quota-exceeded","#,
            r#""status":429,"#,
            r#""title":"Request cannot be satisfied as assigned quota has been exceeded","#,
            r#""detail":"quota exceeded","violated-policies":["daily","burst"]}"#,
        );
        assert_eq!(response.body(), expected);
        let plain = refusal.response(&RequestHead::new(&request));
        assert!(plain.body().ends_with(br#""detail":"quota exceeded"}"#));
    }

    #[test]
    fn the_user_may_build_the_response() {
        let by: OnRefuse = Arc::new(|refusal, head| {
            Response::new(format!("{:?} {}", refusal.reason(), head.uri()).into())
        });
        let request = Request::get("/x").body(()).unwrap();
        let refusal = Refusal::new(Reason::CircuitOpen);
        let response = refusal.response_by(Some(&by), &RequestHead::new(&request));
        assert_eq!(response.body(), "CircuitOpen /x");
        let head = Request::head("/x").body(()).unwrap();
        assert!(refusal.response_by(Some(&by), &RequestHead::new(&head)).body().is_empty());
        assert_eq!(response.extensions().get(), Some(&refusal));
    }
}
