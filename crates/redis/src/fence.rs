use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// Numbers for writes, so that one that was given up does not undo what came after
/// it, wherever it was held up.
///
/// While all goes well the number stays, and Redis notes nothing. Once a write was
/// given up, the next ones have a higher number, and for a minute they leave it
/// where they write: what comes there with a lower one is refused.
#[derive(Debug, Default)]
pub(crate) struct Fence {
    number: AtomicU64,
    /// When a write was given up last, in nanoseconds since some start.
    since: AtomicU64,
}

/// A write, and that it was given up unless it says otherwise.
#[derive(Debug)]
pub(crate) struct Doubt<'a> {
    fence: &'a Fence,
    /// When it began.
    now: u64,
    ended: bool,
}

impl Fence {
    /// Begins a write, at this time.
    pub(crate) fn begin(&self, now: u64) -> Doubt<'_> {
        Doubt { fence: self, now, ended: false }
    }

    /// The number of a write, and for how long it is to be known where it is made.
    pub(crate) fn number(&self, now: u64) -> (u64, Duration) {
        let number = self.number.load(Ordering::Acquire);
        let since = Duration::from_nanos(now.saturating_sub(self.since.load(Ordering::Acquire)));
        let is_known = number > 0 && since < KNOWN;
        (number, if is_known { KNOWN } else { Duration::ZERO })
    }
}

impl Doubt<'_> {
    /// It was made, or will never be.
    pub(crate) fn end(mut self) {
        self.ended = true;
    }
}

impl Drop for Doubt<'_> {
    fn drop(&mut self) {
        if !self.ended {
            self.fence.since.fetch_max(self.now, Ordering::AcqRel);
            self.fence.number.fetch_add(1, Ordering::AcqRel);
        }
    }
}

/// How much later than others a write may come that was sent before them.
const KNOWN: Duration = Duration::from_secs(60);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn writes_have_a_higher_number_once_one_was_given_up() {
        let fence = Fence::default();
        fence.begin(5).end();
        assert_eq!(fence.number(5), (0, Duration::ZERO));
        drop(fence.begin(10));
        let later = |after: Duration| 10 + after.as_nanos() as u64;
        assert_eq!(fence.number(10), (1, KNOWN));
        assert_eq!(fence.number(later(KNOWN) - 1), (1, KNOWN));
        assert_eq!(fence.number(later(KNOWN)), (1, Duration::ZERO));
        drop(fence.begin(later(KNOWN)));
        assert_eq!(fence.number(later(KNOWN)), (2, KNOWN));
    }
}
