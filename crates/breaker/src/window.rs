use std::num::NonZeroU16;
use std::time::Duration;

/// The calls that a rate is taken of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Window(pub(crate) Kind);

impl Window {
    /// The last so many calls. 8 bytes each, for every circuit.
    pub const fn calls(calls: NonZeroU16) -> Self {
        Self(Kind::Calls(calls))
    }

    /// The calls that ended within so long, to a sixteenth of it.
    ///
    /// # Panics
    ///
    /// If that is not between a millisecond and a day.
    pub const fn time(time: Duration) -> Self {
        let day = Duration::from_secs(86_400);
        assert!(time.as_millis() > 0 && time.as_nanos() <= day.as_nanos(), "1 ms to a day");
        Self(Kind::Time(time))
    }

    /// Whether a sixteenth of it is long beside the tick of a kernel, 10 ms.
    pub(crate) const fn is_long(self) -> bool {
        match self.0 {
            Kind::Calls(_) => true,
            Kind::Time(time) => time.as_millis() >= 1_000,
        }
    }

    /// How many calls there can be in it, where that is known.
    pub(crate) const fn limit(self) -> Option<u32> {
        match self.0 {
            Kind::Calls(calls) => Some(calls.get() as u32),
            Kind::Time(_) => None,
        }
    }
}

/// How calls of a window ended.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Counts {
    pub(crate) calls: u32,
    pub(crate) failures: u32,
    pub(crate) slow: u32,
}

/// How one call ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Mark {
    pub(crate) failure: bool,
    pub(crate) slow: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Calls(NonZeroU16),
    Time(Duration),
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_window_is_long_where_a_tick_of_a_kernel_is_a_sixth_of_its_slots_at_most() {
        let calls = Window::calls(NonZeroU16::MIN);
        for (window, long) in [
            (calls, true),
            (Window::time(Duration::from_secs(10)), true),
            (Window::time(Duration::from_millis(1_000)), true),
            (Window::time(Duration::from_millis(999)), false),
            (Window::time(Duration::from_millis(1)), false),
        ] {
            assert_eq!(window.is_long(), long, "{window:?}");
        }
    }
}
