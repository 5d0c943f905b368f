use std::time::{Duration, Instant, SystemTime};

use http::header::{AGE, DATE, EXPIRES, LAST_MODIFIED};
use http::{HeaderMap, HeaderName, StatusCode};

use super::ResponseDirectives;
use super::directives::{FOREVER, delta_seconds};

/// When a response was asked for and when its head arrived.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Exchange {
    pub(crate) requested: Instant,
    pub(crate) responded: Instant,
    /// The wall clock at `responded`.
    pub(crate) wall: SystemTime,
}

/// How long a response is fresh, and how old it is (RFC 9111 §4.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Freshness {
    lifetime: Duration,
    initial_age: Duration,
    responded: Instant,
}

impl Freshness {
    pub(crate) fn of(
        status: StatusCode,
        headers: &HeaderMap,
        directives: &ResponseDirectives,
        default_ttl: Option<Duration>,
        exchange: &Exchange,
    ) -> Self {
        let explicit = explicit_lifetime(headers, directives, exchange.wall);
        let guess = || heuristic_lifetime(status, headers, directives, default_ttl, exchange.wall);
        Self {
            lifetime: explicit.unwrap_or_else(guess),
            initial_age: initial_age(headers, exchange),
            responded: exchange.responded,
        }
    }

    /// That of a response which is of this age now.
    pub(crate) fn aged(lifetime: Duration, age: Duration, now: Instant) -> Self {
        Self { lifetime, initial_age: age, responded: now }
    }

    /// `current_age` (§4.2.3).
    pub(crate) fn age(&self, now: Instant) -> Duration {
        self.initial_age.saturating_add(now.saturating_duration_since(self.responded))
    }

    pub(crate) fn lifetime(&self) -> Duration {
        self.lifetime
    }

    /// The same, but fresh no longer than until `end`.
    pub(crate) fn ended(self, end: Instant) -> Self {
        Self { lifetime: self.lifetime.min(self.age(end)), ..self }
    }

    /// Whether this response arrived after the other one.
    pub(crate) fn is_later(&self, other: &Self) -> bool {
        self.responded > other.responded
    }
}

/// Whether a status may be reused without explicit freshness (RFC 9110 §15.1).
pub(super) fn is_heuristically_cacheable(status: StatusCode) -> bool {
    matches!(status.as_u16(), 200 | 203 | 204 | 206 | 300 | 301 | 308 | 404 | 405 | 410 | 414 | 501)
}

/// Whether a status is about who asked, or how, more than about the resource:
/// then `public` lets a cache store it, but no operator guesses for how long.
fn concerns_one_client(status: StatusCode) -> bool {
    matches!(status.as_u16(), 401 | 403 | 407 | 412 | 416 | 421 | 429)
}

/// `freshness_lifetime` (§4.2.1).
fn explicit_lifetime(
    headers: &HeaderMap,
    directives: &ResponseDirectives,
    wall: SystemTime,
) -> Option<Duration> {
    let stated = directives.s_maxage.or(directives.max_age);
    stated.or_else(|| {
        let generated = date(headers, DATE).unwrap_or(wall);
        // §5.3: what is no date, such as 0, has expired.
        let left = |expires: SystemTime| expires.duration_since(generated).unwrap_or_default();
        directives.expires.then(|| date(headers, EXPIRES).map_or(Duration::ZERO, left))
    })
}

/// How long a response is taken for fresh whose origin says nothing (§4.2.2):
/// as the operator says, else a tenth of the time since it was modified.
fn heuristic_lifetime(
    status: StatusCode,
    headers: &HeaderMap,
    directives: &ResponseDirectives,
    default_ttl: Option<Duration>,
    wall: SystemTime,
) -> Duration {
    if !directives.public && !is_heuristically_cacheable(status) {
        return Duration::ZERO;
    }
    default_ttl.filter(|_| !concerns_one_client(status)).unwrap_or_else(|| {
        let generated = date(headers, DATE).unwrap_or(wall);
        let modified = date(headers, LAST_MODIFIED);
        let unchanged = modified.and_then(|modified| generated.duration_since(modified).ok());
        (unchanged.unwrap_or_default() / 10).min(LONGEST_HEURISTIC)
    })
}

/// `corrected_initial_age` (§4.2.3).
pub(crate) fn initial_age(headers: &HeaderMap, exchange: &Exchange) -> Duration {
    let generated = date(headers, DATE).unwrap_or(exchange.wall);
    let apparent = exchange.wall.duration_since(generated).unwrap_or_default();
    let delay = exchange.responded.saturating_duration_since(exchange.requested);
    apparent.max(age_value(headers) + delay)
}

/// `Age` of the first line; a list and what is no number may mean any age, so
/// that the response is stale (§5.1).
fn age_value(headers: &HeaderMap) -> Duration {
    let first = headers.get(AGE).map(|age| delta_seconds(age.as_bytes().trim_ascii()));
    first.map_or(Duration::ZERO, |age| age.unwrap_or(FOREVER))
}

/// The only value of a date field, in any of the three forms (RFC 9110 §5.6.7).
pub(crate) fn date(headers: &HeaderMap, name: HeaderName) -> Option<SystemTime> {
    let mut values = headers.get_all(name).iter();
    let value = values.next()?.to_str().ok()?.trim();
    let date = httpdate::parse_http_date(value);
    let date = date.or_else(|_| httpdate::parse_http_date(&cased(value))).ok()?;
    values.next().is_none().then_some(date)
}

