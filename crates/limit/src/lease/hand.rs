/// The permits of a key that a node has taken and not used: in batches, each of
/// whose permits may be used from its own time on.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Hand {
    /// In the order in which they were taken; those that are used up come last.
    batches: [Batch; MOST],
}

/// Permits that become usable evenly, from the first to the last.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Batch {
    pub(crate) count: u32,
    /// Those that are used.
    used: u32,
    pub(crate) first: u64,
    pub(crate) last: u64,
    /// From when on none is usable.
    pub(crate) until: u64,
}

impl Hand {
    /// Uses so many at once, if they are usable.
    #[inline]
    pub(crate) fn take(&mut self, now: u64, permits: u32) -> bool {
        let [first, ..] = &mut self.batches;
        if first.ready(now) > permits {
            // Something is left of it, so that it stays where it is.
            first.used += permits;
            return true;
        }
        if self.ready(now) < permits {
            return false;
        }
        let mut missing = permits;
        for batch in &mut self.batches {
            let some = batch.ready(now).min(missing);
            batch.used += some;
            missing -= some;
        }
        self.tidy(now);
        true
    }

    /// How many are usable.
    pub(crate) fn ready(&self, now: u64) -> u32 {
        self.sum(|batch| batch.ready(now))
    }

    /// How many there are, usable by now or later.
    pub(crate) fn left(&self, now: u64) -> u32 {
        self.sum(|batch| batch.left(now))
    }

    /// When so many will be usable, if nobody uses one before.
    pub(crate) fn ready_at(&self, now: u64, permits: u32) -> Option<u64> {
        let mut missing = permits;
        for batch in &self.batches {
            let left = batch.left(now);
            if left >= missing {
                return Some(batch.time_of(batch.used + missing).max(now));
            }
            missing -= left;
        }
        None
    }

    /// Adds permits that come later than those that are there.
    pub(crate) fn add(&mut self, now: u64, batch: Batch) {
        if batch.count == 0 {
            return;
        }
        self.tidy(now);
        match self.batches.iter_mut().find(|batch| batch.count == 0) {
            Some(free) => *free = batch,
            // None is usable earlier than by itself.
            None => {
                let last = &mut self.batches[MOST - 1];
                let count = batch.count.saturating_add(last.left(now));
                *last = Batch { count, first: batch.first.max(last.last), ..batch };
                last.last = last.last.max(last.first);
            }
        }
    }

    /// Puts back what was taken in vain, a moment ago.
    pub(crate) fn put_back(&mut self, now: u64, permits: u32, until: u64) {
        let [first, ..] = &mut self.batches;
        if first.used >= permits && first.left(now) > 0 {
            first.used -= permits;
        } else {
            self.add(now, Batch::at_once(permits, now, until));
        }
    }

    /// Takes up to so many away, those first that come last; tells how many.
    pub(crate) fn give(&mut self, now: u64, permits: u32) -> u32 {
        let mut missing = permits;
        for batch in self.batches.iter_mut().rev() {
            let some = batch.left(now).min(missing);
            batch.cut(some);
            missing -= some;
        }
        self.tidy(now);
        permits - missing
    }

    /// Makes all that there is usable until then.
    pub(crate) fn extend(&mut self, now: u64, until: u64) {
        for batch in &mut self.batches {
            if batch.left(now) > 0 {
                batch.until = batch.until.max(until);
            }
        }
    }

    fn sum(&self, of: impl Fn(&Batch) -> u32) -> u32 {
        self.batches.iter().map(of).fold(0, u32::saturating_add)
    }

    fn tidy(&mut self, now: u64) {
        let mut kept = [Batch::default(); MOST];
        let left = self.batches.iter().filter(|batch| batch.left(now) > 0);
        kept.iter_mut().zip(left).for_each(|(to, from)| *to = *from);
        self.batches = kept;
    }
}

impl Batch {
    /// Usable from `now` on.
    pub(crate) fn at_once(count: u32, now: u64, until: u64) -> Self {
        Self { count, used: 0, first: now, last: now, until }
    }

    /// Usable one by one, from `first` on up to `last`.
    pub(crate) fn evenly(count: u32, first: u64, last: u64, until: u64) -> Self {
        Self { count, used: 0, first, last: last.max(first), until }
    }

