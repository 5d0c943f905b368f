use std::time::{Duration, Instant};

use crate::Clock;

/// Counts the nanoseconds since it was started, on a [`Clock`].
///
/// ```
/// use tower_edge_core::{Clock, Stopwatch};
///
/// let watch = Stopwatch::start(Clock::system());
/// assert!(watch.roughly() <= watch.nanos());
/// ```
#[derive(Clone, Copy, Debug)]
pub struct Stopwatch {
    clock: Clock,
    start: Instant,
    /// The same moment on the kernel's clock, or right before.
    kernel: u64,
}

impl Stopwatch {
    /// Starts now.
    pub fn start(clock: Clock) -> Self {
        let precise = || kernel::precise().unwrap_or(0);
        let try_once = || {
            // In this order, so that no moment is ahead of a reading after it.
            let (kernel, start) = (precise(), clock.now());
            (precise() - kernel, Self { clock, start, kernel })
        };
        // A thread may be held up between two readings, hardly three times.
        let again = [try_once(), try_once()];
        let closer =
            |best: (u64, Self), next: (u64, Self)| if next.0 < best.0 { next } else { best };
        again.into_iter().fold(try_once(), closer).1
    }

    /// The nanoseconds by now.
    #[inline]
    pub fn nanos(&self) -> u64 {
        match self.kernel(kernel::precise) {
            Some(nanos) => nanos,
            None => self.nanos_at(self.clock.now()),
        }
    }

    /// The nanoseconds by a moment that is known; 0 before the start.
    pub fn nanos_at(&self, now: Instant) -> u64 {
        let since = now.saturating_duration_since(self.start);
        since.as_secs() * 1_000_000_000 + u64::from(since.subsec_nanos())
    }

    /// The moment at which it shows so many nanoseconds.
    pub fn at(&self, nanos: u64) -> Instant {
        self.start + Duration::from_nanos(nanos)
    }

    /// The nanoseconds by the last tick of the kernel: up to 4 ms ago on most
    /// machines, 10 where it ticks a hundred times a second. Never ahead of
    /// [`nanos`](Self::nanos), at a quarter of its cost.
    ///
    /// It is the same clock, so that the two never drift apart. Where there is no
    /// such reading, and for a clock that is [anchored](Clock::anchored), it is
    /// `nanos`.
    #[inline]
    pub fn roughly(&self) -> u64 {
        self.kernel(kernel::coarse).unwrap_or_else(|| self.nanos())
    }

    /// What the kernel's clock shows, in one number: less than half of the work that
    /// it is to make a moment of it and take another one off.
    #[inline]
    fn kernel(&self, read: impl FnOnce() -> Option<u64>) -> Option<u64> {
        let now = if self.clock.is_system() { read() } else { None };
        now.map(|now| now.saturating_sub(self.kernel))
    }
}

/// The clock that the standard library reads on Linux, `CLOCK_MONOTONIC`.
#[cfg(target_os = "linux")]
mod kernel {
    use rustix::time::{ClockId, clock_gettime};

    #[inline]
    pub(super) fn precise() -> Option<u64> {
        Some(read(ClockId::Monotonic))
    }

    #[inline]
    pub(super) fn coarse() -> Option<u64> {
        Some(read(ClockId::MonotonicCoarse))
    }

    #[inline]
    fn read(clock: ClockId) -> u64 {
        let time = clock_gettime(clock);
        // Both are numbers since the machine was started.
        time.tv_sec as u64 * 1_000_000_000 + time.tv_nsec as u64
    }
}

#[cfg(not(target_os = "linux"))]
mod kernel {
    pub(super) fn precise() -> Option<u64> {
        None
    }

    pub(super) fn coarse() -> Option<u64> {
        None
    }
}

#[cfg(test)]
mod tests {
    use std::time::SystemTime;

    use super::*;

    #[test]
    fn a_rough_reading_is_late_by_little_and_never_ahead() {
        let watch = Stopwatch::start(Clock::system());
        let mut late = u64::MAX;
        for _ in 0..1_000 {
            let (before, roughly, after) = (watch.nanos(), watch.roughly(), watch.nanos());
            assert!(roughly <= after);
            late = late.min(before.saturating_sub(roughly));
        }
        // Of a thousand readings one at least is not cut in two by another thread.
        assert!(late < 20_000_000, "{late}");
    }

    #[test]
    fn a_moment_is_where_a_reading_beside_it_is() {
        let clock = Clock::system();
        let watch = Stopwatch::start(clock);
        let mut apart = u64::MAX;
        for _ in 0..1_000 {
            let (before, moment, after) = (watch.nanos(), clock.now(), watch.nanos());
            assert!(watch.nanos_at(moment) <= after);
            apart = apart.min(before.abs_diff(watch.nanos_at(moment)));
        }
        assert!(apart < 1_000_000, "{apart}");
    }

    #[tokio::test(start_paused = true)]
    async fn an_anchored_watch_shows_paused_time_in_both_ways() {
        let watch = Stopwatch::start(Clock::anchored(SystemTime::UNIX_EPOCH));
        assert_eq!((watch.nanos(), watch.roughly()), (0, 0));
        tokio::time::advance(Duration::from_millis(1_500)).await;
        assert_eq!((watch.nanos(), watch.roughly()), (1_500_000_000, 1_500_000_000));
        assert_eq!(watch.nanos_at(watch.at(2_000_000_000)), 2_000_000_000);
    }
}
