use std::hash::{BuildHasher, RandomState};
use std::sync::atomic::{AtomicU64, Ordering};

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
}

impl Generation {
    /// The one that is known; `None` before the first answer.
    pub(crate) fn known(&self) -> Option<u64> {
        Some(self.known.load(Ordering::Acquire)).filter(|known| *known != 0)
    }

    /// Learns it as it is noted.
    pub(crate) fn learn(&self, noted: &[u8]) -> Result<u64, Failure> {
        let noted = read(noted).ok_or(Failure::Foreign)?;
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_what_is_noted() {
        let generation = Generation::default();
        assert_eq!(generation.known(), None);
        assert_eq!(generation.learn(text(255).as_bytes()).ok(), Some(255));
        for wrong in ["", "ff", "000000000000000g", "0000000000000000"] {
            assert!(generation.learn(wrong.as_bytes()).is_err(), "{wrong}");
        }
        assert_eq!(generation.known(), Some(255));
        assert_ne!(draw(), draw());
    }
}
