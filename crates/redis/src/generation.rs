use std::hash::{BuildHasher, RandomState};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use redis::Value;

use crate::error::Failure;

/// Which records count: those of the generation that is noted in Redis. To clear is
/// to note another one; what is of an older one goes when its time is over.
///
/// It is a random number, so that one is never there again, even if what was noted
/// is lost.
#[derive(Debug, Default)]
pub(crate) struct Generation {
    /// 0 while it is not known.
    known: AtomicU64,
    /// When it was asked for, in nanoseconds since some start.
    asked: AtomicU64,
}

impl Generation {
    /// The one that is known; `None` before the first answer.
    pub(crate) fn known(&self) -> Option<u64> {
        Some(self.known.load(Ordering::Acquire)).filter(|known| *known != 0)
    }

    /// Whether it is time to ask, at this time: by the first who does, each second.
    pub(crate) fn is_due(&self, now: u64) -> bool {
        let asked = self.asked.load(Ordering::Relaxed);
        let is_due = now.saturating_sub(asked) >= PERIOD.as_nanos() as u64;
        let order = Ordering::Relaxed;
        is_due && self.asked.compare_exchange(asked, now, order, order).is_ok()
    }

    /// Learns it as it is noted.
    pub(crate) fn learn(&self, noted: &Value) -> Result<u64, Failure> {
        let Value::BulkString(text) = noted else { return Err(Failure::Foreign) };
        let noted = read(text).ok_or(Failure::Foreign)?;
        self.known.store(noted, Ordering::Release);
        Ok(noted)
    }
}

/// A number that nobody has drawn before.
pub(crate) fn draw() -> u64 {
    // Keyed anew each time, from what the system gives that is random.
    RandomState::new().hash_one(0_u8).max(1)
}

/// A generation as it is noted.
pub(crate) fn text(generation: u64) -> String {
    format!("{generation:016x}")
}

fn read(text: &[u8]) -> Option<u64> {
    let text = std::str::from_utf8(text).ok().filter(|text| text.len() == 16)?;
    u64::from_str_radix(text, 16).ok().filter(|number| *number != 0)
}

/// How long it may take until what somebody else has cleared is.
const PERIOD: Duration = Duration::from_secs(1);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_what_is_noted() {
        let generation = Generation::default();
        assert_eq!(generation.known(), None);
        let noted = |text: &str| Value::BulkString(text.into());
        assert_eq!(generation.learn(&noted(&text(255))).ok(), Some(255));
        for wrong in ["", "ff", "000000000000000g", "0000000000000000"] {
            assert!(generation.learn(&noted(wrong)).is_err(), "{wrong}");
        }
        assert!(generation.learn(&Value::Int(1)).is_err());
        assert_eq!(generation.known(), Some(255));
        assert_ne!(draw(), draw());
    }

    #[test]
    fn it_is_asked_for_once_a_second() {
        let generation = Generation::default();
        let second = PERIOD.as_nanos() as u64;
        let due = [0, second, second, 2 * second - 1, 2 * second].map(|now| generation.is_due(now));
        assert_eq!(due, [false, true, false, false, true]);
    }
}