    #[inline]
    fn ready(&self, now: u64) -> u32 {
        if now >= self.until || now < self.first {
            return 0;
        }
        if now >= self.last {
            return self.count - self.used;
        }
        let (passed, all) = (u128::from(now - self.first), u128::from(self.last - self.first));
        let ready = 1 + (u128::from(self.count.saturating_sub(1)) * passed / all) as u32;
        ready.min(self.count).saturating_sub(self.used)
    }

    fn left(&self, now: u64) -> u32 {
        if now >= self.until { 0 } else { self.count - self.used }
    }

    /// When the permit with this number is usable; the first is 1.
    fn time_of(&self, number: u32) -> u64 {
        let steps = u128::from(self.count.saturating_sub(1));
        if steps == 0 {
            return self.first;
        }
        let all = u128::from(self.last - self.first) * u128::from(number.saturating_sub(1));
        self.first + all.div_ceil(steps) as u64
    }

    /// Leaves so many out at the end.
    fn cut(&mut self, permits: u32) {
        let left = self.count - permits;
        if permits > 0 && left > 0 {
            self.last = self.time_of(left);
        }
        self.count = left;
    }
}

/// How many batches are told apart.
const MOST: usize = 4;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn evenly(count: u32, first: u64, last: u64) -> Hand {
        let mut hand = Hand::default();
        hand.add(0, Batch::evenly(count, first, last, 10_000));
        hand
    }

    #[test]
    fn permits_are_usable_one_by_one_and_for_so_long() {
        let hand = evenly(5, 100, 500);
        let ready = [0, 99, 100, 199, 200, 499, 500, 9_999, 10_000];
        assert_eq!(ready.map(|now| hand.ready(now)), [0, 0, 1, 1, 2, 4, 5, 5, 0]);
        assert_eq!([0, 9_999, 10_000].map(|now| hand.left(now)), [5, 5, 0]);
        assert_eq!(
            [1, 2, 5, 6].map(|permits| hand.ready_at(0, permits)),
            [Some(100), Some(200), Some(500), None]
        );
    }

    #[test]
    fn what_is_given_away_is_what_comes_last() {
        let mut hand = evenly(5, 100, 500);
        hand.add(0, Batch::evenly(2, 600, 700, 10_000));
        assert_eq!(hand.give(0, 4), 4);
        assert_eq!(hand.ready_at(0, 3), Some(300));
        assert_eq!((hand.left(0), hand.ready(9_999)), (3, 3));
        assert_eq!(hand.give(0, 9), 3);
        assert_eq!(hand.left(0), 0);
    }

    #[test]
    fn what_is_put_back_is_usable_at_once() {
        let mut hand = evenly(5, 100, 100);
        for permits in [3, 5] {
            assert!(hand.take(200, permits) && hand.ready(200) == 5 - permits);
            hand.put_back(200, permits, 10_000);
            assert_eq!((hand.ready(200), hand.left(200)), (5, 5));
        }
    }

    proptest! {
        #[test]
        fn no_permit_is_usable_before_its_time_however_many_batches_there_are(
            batches in prop::collection::vec((1..50_u32, 0..300_u64, 0..2_000_u64), 1..12),
            steps in prop::collection::vec((0..200_u64, 0..9_u32, 0..5_u32), 1..200),
        ) {
            let (mut hand, mut times) = (Hand::default(), Vec::new());
            let mut end = 0;
            for (count, gap, length) in batches {
                let (first, last) = (end + gap, end + gap + length);
                end = last;
                hand.add(0, Batch::evenly(count, first, last, u64::MAX));
                times.extend((0..u64::from(count)).map(|number| {
                    let steps = u64::from(count).saturating_sub(1).max(1);
                    first + length * number / steps
                }));
            }
            let all = times.len() as u32;
            prop_assert_eq!(hand.left(0), all);
            let (mut now, mut used, mut given) = (0, 0, 0);
            for (step, cost, give) in steps {
                now += step;
                let due = times.iter().filter(|time| **time <= now).count() as u32;
                let ready = hand.ready(now);
                prop_assert!(used + ready <= due, "{} {} {}", used, ready, due);
                prop_assert_eq!(hand.take(now, cost), cost <= ready);
                used += if cost <= ready { cost } else { 0 };
                given += hand.give(now, give);
                prop_assert_eq!(hand.left(now), all - used - given);
                if let Some(then) = hand.ready_at(now, 1) {
                    prop_assert!(hand.ready(then) >= 1);
                    prop_assert!(then == now || hand.ready(then - 1) == 0);
                }
            }
            prop_assert_eq!(hand.ready(u64::MAX - 1), all - used - given);
        }
    }
}
