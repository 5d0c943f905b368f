use std::time::{Duration, Instant};

use super::{Kept, RequestDirectives, Rules, StaleOnError};

/// What to do with the stored response that a request selects.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Reuse {
    /// Answer with it; its age goes into the answer.
    Serve { age: Duration },
    /// Answer with it, and refresh it meanwhile (RFC 5861 §3).
    ServeAndRefresh { age: Duration },
    /// It has gone stale, or its `no-cache` asks for validation.
    Stale,
    /// The client does not want it as it is.
    Unwanted,
}

/// Decides on a stored response (RFC 9111 §§4, 4.2, 5.2.1).
pub(crate) fn reuse(request: &RequestDirectives, stored: &Kept, now: Instant) -> Reuse {
    let age = stored.freshness.age(now);
    let lifetime = stored.freshness.lifetime();
    if stored.no_cache {
        return Reuse::Stale;
    }
    let left = lifetime.saturating_sub(age);
    let immutable = stored.immutable && !left.is_zero();
    let too_old = !immutable && request.max_age.is_some_and(|most| age > most);
    let too_short = request.min_fresh.is_some_and(|least| left < least);
    if request.no_cache || too_old || too_short {
        return if left.is_zero() { Reuse::Stale } else { Reuse::Unwanted };
    }
    if !left.is_zero() {
        return Reuse::Serve { age };
    }
    let staleness = age.saturating_sub(lifetime);
    // §5.2.1.1: who states an age, and no max-stale, wants nothing stale.
    let wants_fresh = request.max_age.is_some() && request.max_stale.is_none();
    if staleness < stored.stale.while_revalidate && !wants_fresh {
        Reuse::ServeAndRefresh { age }
    } else if !stored.stale.forbidden && request.max_stale.is_some_and(|most| staleness <= most) {
        Reuse::Serve { age }
    } else {
        Reuse::Stale
    }
}

/// Whether a response may answer a request that wants nothing special.
pub(crate) fn is_reusable(stored: &Kept, now: Instant) -> bool {
    let reuse = reuse(&RequestDirectives::default(), stored, now);
    matches!(reuse, Reuse::Serve { .. } | Reuse::ServeAndRefresh { .. })
}

/// Whether a stale response may answer in place of a failed origin, because the
/// origin, the client or the operator permits it (RFC 9111 §4.2.4, RFC 5861 §4).
pub(crate) fn may_replace_error(
    rules: &Rules,
    request: &RequestDirectives,
    stored: &Kept,
    now: Instant,
) -> bool {
    let staleness = stored.freshness.age(now).saturating_sub(stored.freshness.lifetime());
    let disconnected = rules.stale_on_error == StaleOnError::Rfc;
    let accepted = request.stale_if_error.is_some_and(|most| staleness < most);
    let permitted = !stored.stale.forbidden && (disconnected || accepted);
    !stored.no_cache && (permitted || staleness < stored.stale.if_error)
}

#[cfg(test)]
#[expect(clippy::disallowed_methods, reason = "an instant to count from")]
mod tests {
    use std::time::SystemTime;

    use http::{HeaderMap, StatusCode, header};

    use super::*;
    use crate::mark::Mark;
    use crate::policy::{Candidate, Exchange, storable};

    fn control(line: &str) -> HeaderMap {
        [(header::CACHE_CONTROL, line.parse().unwrap())].into_iter().collect()
    }

    /// A stored response, and the moment at which it is this old.
    fn stored(response: &str, seconds: u64) -> (Kept, Instant) {
        let start = Instant::now();
        let mut headers = control(response);
        headers.insert(header::ETAG, "\"a\"".parse().unwrap());
        let candidate = Candidate {
            request: &HeaderMap::new(),
            default_ttl: None,
            status: StatusCode::OK,
            headers: &headers,
            exchange: Exchange { requested: start, responded: start, wall: SystemTime::UNIX_EPOCH },
        };
        let (kept, _) = storable(&Rules::default(), &candidate).unwrap();
        (kept, start + Duration::from_secs(seconds))
    }

    fn reused(request: &str, response: &str, seconds: u64) -> Reuse {
        let (stored, now) = stored(response, seconds);
        reuse(&RequestDirectives::of(&control(request)), &stored, now)
    }

