use std::time::{Duration, SystemTime};

use http::header::RETRY_AFTER;
use http::{HeaderMap, HeaderName};

/// When a service that failed wants to be asked again: `grpc-retry-pushback-ms`,
/// which trailers may have too, or `Retry-After` (RFC 9110 §10.2.3), in seconds
/// or as a date. At most an hour: a mistake there is not to last for days.
pub(crate) fn retry_after(
    fields: &HeaderMap,
    wall: impl FnOnce() -> SystemTime,
) -> Option<Duration> {
    let text = |name: &HeaderName| fields.get(name)?.to_str().ok().map(str::trim);
    let number = |text: &str| -> Option<u64> {
        let is_number = !text.is_empty() && text.bytes().all(|digit| digit.is_ascii_digit());
        is_number.then(|| text.parse().unwrap_or(u64::MAX))
    };
    let wait = match (text(&PUSHBACK), text(&RETRY_AFTER)) {
        (Some(millis), _) => Duration::from_millis(number(millis)?),
        (None, Some(after)) => match number(after) {
            Some(seconds) => Duration::from_secs(seconds),
            None => httpdate::parse_http_date(after).ok()?.duration_since(wall()).ok()?,
        },
        (None, None) => return None,
    };
    Some(wait.min(MOST))
}

static PUSHBACK: HeaderName = HeaderName::from_static("grpc-retry-pushback-ms");
const MOST: Duration = Duration::from_secs(3_600);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn seconds_dates_and_pushback_are_read_and_nonsense_is_ignored() {
        let wall = SystemTime::UNIX_EPOCH + Duration::from_secs(784_111_777);
        for (name, value, millis) in [
            ("retry-after", "120", Some(120_000)),
            ("retry-after", " 0 ", Some(0)),
            ("retry-after", "Sun, 06 Nov 1994 08:49:47 GMT", Some(10_000)),
            ("retry-after", "Sun, 06 Nov 1994 08:49:27 GMT", None),
            ("retry-after", "99999999999999999999", Some(3_600_000)),
            ("retry-after", "-1", None),
            ("retry-after", "1.5", None),
            ("retry-after", "", None),
            ("retry-after", "soon", None),
            ("grpc-retry-pushback-ms", "250", Some(250)),
            ("grpc-retry-pushback-ms", "-1", None),
            ("grpc-retry-pushback-ms", "+5", None),
            ("date", "120", None),
        ] {
            let fields = HeaderMap::from_iter([(name.parse().unwrap(), value.parse().unwrap())]);
            let wait = retry_after(&fields, || wall).map(|wait| wait.as_millis());
            assert_eq!(wait, millis, "{name}: {value}");
        }
    }
}
