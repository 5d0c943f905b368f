use super::BEAT;

/// What a key is asked for, in permits a [`BEAT`], measured over the last one.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Demand {
    /// When the current beat began.
    since: u64,
    current: u32,
    last: u32,
}

impl Demand {
    /// Adds what is asked for at this time.
    #[inline]
    pub(crate) fn add(&mut self, now: u64, permits: u32) {
        self.go_on(now);
        self.current = self.current.saturating_add(permits);
    }

    /// What is asked for in a beat.
    pub(crate) fn of_a_beat(&mut self, now: u64) -> u32 {
        self.go_on(now);
        let ahead = BEAT.saturating_sub(now.saturating_sub(self.since));
        let before = u64::from(self.last) * ahead / BEAT;
        self.current.saturating_add(before as u32)
    }

    fn go_on(&mut self, now: u64) {
        let passed = now.saturating_sub(self.since);
        if passed >= BEAT {
            self.last = if passed < 2 * BEAT { self.current } else { 0 };
            self.current = 0;
            self.since = now - passed % BEAT;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn demand_is_that_of_the_last_beat_whenever_it_is_read() {
        let mut demand = Demand::default();
        let step = BEAT / 100;
        for turn in 0..1_000 {
            demand.add(turn * step, 1);
            if turn >= 100 {
                let measured = demand.of_a_beat(turn * step);
                assert!((99..=101).contains(&measured), "{turn}: {measured}");
            }
        }
        let end = 1_000 * step;
        assert_eq!(demand.of_a_beat(end + BEAT / 2), 50);
        assert_eq!(demand.of_a_beat(end + 2 * BEAT), 0);
        demand.add(end + 9 * BEAT, 7);
        assert_eq!(demand.of_a_beat(end + 9 * BEAT), 7);
    }
}
