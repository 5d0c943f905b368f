use std::num::NonZeroU64;
use std::sync::atomic::Ordering::{AcqRel, Acquire};

use super::sync::AtomicU64;
use super::word::is_after;

/// Counts calls in flight by the time at which they began, to know how many have
/// lasted too long before any of them ends.
///
/// A ring of slots, each a quarter of the threshold long. What is left in a slot
/// when its turn comes again is moved to those that are overdue, so a call that
/// never ends is never lost.
#[derive(Debug)]
pub(crate) struct Hanging {
    slot_nanos: u64,
    /// 16 bits of generation, 24 of tick, 24 of calls.
    slots: [AtomicU64; SLOTS as usize],
    /// 16 bits of generation, 48 of calls; below zero for a moment, when an end
    /// overtakes the move.
    overdue: AtomicU64,
}

/// The slot that a call began in: as in the slot, with a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Begun(NonZeroU64);

impl Hanging {
    pub(crate) fn new(threshold_nanos: u64) -> Self {
        Self {
            slot_nanos: (threshold_nanos / QUARTERS).max(1),
            slots: std::array::from_fn(|_| AtomicU64::new(0)),
            overdue: AtomicU64::new(0),
        }
    }

    /// Counts a call; also says whether it is the first of its slot.
    pub(crate) fn begin(&self, generation: u16, now: u64) -> (Begun, bool) {
        let begun = Begun::new(generation, self.tick(now));
        let slot = &self.slots[begun.slot()];
        let seen = slot.fetch_update(AcqRel, Acquire, |seen| {
            let begins = begun.is_in(seen) || !is_after(tag(seen), generation);
            begins.then(|| if begun.is_in(seen) { seen + 1 } else { begun.0.get() })
        });
        let Ok(seen) = seen else { return (begun, false) };
        let first = !begun.is_in(seen);
        if first && tag(seen) == generation && seen & CALLS > 0 {
            self.change_overdue(generation, (seen & CALLS) as i64);
        }
        (begun, first)
    }

    /// Counts the end of a call.
    pub(crate) fn end(&self, begun: Begun) {
        let slot = &self.slots[begun.slot()];
        let taken = slot.fetch_update(AcqRel, Acquire, |seen| {
            (begun.is_in(seen) && seen & CALLS > 0).then(|| seen - 1)
        });
        if let Err(seen) = taken
            && tag(seen) == tag(begun.0.get())
        {
            self.change_overdue(tag(seen), -1);
        }
    }

    /// The calls in flight that have lasted longer than the threshold, by up to a
    /// quarter of it.
    pub(crate) fn count(&self, generation: u16, now: u64) -> u32 {
        let overdue = self.overdue.load(Acquire);
        let overdue = if tag(overdue) == generation { signed(overdue).max(0) as u64 } else { 0 };
        let now = self.tick(now);
        let slow = self.slots.iter().map(|slot| slot.load(Acquire)).filter(|&seen| {
            tag(seen) == generation && age(now, (seen >> CALL_BITS) as u32) > QUARTERS as u32
        });
        let slow: u64 = slow.map(|seen| seen & CALLS).sum();
        u32::try_from(overdue + slow).unwrap_or(u32::MAX)
    }

    fn change_overdue(&self, generation: u16, by: i64) {
        let _ = self.overdue.fetch_update(AcqRel, Acquire, |seen| {
            let before = match tag(seen) {
                same if same == generation => signed(seen),
                other if is_after(other, generation) => return None,
                _ => 0,
            };
            Some(u64::from(generation) << TAG | (before + by) as u64 & OVERDUE)
        });
    }

    fn tick(&self, now: u64) -> u32 {
        (now / self.slot_nanos) as u32 & TICKS
    }
}

impl Begun {
    fn new(generation: u16, tick: u32) -> Self {
        Self(NonZeroU64::MIN | u64::from(generation) << TAG | u64::from(tick) << CALL_BITS)
    }

    fn slot(self) -> usize {
        (self.0.get() >> CALL_BITS) as usize % SLOTS as usize
    }

    fn is_in(self, slot: u64) -> bool {
        slot >> CALL_BITS == self.0.get() >> CALL_BITS
    }
}

fn tag(number: u64) -> u16 {
    (number >> TAG) as u16
}

/// How many ticks ago; 0 for one to come.
fn age(now: u32, tick: u32) -> u32 {
    let age = now.wrapping_sub(tick) & TICKS;
    if age > TICKS / 2 { 0 } else { age }
}

fn signed(overdue: u64) -> i64 {
    (overdue << 16) as i64 >> 16
}

const SLOTS: u32 = 8;
const QUARTERS: u64 = 4;
const TAG: u32 = 48;
const OVERDUE: u64 = (1 << TAG) - 1;
const CALL_BITS: u32 = 24;
const CALLS: u64 = (1 << CALL_BITS) - 1;
const TICKS: u32 = (1 << 24) - 1;
