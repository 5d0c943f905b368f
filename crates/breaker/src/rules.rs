use std::time::Duration;

use super::backoff::Backoff;
use super::trip::Trip;

/// What a circuit goes by; may change while it runs.
#[derive(Clone, Debug)]
pub(crate) struct Rules {
    pub(crate) trips: Box<[Trip]>,
    pub(crate) backoff: Backoff,
    /// How many probes there may be in flight, and have to go well; at least one.
    pub(crate) probes: u8,
    /// How long they may take.
    pub(crate) half_open: Duration,
    /// How long admission grows after closing; zero is at once.
    pub(crate) ramp: Duration,
}

impl Rules {
    /// Whether a slow probe has failed: slowness is a reason to open.
    pub(crate) fn minds_slowness(&self) -> bool {
        self.trips.iter().any(Trip::is_slow)
    }
}
