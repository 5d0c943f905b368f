//! A sliding-window counter that never gives too many: what came in the parts of
//! a window, of which the oldest counts until all of it is out.
//!
//! A state is the number of a part, with as many bits as are left, and a counter
//! for each part that a window may touch, the current one in the lowest bits. A
//! state whose number is not among the parts that count is a key at rest; one that
//! was left long ago is taken for a live one with odds of one in a hundred or less.

use super::quota::{Quota, SECOND};
use super::rule::{STATE, STATE_BITS, Verdict, WORDS};

/// How a window is divided.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Window {
    pub(super) permits: u32,
    /// The window itself.
    pub(super) nanos: u64,
    /// The length of a part, in nanoseconds.
    part: u64,
    /// Bits of a counter.
    width: u32,
    /// How many there are: the parts of a window and one.
    counters: u32,
    /// How many parts earlier a thread may have read the time than those whose
    /// states it finds: about a second's.
    skew: u64,
}

impl Window {
    pub(crate) fn new(quota: &Quota) -> Self {
        let permits = quota.permits().get();
        let width = u32::BITS - permits.leading_zeros();
        let counters = (COUNTER_BITS / width).clamp(2, 7);
        let part = quota.nanos().div_ceil(u64::from(counters - 1)).max(1);
        let numbers = 1_u64 << (STATE_BITS - counters * width);
        let skew = (SECOND / part + 1).min(numbers >> 7);
        Self { permits, nanos: quota.nanos(), part, width, counters, skew: skew.max(1) }
    }

    /// Admits where the parts that count have room for the cost.
    pub(crate) fn decide(&self, state: u64, nanos: u64, cost: u32) -> Verdict {
        let (number, counts) = self.counts(state, nanos);
        let over = (u64::from(self.sum(counts)) + u64::from(cost)).checked_sub(self.room());
        match over {
            None | Some(0) => Verdict::Admit { state: self.state(number, self.plus(counts, cost)) },
            _ if cost > self.permits => Verdict::Refuse { wait: None },
            Some(over) => Verdict::Refuse { wait: Some(self.wait(number, counts, over, nanos)) },
        }
    }

    /// The state after a cost that nobody asked for.
    pub(crate) fn charged(&self, state: u64, nanos: u64, cost: u32) -> u64 {
        let (number, counts) = self.counts(state, nanos);
        self.state(number, self.plus(counts, cost))
    }

    /// The state as if a cost had not been charged at that time.
    pub(crate) fn refunded(&self, state: u64, nanos: u64, cost: u32) -> u64 {
        let shift = self.counters * self.width;
        let age = (state >> shift).wrapping_sub(nanos / self.part) & (STATE >> shift);
        if age >= u64::from(self.counters) {
            return state;
        }
        // What was charged late is in a part that began since.
        let ages = (0..=age as u32).rev();
        let take = |(state, cost): (u64, u32), age| {
            let back = cost.min(self.count(state, age));
            (state - (u64::from(back) << (age * self.width)), cost - back)
        };
        ages.fold((state, cost), take).0
    }

    /// How many nanoseconds it takes until a state is that of a key at rest.
    pub(crate) fn used(&self, state: u64, nanos: u64) -> u64 {
        let (number, counts) = self.counts(state, nanos);
        if counts == 0 {
            return 0;
        }
        // The youngest part that counts leaves last.
        let age = counts.trailing_zeros() / self.width;
        let left = number + u64::from(self.counters - age);
        left.saturating_mul(self.part).saturating_sub(nanos)
    }

    /// The permits that are there at once.
    pub(crate) fn available(&self, state: u64, nanos: u64) -> u32 {
        self.permits.saturating_sub(self.sum(self.counts(state, nanos).1))
    }

    /// The permits owed beyond the quota.
    pub(crate) fn owed(&self, state: u64, nanos: u64) -> u32 {
        self.sum(self.counts(state, nanos).1).saturating_sub(self.permits)
    }

    /// The time in which so many permits come back at the least.
    pub(crate) fn time_for(&self, permits: u64) -> u64 {
        let nanos = u128::from(permits) * u128::from(self.nanos);
        u64::try_from(nanos.div_ceil(u128::from(self.permits))).unwrap_or(u64::MAX)
    }

    pub(crate) fn to_words(self) -> [u64; WORDS] {
        let Self { permits, nanos, part, width, counters, skew } = self;
        [0, permits.into(), nanos, part, width.into(), counters.into(), skew, 0]
    }

    pub(crate) fn from_words(
        [_, permits, nanos, part, width, counters, skew, _]: [u64; WORDS],
    ) -> Self {
        let (permits, width, counters) = (permits as u32, width as u32, counters as u32);
        Self { permits, nanos, part, width, counters, skew }
    }

    /// The number of the current part, and the counters as of then.
    fn counts(&self, state: u64, nanos: u64) -> (u64, u64) {
        let shift = self.counters * self.width;
        let numbers = STATE >> shift;
        let number = nanos / self.part;
        let counts = state & ((1 << shift) - 1);
        let age = number.wrapping_sub(state >> shift) & numbers;
        if age < u64::from(self.counters) {
            return (number, (counts << (age as u32 * self.width)) & ((1 << shift) - 1));
        }
        match numbers + 1 - age {
            // Somebody who read the time later was faster.
            ahead if ahead <= self.skew => (number + ahead, counts),
            _ => (number, 0),
        }
    }

    fn state(&self, number: u64, counts: u64) -> u64 {
        ((number << (self.counters * self.width)) | counts) & STATE
    }

    fn count(&self, counts: u64, age: u32) -> u32 {
        ((counts >> (age * self.width)) & ((1 << self.width) - 1)) as u32
    }

