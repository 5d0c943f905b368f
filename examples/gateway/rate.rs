//! The quotas that `--rate` and its kin ask for.

use std::num::{NonZeroU32, NonZeroUsize};
use std::sync::Arc;
use std::time::Duration;

use http::HeaderName;
use tower_edge::core::{Cidr, ClientIp, HeaderKey};
use tower_edge::limit::{Keyless, Limit, Quota, RateLimitLayer, nonzero};

/// So many requests in a period, known to clients as it was written.
#[derive(Clone, Debug)]
pub(crate) struct Rate {
    name: Arc<str>,
    quota: Quota,
}

/// What requests are told apart by.
#[derive(Clone, Debug)]
pub(crate) enum RateKey {
    Client,
    Header(HeaderName),
    Global,
}

/// The layer with all these rates; none without one.
pub(crate) fn layer(rates: &[Rate], key: &RateKey, trusted: &[Cidr]) -> Option<RateLimitLayer> {
    let keyed = |limit: Limit| match key {
        RateKey::Client => limit.keyed(ClientIp::trusting(trusted.iter().copied())),
        // Who leaves the field out is not to be better off.
        RateKey::Header(name) => limit.keyed(HeaderKey::new(name.clone())).keyless(Keyless::Share),
        RateKey::Global => limit,
    };
    let limit = |rate: &Rate| keyed(Limit::new(rate.name.clone(), rate.quota).keys(KEYS));
    let (first, more) = rates.split_first()?;
    let layer = RateLimitLayer::new(limit(first));
    Some(more.iter().fold(layer, |layer, rate| layer.limit(limit(rate))))
}

/// The same, where requests wait for their quota.
pub(crate) fn waiting(layer: RateLimitLayer, wait: Option<Duration>) -> RateLimitLayer {
    match wait {
        Some(most) => layer.wait(most, PLACES),
        None => layer,
    }
}

/// Such as `100/1s`.
pub(crate) fn rate(text: &str) -> Result<Rate, &'static str> {
    const RIGHT: &str = "expected a number and a period, such as 100/1s, 500/250ms or 5000/1h";
    let (permits, period) = text.split_once('/').ok_or(RIGHT)?;
    let permits: NonZeroU32 = permits.parse().map_err(|_| RIGHT)?;
    let digits = period.bytes().take_while(u8::is_ascii_digit).count();
    let (number, unit) = period.split_at(digits);
    let millis: u64 = match unit {
        "ms" => 1,
        "s" => 1_000,
        "m" => 60_000,
        "h" => 3_600_000,
        "d" => 86_400_000,
        _ => return Err(RIGHT),
    };
    let number: u64 = number.parse().map_err(|_| RIGHT)?;
    let millis = number.checked_mul(millis).filter(|millis| *millis > 0).ok_or(RIGHT)?;
    let quota = Quota::per(permits, Duration::from_millis(millis));
    Ok(Rate { name: text.into(), quota })
}

pub(crate) fn key(text: &str) -> Result<RateKey, &'static str> {
    const RIGHT: &str = "expected client, global or header:NAME, such as header:x-api-key";
    match text {
        "client" => Ok(RateKey::Client),
        "global" => Ok(RateKey::Global),
        _ => {
            let name = text.strip_prefix("header:").ok_or(RIGHT)?;
            name.parse().map(RateKey::Header).map_err(|_| RIGHT)
        }
    }
}

/// Of each rate, 16 bytes each.
const KEYS: NonZeroUsize = nonzero!(262_144);
/// How many requests of a client may wait.
const PLACES: NonZeroUsize = nonzero!(100);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rate_is_a_number_and_a_period() {
        for (text, quota) in [
            ("100/1s", Some((100, 1_000))),
            ("5000/1h", Some((5_000, 3_600_000))),
            ("1/250ms", Some((1, 250))),
            ("7/2d", Some((7, 172_800_000))),
            ("10/5m", Some((10, 300_000))),
            ("0/1s", None),
            ("1/0s", None),
            ("1/s", None),
            ("1/1w", None),
            ("1", None),
            ("-1/1s", None),
            ("1/99999999999999999999s", None),
        ] {
            let read = rate(text).ok().map(|rate| {
                let period = rate.quota.period().as_millis();
                (rate.quota.permits().get(), period)
            });
            assert_eq!(read, quota, "{text}");
        }
    }

    #[test]
    fn a_key_is_the_client_a_field_or_nothing() {
        assert!(matches!(key("client"), Ok(RateKey::Client)));
        assert!(matches!(key("global"), Ok(RateKey::Global)));
        assert!(
            matches!(key("header:X-Api-Key"), Ok(RateKey::Header(name)) if name == "x-api-key")
        );
        for wrong in ["", "header:", "header:a b", "ip"] {
            assert!(key(wrong).is_err(), "{wrong}");
        }
    }
}
