use std::time::{Duration, Instant, SystemTime};

use crate::policy::{Freshness, Kept, Stale};

/// How long a value that was computed is good.
///
/// A `Duration` is one: fresh for so long, and never used when it is stale.
///
/// ```
/// use std::time::Duration;
/// use tower_edge_cache::Ttl;
///
/// let ttl = Ttl::fresh(Duration::from_secs(10))
///     .stale_while_revalidate(Duration::from_secs(60))
///     .stale_if_error(Duration::from_secs(3_600));
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub struct Ttl {
    fresh: Duration,
    while_revalidate: Duration,
    if_error: Duration,
}

impl Ttl {
    /// Fresh for so long; with zero, only who asks meanwhile shares the value.
    pub const fn fresh(time: Duration) -> Self {
        Self { fresh: time, while_revalidate: Duration::ZERO, if_error: Duration::ZERO }
    }

    /// For so long after it went stale it is still given, and computed anew in a
    /// task meanwhile; zero at first.
    pub const fn stale_while_revalidate(self, window: Duration) -> Self {
        Self { while_revalidate: window, ..self }
    }

    /// For so long after it went stale it is given in place of an error; zero at
    /// first.
    pub const fn stale_if_error(self, window: Duration) -> Self {
        Self { if_error: window, ..self }
    }

    /// What is to be kept in mind of a value that was computed just now.
    pub(super) fn kept(self, now: Instant, wall: SystemTime) -> Kept {
        Kept {
            freshness: Freshness::aged(self.fresh, Duration::ZERO, now),
            generated: wall,
            no_cache: false,
            immutable: false,
            stale: Stale {
                forbidden: true,
                while_revalidate: self.while_revalidate,
                if_error: self.if_error,
            },
        }
    }

    pub(super) fn is_zero(self) -> bool {
        self.fresh.is_zero() && self.while_revalidate.is_zero() && self.if_error.is_zero()
    }
}

impl From<Duration> for Ttl {
    fn from(time: Duration) -> Self {
        Self::fresh(time)
    }
}
