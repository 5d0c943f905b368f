use std::sync::atomic::Ordering::Relaxed;

use super::sync::AtomicU64;
use super::window::{Counts, Mark};
use super::word::is_after;

/// How calls of the last while ended: a ring of slots, each a sixteenth of the
/// window and tagged with the time and the generation that it counts.
///
/// Recording touches one slot, whatever came before. A slot of another time or
/// generation counts as empty; it is written over when its turn comes. The
/// window is between 15 and 16 slots long.
#[derive(Debug)]
pub(crate) struct TimeRing {
    slot_nanos: u64,
    /// The last tick that was recorded.
    latest: AtomicU64,
    slots: [Slot; SLOTS as usize],
}

impl TimeRing {
    pub(crate) fn new(nanos: u64) -> Self {
        let slots = std::array::from_fn(|_| Slot::default());
        Self { slot_nanos: (nanos / SLOTS).max(1), latest: AtomicU64::new(0), slots }
    }

    /// Records the end of a call at `now`, unless a later generation has begun to
    /// count here.
    #[inline(always)]
    pub(crate) fn record(&self, generation: u16, now: u64, mark: Mark) {
        let latest = self.latest.load(Relaxed);
        let tick = if self.is_during(latest, now) { latest } else { self.tick(now) };
        if latest < tick {
            self.turn(tick);
        }
        let slot = &self.slots[(tick % SLOTS) as usize];
        let tag = Tag { generation, lap: lap(tick) };
        let failures = u64::from(mark.failure);
        add(&slot.ends, tag, 1 | failures << FIELD);
        if mark.slow {
            add(&slot.slow, tag, 1);
        }
    }

    /// What was recorded in the window that ends at `now`.
    pub(crate) fn counts(&self, generation: u16, now: u64) -> Counts {
        let last = self.tick(now);
        let mut counts = Counts::default();
        for tick in last + 1 - SLOTS..=last {
            let slot = &self.slots[(tick % SLOTS) as usize];
            let tag = Tag { generation, lap: lap(tick) };
            let (ends, slow) = (slot.ends.load(Relaxed), slot.slow.load(Relaxed));
            if Tag::of(ends) == tag {
                counts.calls += (ends & MAX) as u32;
                counts.failures += (ends >> FIELD & MAX) as u32;
            }
            if Tag::of(slow) == tag {
                counts.slow += (slow & MAX) as u32;
            }
        }
        counts
    }

    /// Whether it is this tick at `now`; known without a division, which takes longer
    /// than all else here.
    fn is_during(&self, tick: u64, now: u64) -> bool {
        let start = tick.wrapping_sub(SLOTS).wrapping_mul(self.slot_nanos);
        now.wrapping_sub(start) < self.slot_nanos
    }

    /// Starts a tick. After so long a time without calls that laps would be taken
    /// for others, nothing of what is left may count.
    #[cold]
    #[inline(never)]
    fn turn(&self, tick: u64) {
        let before = self.latest.fetch_max(tick, Relaxed);
        if tick.saturating_sub(before) > SLOTS * LAPS / 2 {
            for slot in &self.slots {
                slot.ends.store(0, Relaxed);
                slot.slow.store(0, Relaxed);
            }
        }
    }

    /// Ticks start at one lap, so that there is always a whole window before.
    fn tick(&self, now: u64) -> u64 {
        now / self.slot_nanos + SLOTS
    }
}

/// 8 bits of lap, 16 of generation, and two counts of 20.
#[derive(Debug, Default)]
struct Slot {
    /// All ends, and the failures among them.
    ends: AtomicU64,
    slow: AtomicU64,
}

/// What a slot counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Tag {
    pub(crate) generation: u16,
    pub(crate) lap: u8,
}

impl Tag {
    pub(crate) fn of(slot: u64) -> Self {
        Self { generation: (slot >> GENERATION) as u16, lap: (slot >> LAP) as u8 }
    }

    /// Whether a slot with this tag is to be left to those who came later.
    pub(crate) fn is_after(self, other: Self) -> bool {
        is_after(self.generation, other.generation)
            || self.generation == other.generation
                && self.lap != other.lap
                && self.lap.wrapping_sub(other.lap) < 1 << 7
    }

    pub(crate) fn empty(self) -> u64 {
        u64::from(self.lap) << LAP | u64::from(self.generation) << GENERATION
    }
}

/// Adds to a slot; a slot that is full stays as it is.
fn add(slot: &AtomicU64, tag: Tag, counts: u64) {
    let _ = slot.fetch_update(Relaxed, Relaxed, |seen| {
        let seen_tag = Tag::of(seen);
        match seen_tag == tag {
            true if seen & MAX < MAX => Some(seen + counts),
            true => None,
            false => (!seen_tag.is_after(tag)).then(|| tag.empty() + counts),
        }
    });
}

fn lap(tick: u64) -> u8 {
    (tick / SLOTS) as u8
}

const SLOTS: u64 = 16;
const LAPS: u64 = 1 << 8;
const FIELD: u32 = 20;
/// A slot counts no more calls than these.
pub(crate) const MAX: u64 = (1 << FIELD) - 1;
const GENERATION: u32 = 2 * FIELD;
const LAP: u32 = GENERATION + 16;
