use std::num::NonZeroU32;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use tower_edge_core::{Outcome, Trace};

use crate::series::Series;
use crate::server_timing;

/// Which requests are told to `tracing` because they were slow.
#[derive(Clone, Debug, Default)]
pub(crate) struct SlowLog {
    pub(crate) after: Option<Duration>,
    pub(crate) times_p99: Option<NonZeroU32>,
    bound: Arc<Bound>,
}

impl SlowLog {
    /// Whether any request can be slow: only then is a trace worth its cost.
    pub(crate) fn is_on(&self) -> bool {
        self.after.is_some() || self.times_p99.is_some()
    }

    /// Whether so long is slow in a series that has this p99, if it is known.
    pub(crate) fn is_slow(&self, elapsed: Duration, p99: Option<Duration>) -> bool {
        let usual = p99.zip(self.times_p99).map(|(p99, times)| p99.saturating_mul(times.get()));
        self.after.is_some_and(|after| elapsed > after)
            || usual.is_some_and(|usual| elapsed > usual)
    }

    /// Tells that a request was slow, unless that happens too often.
    pub(crate) fn tell(&self, slow: &Slow<'_>, since_start: Duration) {
        let Some(left_out) = self.bound.admit(since_start) else { return };
        let millis = |time: Duration| time.as_micros() as f64 / 1_000.0;
        let labels = slow.series.labels();
        tracing::warn!(
            target: "tower_edge::slow",
            method = labels.map(|labels| labels.protocol.method_name()),
            route = slow.series.route().map(|route| &**route),
            status = labels.and_then(|labels| labels.status).map(|status| status.as_u16()),
            outcome = ?slow.outcome,
            first_byte_ms = slow.first_byte.map(millis),
            total_ms = millis(slow.elapsed),
            steps = slow.trace.map(server_timing::steps),
            left_out,
            "slow request"
        );
    }
}

/// What there is to tell about a slow request.
pub(crate) struct Slow<'a> {
    pub(crate) series: &'a Series,
    pub(crate) outcome: Outcome,
    pub(crate) elapsed: Duration,
    pub(crate) first_byte: Option<Duration>,
    pub(crate) trace: Option<&'a Trace>,
}

/// Lets one through each tenth of a second: when all is slow, the log does not
/// make it slower.
#[derive(Debug, Default)]
struct Bound {
    next_nanos: AtomicU64,
    left_out: AtomicU64,
}

impl Bound {
    /// How many were left out before this one, or none if it is left out too.
    fn admit(&self, now: Duration) -> Option<u64> {
        let now = u64::try_from(now.as_nanos()).unwrap_or(u64::MAX);
        let next = self.next_nanos.load(Relaxed);
        let later = now.saturating_add(SPACING_NANOS);
        let admitted =
            now >= next && self.next_nanos.compare_exchange(next, later, Relaxed, Relaxed).is_ok();
        match admitted {
            true => Some(self.left_out.swap(0, Relaxed)),
            false => {
                self.left_out.fetch_add(1, Relaxed);
                None
            }
        }
    }
}

const SPACING_NANOS: u64 = 100_000_000;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_threshold_or_a_multiple_of_the_usual_is_slow() {
        let millis = Duration::from_millis;
        for (after, times, elapsed, p99, slow) in [
            (None, None, 1_000, Some(1), false),
            (Some(50), None, 50, None, false),
            (Some(50), None, 51, None, true),
            (None, NonZeroU32::new(3), 30, Some(10), false),
            (None, NonZeroU32::new(3), 31, Some(10), true),
            (None, NonZeroU32::new(3), 1_000, None, false),
            (Some(50), NonZeroU32::new(3), 51, Some(1_000), true),
        ] {
            let log = SlowLog { after: after.map(millis), times_p99: times, ..SlowLog::default() };
            assert_eq!(log.is_slow(millis(elapsed), p99.map(millis)), slow, "{log:?} {elapsed}");
        }
    }

    #[test]
    fn ten_are_admitted_a_second_and_the_others_counted() {
        let bound = Bound::default();
        let admitted: Vec<_> =
            (0..2_000).filter_map(|milli| bound.admit(Duration::from_millis(milli))).collect();
        assert_eq!(admitted.len(), 20);
        assert_eq!(admitted[..2], [0, 99]);
    }
}