    fn sum(&self, counts: u64) -> u32 {
        (0..self.counters).map(|age| self.count(counts, age)).sum()
    }

    /// Adds to the current part, up to what its counter holds.
    fn plus(&self, counts: u64, cost: u32) -> u64 {
        let most = (1_u64 << self.width) - 1;
        let current = u64::from(self.count(counts, 0));
        counts - current + (current + u64::from(cost)).min(most)
    }

    /// Until so many are out of the window.
    fn wait(&self, number: u64, counts: u64, over: u64, nanos: u64) -> u64 {
        let mut gone = 0;
        let ages = (0..self.counters).rev();
        let parts = ages.take_while(|age| {
            let before = gone;
            gone += u64::from(self.count(counts, *age));
            before < over
        });
        let due = number.saturating_add(parts.count() as u64).saturating_mul(self.part);
        due.saturating_sub(nanos)
    }

    fn room(&self) -> u64 {
        u64::from(self.permits)
    }
}

/// For all counters: the rest tells parts apart.
const COUNTER_BITS: u32 = 30;

#[cfg(test)]
mod tests {
    use std::num::NonZeroU16;
    use std::time::Duration;

    use proptest::prelude::*;

    use super::*;
    use crate::nonzero;

    const MINUTE: Duration = Duration::from_secs(60);

    fn window(permits: u16, length: Duration) -> Window {
        Window::new(&Quota::in_any(NonZeroU16::new(permits).unwrap(), length))
    }

    #[test]
    fn a_window_has_as_many_parts_as_its_counters_leave_room_for() {
        for (permits, counters) in
            [(1, 7), (15, 7), (31, 6), (63, 5), (127, 4), (1_023, 3), (1_024, 2), (65_535, 2)]
        {
            let window = window(permits, MINUTE);
            assert_eq!(window.counters, counters, "{permits}");
            let numbers = 1_u64 << (STATE_BITS - counters * window.width);
            let odds = (u64::from(counters) + window.skew) as f64 / numbers as f64;
            assert!(odds < 0.016, "{permits}: {odds}");
        }
    }

    #[test]
    fn all_at_once_come_back_a_window_and_a_part_later_at_the_most() {
        let window = window(100, MINUTE);
        let nanos = 1_000 * SECOND + 7;
        let state = window.charged(0, nanos, 100);
        let Verdict::Refuse { wait: Some(wait) } = window.decide(state, nanos, 1) else {
            panic!("admitted")
        };
        assert!(wait > 60 * SECOND && wait <= 80 * SECOND, "{wait}");
        assert_eq!(window.used(state, nanos), wait);
        assert_eq!(window.available(state, nanos + wait), 100);
        assert_eq!(window.available(state, nanos + wait - 1), 0);
        assert_eq!(window.decide(0, nanos, 101), Verdict::Refuse { wait: None });
    }

    #[test]
    fn who_reads_the_time_late_counts_for_the_part_of_the_others() {
        let window = Window::new(&Quota::in_any(nonzero!(10), Duration::from_secs(6)));
        let state = window.charged(0, 10 * SECOND, 10);
        assert_eq!(window.available(state, 9 * SECOND), 0);
        let after = window.refunded(state, 9 * SECOND, 4);
        assert_eq!(window.available(after, 10 * SECOND), 4);
    }

    proptest! {
        #[test]
        fn no_window_holds_more_than_the_quota(
            permits in 1..2_000_u16, steps in prop::collection::vec((0..2_000_000_000_u64, 1..50_u32), 1..200),
        ) {
            let length = Duration::from_secs(10);
            let window = window(permits, length);
            let (mut nanos, mut state, mut admitted) = (0_u64, 0, Vec::new());
            for (step, cost) in steps {
                nanos += step;
                if let Verdict::Admit { state: after } = window.decide(state, nanos, cost) {
                    state = after;
                    admitted.push((nanos, u64::from(cost)));
                }
                let since = |(then, _): &&(u64, u64)| nanos - then < length.as_nanos() as u64;
                let recent: u64 = admitted.iter().filter(since).map(|(_, cost)| cost).sum();
                prop_assert!(recent <= u64::from(permits));
            }
        }

        #[test]
        fn after_the_told_wait_a_lone_key_is_admitted(
            permits in 1..2_000_u16, now: u32, costs in prop::collection::vec((0..3_000_000_000_u64, 1..2_000_u32), 1..9),
        ) {
            let window = window(permits, Duration::from_secs(10));
            let (mut nanos, mut state) = (u64::from(now) * 1_000, 0);
            for (step, cost) in costs {
                nanos += step;
                let cost = cost.min(permits.into());
                match window.decide(state, nanos, cost) {
                    Verdict::Admit { state: after } => state = after,
                    Verdict::Refuse { wait } => {
                        let wait = wait.unwrap();
                        let early = window.decide(state, nanos + wait - 1, cost);
                        prop_assert!(matches!(early, Verdict::Refuse { .. }), "{:?}", early);
                        nanos += wait;
                        let late = window.decide(state, nanos, cost);
                        prop_assert!(matches!(late, Verdict::Admit { .. }), "{:?}", late);
                    }
                }
            }
        }

        #[test]
        fn a_refund_is_net_zero_also_parts_later(
            permits in 100..2_000_u16, used in 0..40_u32, cost in 0..40_u32, now: u32, later in 0..4_000_000_000_u64,
        ) {
            let window = window(permits, Duration::from_secs(10));
            let (now, then) = (u64::from(now), u64::from(now) + later);
            let state = window.charged(0, now, used);
            let after = window.charged(state, now, cost);
            let refunded = window.refunded(window.charged(after, then, 3), now, cost);
            let expected = window.charged(state, then, 3);
            prop_assert_eq!(window.available(refunded, then), window.available(expected, then));
        }
    }
}