/// A date in the case that the grammar wants: caches are not to mind it (§4.2).
fn cased(date: &str) -> String {
    let mut inside = false;
    let letter = |c: char| match std::mem::replace(&mut inside, c.is_ascii_alphabetic()) {
        true => c.to_ascii_lowercase(),
        false => c.to_ascii_uppercase(),
    };
    let cased: String = date.chars().take(LONGEST_DATE).map(letter).collect();
    cased.replace("Gmt", "GMT")
}

/// No date is longer: `Wednesday, 09-Nov-94 08:49:37 GMT`, with something to
/// spare, so that what goes on is no date.
const LONGEST_DATE: usize = 40;

/// A guess is good for a day at most.
const LONGEST_HEURISTIC: Duration = Duration::from_secs(24 * 60 * 60);

#[cfg(test)]
#[expect(clippy::disallowed_methods, reason = "an instant to count from")]
mod tests {
    use super::*;

    const NOW: Duration = Duration::from_secs(784_111_777);

    fn freshness(status: u16, fields: &[(&str, &str)], delay: u64) -> (u64, u64) {
        let fields =
            fields.iter().map(|(name, value)| (name.parse().unwrap(), value.parse().unwrap()));
        let headers: HeaderMap = fields.collect();
        let requested = Instant::now();
        let exchange = Exchange {
            requested,
            responded: requested + Duration::from_secs(delay),
            wall: SystemTime::UNIX_EPOCH + NOW,
        };
        let directives = ResponseDirectives::of(&headers);
        let status = StatusCode::from_u16(status).unwrap();
        let found = Freshness::of(status, &headers, &directives, None, &exchange);
        (found.lifetime().as_secs(), found.age(exchange.responded).as_secs())
    }

    /// `NOW` as a date, and dates around it.
    const DATE_NOW: &str = "Sun, 06 Nov 1994 08:49:37 GMT";
    const DATE_NEXT_MINUTE: &str = "Sun, 06 Nov 1994 08:50:37 GMT";
    const DATE_LAST_MINUTE: &str = "Sun, 06 Nov 1994 08:48:37 GMT";
    const DATE_LAST_HOUR: &str = "Sun, 06 Nov 1994 07:49:37 GMT";
    const DATE_LAST_YEAR: &str = "Sat, 06 Nov 1993 08:49:37 GMT";

    #[test]
    fn the_lifetime_is_the_strongest_statement() {
        for (status, fields, seconds) in [
            (
                200,
                &[("cache-control", "max-age=5, s-maxage=7"), ("expires", DATE_NEXT_MINUTE)][..],
                7,
            ),
            (200, &[("cache-control", "max-age=5"), ("expires", DATE_NEXT_MINUTE)], 5),
            (200, &[("expires", DATE_NEXT_MINUTE), ("date", DATE_LAST_MINUTE)], 120),
            (200, &[("expires", "Sunday, 06-Nov-94 08:50:37 GMT")], 60),
            (200, &[("expires", "Sun Nov  6 08:50:37 1994")], 60),
            (200, &[("expires", "sUN, 06 NOV 1994 08:50:37 gmt")], 60),
            (200, &[("expires", "sunday, 06-nov-94 08:50:37 Gmt")], 60),
            (200, &[("expires", "SUN NOV  6 08:50:37 1994")], 60),
            (200, &[("expires", "Sun, 06 Nov 1994 08:50:37 CET")], 0),
            (200, &[("expires", "Sun, 06 Nov 1994 08:50:37 +0100")], 0),
            (200, &[("expires", "0")], 0),
            (200, &[("expires", DATE_NEXT_MINUTE), ("expires", DATE_NEXT_MINUTE)], 0),
            (200, &[("expires", "0"), ("last-modified", DATE_LAST_HOUR)], 0),
            (200, &[("last-modified", DATE_LAST_HOUR)], 360),
            (200, &[("last-modified", DATE_LAST_YEAR)], 86_400),
            (200, &[("last-modified", DATE_NEXT_MINUTE)], 0),
            (500, &[("last-modified", DATE_LAST_HOUR)], 0),
            (500, &[("last-modified", DATE_LAST_HOUR), ("cache-control", "public")], 360),
            (500, &[("cache-control", "max-age=5")], 5),
            (200, &[], 0),
        ] {
            assert_eq!(freshness(status, fields, 0).0, seconds, "{fields:?}");
        }
    }

    #[test]
    fn the_age_is_the_larger_of_both_ways() {
        for (fields, delay, seconds) in [
            (&[][..], 0, 0),
            (&[("age", "30")], 2, 32),
            (&[("age", "30"), ("date", DATE_LAST_MINUTE)], 2, 60),
            (&[("age", "70"), ("date", DATE_LAST_MINUTE)], 2, 72),
            (&[("date", DATE_NEXT_MINUTE)], 2, 2),
            (&[("age", "3"), ("age", "9")], 0, 3),
            (&[("age", "3"), ("age", "x")], 0, 3),
            (&[("age", "99999999999999999999")], 0, 1 << 31),
            (&[("age", "3, 9")], 0, 1 << 31),
            (&[("age", "-3")], 0, 1 << 31),
            (&[("age", "+3")], 0, 1 << 31),
            (&[("age", "1.5")], 0, 1 << 31),
            (&[("age", "")], 0, 1 << 31),
            (&[("age", "x"), ("age", "3")], 0, 1 << 31),
            (&[("date", DATE_NOW), ("age", "x")], 0, 1 << 31),
        ] {
            assert_eq!(freshness(200, fields, delay).1, seconds, "{fields:?}");
        }
    }
}
