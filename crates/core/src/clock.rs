use std::time::{Duration, Instant, SystemTime};

/// Tells the time: the only source of it in these crates.
///
/// [`Clock::system`] reads the machine's clocks. [`Clock::anchored`] derives
/// both from tokio's, so that under `tokio::time::pause` a test moves them
/// together and no rule about time needs a sleep.
#[derive(Clone, Copy, Debug, Default)]
pub struct Clock {
    anchor: Option<Anchor>,
}

impl Clock {
    /// The machine's clocks; the default.
    pub const fn system() -> Self {
        Self { anchor: None }
    }

    /// A clock that shows `wall` now and goes on as tokio's does.
    #[expect(clippy::disallowed_methods, reason = "this is where the ban sends everybody")]
    pub fn anchored(wall: SystemTime) -> Self {
        Self { anchor: Some(Anchor { start: tokio::time::Instant::now(), wall }) }
    }

    /// The monotonic time; about 25 ns on a common machine.
    ///
    /// It is the clock of the kernel, which timers follow too. To read the counter of the
    /// processor without it takes less than half the time, but such a clock is calibrated
    /// once: it goes wrong by parts in 100,000 from then on, and is not corrected after the
    /// machine slept or moved. Who needs to know little of the time has
    /// [`Stopwatch::roughly`](crate::Stopwatch::roughly).
    #[expect(clippy::disallowed_methods, reason = "this is where the ban sends everybody")]
    pub fn now(&self) -> Instant {
        match self.anchor {
            None => Instant::now(),
            Some(_) => tokio::time::Instant::now().into_std(),
        }
    }

    /// The wall clock, which may be set back or forth while the machine runs.
    #[expect(clippy::disallowed_methods, reason = "this is where the ban sends everybody")]
    pub fn wall(&self) -> SystemTime {
        match self.anchor {
            None => SystemTime::now(),
            Some(Anchor { start, wall }) => wall + start.elapsed(),
        }
    }

    /// Whether it reads the machine's clocks.
    pub(crate) fn is_system(&self) -> bool {
        self.anchor.is_none()
    }

    /// The monotonic time since `earlier`; zero if that is still to come.
    pub fn since(&self, earlier: Instant) -> Duration {
        self.now().saturating_duration_since(earlier)
    }
}

#[derive(Clone, Copy, Debug)]
struct Anchor {
    start: tokio::time::Instant,
    wall: SystemTime,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn an_anchored_clock_follows_paused_time() {
        let wall = SystemTime::UNIX_EPOCH + Duration::from_secs(1_000);
        let clock = Clock::anchored(wall);
        let start = clock.now();
        assert_eq!(clock.wall(), wall);
        tokio::time::advance(Duration::from_secs(90)).await;
        assert_eq!(clock.since(start), Duration::from_secs(90));
        assert_eq!(clock.wall(), wall + Duration::from_secs(90));
    }

    #[tokio::test(start_paused = true)]
    async fn the_system_clock_does_not_follow_paused_time() {
        let clock = Clock::system();
        let start = clock.now();
        tokio::time::advance(Duration::from_secs(3_600)).await;
        assert!(clock.since(start) < Duration::from_secs(3_600));
    }
}
