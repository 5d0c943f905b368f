use std::sync::atomic::Ordering::Relaxed;

use super::sync::AtomicU64;

/// Counts failures without a success between them: 32 bits of generation, 32 of
/// failures.
#[derive(Debug, Default)]
pub(crate) struct Streak(AtomicU64);

impl Streak {
    /// Counts an end, unless a later generation has begun to count here.
    #[inline]
    pub(crate) fn record(&self, generation: u32, failure: bool) {
        if failure || self.length(generation) > 0 {
            self.change(generation, failure);
        }
    }

    #[inline(never)]
    fn change(&self, generation: u32, failure: bool) {
        let _ = self.0.fetch_update(Relaxed, Relaxed, |seen| {
            let tag = (seen >> 32) as u32;
            let failures = match tag == generation {
                true => seen as u32,
                false if tag.wrapping_sub(generation) < 1 << 31 => return None,
                false => 0,
            };
            let failures = if failure { failures.saturating_add(1) } else { 0 };
            Some(u64::from(generation) << 32 | u64::from(failures))
        });
    }

    pub(crate) fn length(&self, generation: u32) -> u32 {
        let seen = self.0.load(Relaxed);
        if (seen >> 32) as u32 == generation { seen as u32 } else { 0 }
    }
}
