use super::call_ring::CallRing;
use super::time_ring::TimeRing;
use super::window::{Counts, Kind, Mark, Window};

/// What a window has recorded.
#[derive(Debug)]
#[expect(clippy::large_enum_variant, reason = "a box would be one more step on every call")]
pub(crate) enum Ring {
    Calls(CallRing),
    Time(TimeRing),
}

impl Ring {
    pub(crate) fn new(window: Window) -> Self {
        match window.0 {
            Kind::Calls(calls) => Self::Calls(CallRing::new(calls.get())),
            Kind::Time(time) => Self::Time(TimeRing::new(time.as_nanos() as u64)),
        }
    }

    #[inline(never)]
    pub(crate) fn record(&self, generation: u16, now: u64, mark: Mark) {
        match self {
            Self::Calls(ring) => ring.record(generation, mark),
            Self::Time(ring) => ring.record(generation, now, mark),
        }
    }

    pub(crate) fn counts(&self, generation: u16, now: u64) -> Counts {
        match self {
            Self::Calls(ring) => ring.counts(generation),
            Self::Time(ring) => ring.counts(generation, now),
        }
    }
}
