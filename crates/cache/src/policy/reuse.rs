use std::time::{Duration, Instant};

use super::{Kept, RequestDirectives};

/// What to do with the stored response that a request selects.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Reuse {
    /// Answer with it; its age goes into the answer.
    Serve { age: Duration },
    /// It has gone stale, or its `no-cache` asks for validation.
    Stale,
    /// The client does not want it as it is.
    Unwanted,
}

/// Decides on a stored response (RFC 9111 §§4, 4.2, 5.2.1).
pub(crate) fn reuse(request: &RequestDirectives, stored: &Kept, now: Instant) -> Reuse {
    let age = stored.freshness.age(now);
    let lifetime = stored.freshness.lifetime();
    if stored.no_cache || age >= lifetime {
        return Reuse::Stale;
    }
    let too_old = request.max_age.is_some_and(|most| age > most);
    let too_short = request.min_fresh.is_some_and(|least| lifetime - age < least);
    match request.no_cache || too_old || too_short {
        true => Reuse::Unwanted,
        false => Reuse::Serve { age },
    }
}

#[cfg(test)]
#[expect(clippy::disallowed_methods, reason = "an instant to count from")]
mod tests {
    use std::time::SystemTime;

    use http::{HeaderMap, StatusCode, header};

    use super::*;
    use crate::policy::{Exchange, storable};

    fn reused(request: &str, response: &str, seconds: u64) -> Reuse {
        let control = |line: &str| -> HeaderMap {
            [(header::CACHE_CONTROL, line.parse().unwrap())].into_iter().collect()
        };
        let start = Instant::now();
        let exchange =
            Exchange { requested: start, responded: start, wall: SystemTime::UNIX_EPOCH };
        let mut response = control(response);
        response.insert(header::ETAG, "\"a\"".parse().unwrap());
        let stored = storable(&HeaderMap::new(), StatusCode::OK, &response, &exchange).unwrap();
        let request = RequestDirectives::of(&control(request));
        reuse(&request, &stored, start + Duration::from_secs(seconds))
    }

    #[test]
    fn a_fresh_response_is_served_unless_the_client_says_no() {
        let serve = |age| Reuse::Serve { age: Duration::from_secs(age) };
        for (request, response, age, verdict) in [
            ("", "max-age=60", 0, serve(0)),
            ("", "max-age=60", 59, serve(59)),
            ("", "max-age=60", 60, Reuse::Stale),
            ("", "max-age=60, no-cache", 0, Reuse::Stale),
            ("no-cache", "max-age=60", 0, Reuse::Unwanted),
            ("max-age=10", "max-age=60", 10, serve(10)),
            ("max-age=10", "max-age=60", 11, Reuse::Unwanted),
            ("max-age=0", "max-age=60", 0, serve(0)),
            ("min-fresh=10", "max-age=60", 50, serve(50)),
            ("min-fresh=10", "max-age=60", 51, Reuse::Unwanted),
        ] {
            assert_eq!(reused(request, response, age), verdict, "{request} {response} {age}");
        }
    }
}
