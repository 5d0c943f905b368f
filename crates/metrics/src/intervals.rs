use std::collections::VecDeque;

use crate::{Distribution, Measurements};

/// What [`LatencyHandle::recent`](crate::LatencyHandle::recent) looks back on.
///
/// Time goes in steps of 5 seconds, of which the current one is always part of
/// it: an interval is up to 5 seconds longer than its name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Interval {
    /// The last 10 seconds.
    TenSeconds,
    /// The last minute.
    Minute,
    /// The last 5 minutes.
    FiveMinutes,
}

impl Interval {
    fn slots(self) -> u64 {
        match self {
            Self::TenSeconds => 2,
            Self::Minute => 12,
            Self::FiveMinutes => KEPT,
        }
    }
}

/// What a series measured in each of the last slots.
///
/// Nothing happens in it while time passes: what was measured in a slot is taken
/// when the first request of a later one comes.
#[derive(Debug, Default)]
pub(crate) struct Intervals {
    slot: u64,
    /// What was measured before the slot began.
    before: Measurements,
    /// What earlier slots added to it, those that added something.
    past: VecDeque<(u64, Measurements)>,
}

impl Intervals {
    /// Goes on to a later slot, before which `all` was measured.
    pub(crate) fn turn(&mut self, slot: u64, all: Measurements) {
        let added = all.since(&self.before);
        if added != Measurements::default() {
            self.past.push_back((self.slot, added));
        }
        (self.slot, self.before) = (slot, all);
        while self.past.front().is_some_and(|(past, _)| past + KEPT < slot) {
            self.past.pop_front();
        }
    }

    /// What was measured within `interval` of the slot `now`, if `all` is what was
    /// measured altogether.
    pub(crate) fn last(&self, interval: Interval, now: u64, all: &Measurements) -> Measurements {
        let is_within = |slot: u64| slot + interval.slots() >= now;
        let mut last = Measurements::default();
        let past = self.past.iter().filter(|(slot, _)| is_within(*slot));
        past.for_each(|(_, added)| last.merge(added));
        if is_within(self.slot) {
            last.merge(&all.since(&self.before));
        }
        last
    }

    /// The times of all requests of the last slots, without those of the current one.
    pub(crate) fn times(&self) -> Distribution {
        let mut times = Distribution::default();
        self.past.iter().for_each(|(_, added)| times.merge(&added.total));
        times
    }

    /// Forgets what was measured.
    pub(crate) fn reset(&mut self) {
        *self = Self { slot: self.slot, ..Self::default() };
    }

    /// The bytes that it owns beside itself, nearly.
    pub(crate) fn memory(&self) -> usize {
        let past = self.past.iter().map(|(_, added)| size_of::<Measurements>() + added.memory());
        self.before.memory() + past.sum::<usize>()
    }
}

/// The number of the slot that this time falls into, in nanoseconds since the start.
pub(crate) fn slot(nanos: u64) -> u64 {
    nanos / (SECONDS * 1_000_000_000)
}

const SECONDS: u64 = 5;
const KEPT: u64 = 300 / SECONDS;

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::Histogram;

    fn counts(intervals: &Intervals, now: u64, all: &Measurements) -> [u64; 3] {
        [Interval::TenSeconds, Interval::Minute, Interval::FiveMinutes]
            .map(|interval| intervals.last(interval, now, all).count())
    }

    #[test]
    fn an_interval_has_its_slots_and_the_current_one() {
        let (histogram, mut intervals) = (Histogram::new(), Intervals::default());
        let measured = || Measurements { total: histogram.snapshot(), ..Measurements::default() };
        // One request in slot 0, two in slot 1, and so on to 100 in slot 99.
        for slot in 0..100 {
            intervals.turn(slot, measured());
            (0..=slot).for_each(|_| histogram.record(Duration::from_millis(slot)));
        }
        let since = |first: u64| (first + 1..=100).sum::<u64>();
        assert_eq!(counts(&intervals, 99, &measured()), [since(97), since(87), since(39)]);
        let recent = intervals.last(Interval::TenSeconds, 99, &measured()).total;
        let near = |time: Option<Duration>, millis: f64| {
            (time.unwrap().as_secs_f64() / (millis / 1e3) - 1.0).abs() < 0.022
        };
        assert!(near(recent.min(), 97.0) && near(recent.max(), 99.0), "{recent:?}");
        // Time goes on and nothing comes.
        assert_eq!(counts(&intervals, 101, &measured()), [100, since(89), since(41)]);
        assert_eq!(counts(&intervals, 102, &measured()), [0, since(90), since(42)]);
        assert_eq!(counts(&intervals, 1_000, &measured()), [0; 3]);
        assert!(intervals.past.len() <= KEPT as usize + 1);
        intervals.reset();
        assert_eq!(counts(&intervals, 99, &Measurements::default()), [0; 3]);
    }

    #[test]
    fn a_slot_is_five_seconds() {
        for (millis, number) in [(0, 0), (4_999, 0), (5_000, 1), (300_000, 60)] {
            assert_eq!(slot(millis * 1_000_000), number);
        }
    }
}
