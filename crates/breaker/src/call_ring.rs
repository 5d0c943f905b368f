use std::sync::atomic::Ordering::{AcqRel, Acquire, Relaxed};

use super::sync::AtomicU64;
use super::window::{Counts, Mark};
use super::word::is_after;

/// How the last so many calls ended: a ring with a slot for each of them.
///
/// A call takes a place, writes its end there, and puts the difference to what
/// stood there into the sums: three numbers, each tagged with the generation
/// that it counts.
#[derive(Debug)]
pub(crate) struct CallRing {
    /// 16 bits of generation, 48 of places taken in it.
    taken: AtomicU64,
    /// 16 bits of generation, 24 of failures and 24 of slow calls. Either may be
    /// below zero for a moment, while those who change it overtake each other.
    sums: AtomicU64,
    /// 16 bits of generation, 46 of the place, and the end in the last two.
    slots: Box<[AtomicU64]>,
}

impl CallRing {
    pub(crate) fn new(calls: u16) -> Self {
        let slots = (0..calls).map(|_| AtomicU64::new(0)).collect();
        Self { taken: AtomicU64::new(0), sums: AtomicU64::new(0), slots }
    }

    /// Records the end of a call, unless a later generation has begun to count
    /// here.
    #[inline(never)]
    pub(crate) fn record(&self, generation: u16, mark: Mark) {
        let Some(place) = self.take(generation) else { return };
        let slot = &self.slots[(place % self.slots.len() as u64) as usize];
        let end = u64::from(mark.failure) | u64::from(mark.slow) << 1;
        let written = u64::from(generation) << TAG | (place + 1) << PLACE | end;
        let replaced = slot.fetch_update(AcqRel, Relaxed, |seen| {
            let is_newer = is_after(tag(seen), generation)
                || tag(seen) == generation && seen >> PLACE > written >> PLACE;
            (!is_newer).then_some(written)
        });
        // Who was overtaken by a whole lap is no longer one of the last.
        let Ok(replaced) = replaced else { return };
        let old = if tag(replaced) == generation { replaced & END } else { 0 };
        if old != end {
            self.change(generation, old, end);
        }
    }

    pub(crate) fn counts(&self, generation: u16) -> Counts {
        let (taken, sums) = (self.taken.load(Acquire), self.sums.load(Acquire));
        let mut counts = Counts::default();
        if tag(taken) == generation {
            counts.calls = (taken & PLACES).min(self.slots.len() as u64) as u32;
        }
        if tag(sums) == generation {
            counts.failures = Sums::unpack(sums).failures.max(0) as u32;
            counts.slow = Sums::unpack(sums).slow.max(0) as u32;
        }
        counts
    }

    fn take(&self, generation: u16) -> Option<u64> {
        let taken = self.taken.fetch_update(AcqRel, Relaxed, |seen| match tag(seen) {
            same if same == generation => Some(seen + 1),
            other => (!is_after(other, generation)).then(|| u64::from(generation) << TAG | 1),
        });
        taken.ok().map(|seen| if tag(seen) == generation { seen & PLACES } else { 0 })
    }

    fn change(&self, generation: u16, old: u64, new: u64) {
        let difference = |bit: u32| (new >> bit & 1) as i32 - (old >> bit & 1) as i32;
        let _ = self.sums.fetch_update(AcqRel, Relaxed, |seen| {
            let sums = match tag(seen) {
                same if same == generation => Sums::unpack(seen),
                other if is_after(other, generation) => return None,
                _ => Sums { failures: 0, slow: 0 },
            };
            let failures = sums.failures + difference(0);
            let slow = sums.slow + difference(1);
            Some(u64::from(generation) << TAG | Sums { failures, slow }.pack())
        });
    }
}

/// Two sums in 24 bits each.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Sums {
    pub(crate) failures: i32,
    pub(crate) slow: i32,
}

impl Sums {
    pub(crate) fn pack(&self) -> u64 {
        let field = |sum: i32| u64::from(sum as u32) & FIELD;
        field(self.failures) << 24 | field(self.slow)
    }

    pub(crate) fn unpack(sums: u64) -> Self {
        let signed = |field: u64| ((field & FIELD) as i32) << 8 >> 8;
        Self { failures: signed(sums >> 24), slow: signed(sums) }
    }
}

fn tag(number: u64) -> u16 {
    (number >> TAG) as u16
}

const TAG: u32 = 48;
const PLACES: u64 = (1 << TAG) - 1;
const PLACE: u32 = 2;
const END: u64 = 3;
const FIELD: u64 = (1 << 24) - 1;