    #[test]
    fn a_fresh_response_is_served_unless_the_client_says_no() {
        let serve = |age| Reuse::Serve { age: Duration::from_secs(age) };
        let refresh = |age| Reuse::ServeAndRefresh { age: Duration::from_secs(age) };
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
            ("no-cache", "max-age=60", 60, Reuse::Stale),
            ("max-stale=5", "max-age=60", 65, serve(65)),
            ("max-stale=5", "max-age=60", 66, Reuse::Stale),
            ("max-stale", "max-age=60", 9_999, serve(9_999)),
            ("max-stale", "max-age=60, must-revalidate", 60, Reuse::Stale),
            ("max-stale", "s-maxage=60", 60, Reuse::Stale),
            ("max-stale, max-age=50", "max-age=60", 60, Reuse::Stale),
            ("", "max-age=60, stale-while-revalidate=5", 64, refresh(64)),
            ("", "max-age=60, stale-while-revalidate=5", 65, Reuse::Stale),
            ("no-cache", "max-age=60, stale-while-revalidate=5", 64, Reuse::Stale),
            ("max-age=99", "max-age=60, stale-while-revalidate=5", 64, Reuse::Stale),
            ("max-age=99, max-stale", "max-age=60, stale-while-revalidate=5", 64, refresh(64)),
            ("max-age=0", "max-age=60, immutable", 59, serve(59)),
            ("max-age=0", "max-age=60, immutable", 60, Reuse::Stale),
            ("no-cache", "max-age=60, immutable", 59, Reuse::Unwanted),
            ("min-fresh=2", "max-age=60, immutable", 59, Reuse::Unwanted),
        ] {
            assert_eq!(reused(request, response, age), verdict, "{request} {response} {age}");
        }
    }

    #[test]
    fn a_purged_response_is_stale_even_to_who_began_before_the_last_purge() {
        let (stored, now) = stored("max-age=60, stale-while-revalidate=5", 10);
        let seconds = Duration::from_secs;
        for (since, verdict) in [
            (now + seconds(1), Reuse::ServeAndRefresh { age: seconds(10) }),
            (now, Reuse::ServeAndRefresh { age: seconds(10) }),
            (now - seconds(4), Reuse::ServeAndRefresh { age: seconds(10) }),
            (now - seconds(5), Reuse::Stale),
        ] {
            let mark = Mark::default();
            mark.stale(since, false);
            let purged = mark.purged(&stored, now);
            assert_eq!(reuse(&RequestDirectives::default(), &purged, now), verdict);
            mark.stale(since, true);
            let purged = mark.purged(&stored, now);
            assert_eq!(reuse(&RequestDirectives::default(), &purged, now), Reuse::Stale);
        }
    }

    #[test]
    fn a_failed_origin_may_be_replaced_within_its_window_or_as_the_rfc_permits() {
        let directives = Rules::default();
        let rfc = Rules { stale_on_error: StaleOnError::Rfc, ..Rules::default() };
        for (rules, request, response, age, replaced) in [
            (&directives, "", "max-age=60", 61, false),
            (&directives, "", "max-age=60, stale-if-error=5", 64, true),
            (&directives, "", "max-age=60, stale-if-error=5", 65, false),
            (&directives, "", "max-age=60, stale-if-error=5, no-cache", 1, false),
            (&directives, "stale-if-error=5", "max-age=60", 64, true),
            (&directives, "stale-if-error=5", "max-age=60", 65, false),
            (&directives, "stale-if-error", "max-age=60", 61, false),
            (&directives, "stale-if-error=5", "max-age=60, must-revalidate", 64, false),
            (&directives, "stale-if-error=5", "s-maxage=60", 64, false),
            (&rfc, "", "max-age=60", 99_999, true),
            (&rfc, "", "max-age=60, must-revalidate", 61, false),
            (&rfc, "", "s-maxage=60", 61, false),
            (&rfc, "", "s-maxage=60, stale-if-error=5", 64, true),
        ] {
            let (stored, now) = stored(response, age);
            let request = RequestDirectives::of(&control(request));
            let may = may_replace_error(rules, &request, &stored, now);
            assert_eq!(may, replaced, "{request:?} {response} {age}");
        }
    }
}
