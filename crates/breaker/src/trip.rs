use std::num::NonZeroU32;

use super::window::{Counts, Window};

/// Opens a circuit: one reason among those that are given to
/// [`BreakerLayer::trip_on`](crate::BreakerLayer::trip_on).
///
/// A call that fails or is slow is what opens a circuit; a success never does.
///
/// ```
/// use std::num::{NonZeroU16, NonZeroU32};
/// use std::time::Duration;
/// use tower_edge_breaker::{BreakerLayer, Trip, Window};
///
/// let layer = BreakerLayer::new().trip_on([
///     Trip::consecutive(NonZeroU32::new(5).unwrap()),
///     Trip::failure_rate(0.5, Window::calls(NonZeroU16::new(100).unwrap())),
///     Trip::slow_rate(0.8, Window::time(Duration::from_secs(30))).count_in_flight(),
/// ]);
/// ```
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Trip {
    when: When,
    minimum: u32,
}

impl Trip {
    /// So many failures without a success between them.
    pub const fn consecutive(failures: NonZeroU32) -> Self {
        Self { when: When::Consecutive, minimum: failures.get() }
    }

    /// A share of failures, from above 0 to 1, of at least 20 calls.
    ///
    /// A window of fewer calls has to be full.
    ///
    /// # Panics
    ///
    /// If the share is not above 0, or is above 1.
    pub fn failure_rate(rate: f64, window: Window) -> Self {
        Self { when: When::Failures(Rate::new(rate, window)), minimum: least(window) }
    }

    /// A share of calls that took as long as
    /// [`slow_after`](crate::BreakerLayer::slow_after) or longer, whether they
    /// failed or not, of at least 20 calls.
    ///
    /// # Panics
    ///
    /// As [`failure_rate`](Self::failure_rate).
    pub fn slow_rate(rate: f64, window: Window) -> Self {
        Self { when: When::Slow(Rate::new(rate, window)), minimum: least(window) }
    }

    /// Counts calls in flight as soon as they are slow, so that a service which
    /// answers nobody is found out before anybody gives up. Known to a quarter of
    /// `slow_after`.
    ///
    /// # Panics
    ///
    /// If this is not a [`slow_rate`](Self::slow_rate).
    #[must_use]
    pub const fn count_in_flight(mut self) -> Self {
        match &mut self.when {
            When::Slow(rate) => rate.in_flight = true,
            _ => panic!("calls in flight have not failed"),
        }
        self
    }

    /// Takes the rate of at least so many calls; of consecutive failures it is
    /// their number.
    ///
    /// # Panics
    ///
    /// If the window never has so many.
    #[must_use]
    pub fn minimum(mut self, calls: NonZeroU32) -> Self {
        let limit = self.window().and_then(Window::limit).unwrap_or(u32::MAX);
        assert!(calls.get() <= limit, "a window has to have room for the minimum");
        self.minimum = calls.get();
        self
    }

    /// The window of a rate.
    pub(crate) const fn window(&self) -> Option<Window> {
        match &self.when {
            When::Consecutive => None,
            When::Failures(rate) | When::Slow(rate) => Some(rate.window),
        }
    }

    /// Whether a slow call can be a reason.
    pub(crate) const fn is_slow(&self) -> bool {
        matches!(self.when, When::Slow(_))
    }

    /// Whether slow calls in flight count.
    pub(crate) const fn counts_in_flight(&self) -> bool {
        matches!(&self.when, When::Slow(rate) if rate.in_flight)
    }

    /// Whether it opens the circuit, with `counts` in its window, so many failures
    /// in a row, and so many calls in flight that are slow already.
    pub(crate) fn holds(&self, counts: Counts, streak: u32, hanging: u32) -> bool {
        match &self.when {
            When::Consecutive => streak >= self.minimum,
            When::Failures(rate) => rate.is_reached(counts.failures, counts.calls, self.minimum),
            When::Slow(rate) => {
                let more = if rate.in_flight { hanging } else { 0 };
                rate.is_reached(counts.slow + more, counts.calls + more, self.minimum)
            }
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum When {
    Consecutive,
    Failures(Rate),
    Slow(Rate),
}

#[derive(Clone, Copy, Debug, PartialEq)]
struct Rate {
    /// Rounded down, so that a rate is never missed by a fraction.
    millionths: u32,
    window: Window,
    in_flight: bool,
}

impl Rate {
    fn new(rate: f64, window: Window) -> Self {
        assert!(rate > 0.0 && rate <= 1.0, "a rate is above 0 and at most 1");
        let millionths = ((rate * f64::from(MILLION)) as u32).max(1);
        Self { millionths, window, in_flight: false }
    }

    fn is_reached(&self, part: u32, calls: u32, minimum: u32) -> bool {
        let part = u64::from(part) * u64::from(MILLION);
        calls >= minimum && part >= u64::from(self.millionths) * u64::from(calls)
    }
}

fn least(window: Window) -> u32 {
    window.limit().map_or(MINIMUM, |limit| limit.min(MINIMUM))
}

const MILLION: u32 = 1_000_000;
const MINIMUM: u32 = 20;

#[cfg(test)]
mod tests {
    use std::num::NonZeroU16;
    use std::time::Duration;

    use super::*;

    fn calls(number: u16) -> Window {
        Window::calls(NonZeroU16::new(number).unwrap())
    }

    fn least_failures(trip: &Trip, calls: u32) -> Option<u32> {
        let counts = |failures| Counts { calls, failures, slow: 0 };
        (0..=calls).find(|&failures| trip.holds(counts(failures), 0, 0))
    }

    #[test]
    fn a_rate_is_reached_at_the_next_whole_call_for_every_number_of_calls() {
        let time = Window::time(Duration::from_secs(10));
        let few = NonZeroU32::new(1).unwrap();
        for percent in 1..=100_u32 {
            let trip = Trip::failure_rate(f64::from(percent) / 100.0, time).minimum(few);
            for calls in 1..500 {
                let expected = (calls * percent).div_ceil(100);
                assert_eq!(least_failures(&trip, calls), Some(expected), "{percent} % of {calls}");
            }
        }
        let third = Trip::failure_rate(2.0 / 3.0, time).minimum(few);
        assert_eq!(least_failures(&third, 300), Some(200));
    }

    #[test]
    fn fewer_calls_than_the_minimum_open_nothing() {
        let trip = Trip::failure_rate(0.5, calls(100));
        assert_eq!((least_failures(&trip, 19), least_failures(&trip, 20)), (None, Some(10)));
        let small = Trip::failure_rate(0.5, calls(4));
        assert_eq!((least_failures(&small, 3), least_failures(&small, 4)), (None, Some(2)));
    }

    #[test]
    fn slow_calls_in_flight_count_where_they_are_to() {
        let plain = Trip::slow_rate(0.5, calls(100));
        let counts = Counts { calls: 15, failures: 15, slow: 5 };
        assert!(!plain.holds(counts, 0, 5));
        assert!(plain.count_in_flight().holds(counts, 0, 5));
        assert!(!plain.count_in_flight().holds(counts, 0, 4));
    }

    #[test]
    #[should_panic(expected = "room for the minimum")]
    fn a_minimum_that_is_never_reached_is_refused() {
        let _ = Trip::failure_rate(0.5, calls(10)).minimum(NonZeroU32::new(11).unwrap());
    }

    #[test]
    #[should_panic(expected = "above 0 and at most 1")]
    fn a_rate_of_nothing_is_refused() {
        Trip::failure_rate(0.0, calls(10));
    }
}
