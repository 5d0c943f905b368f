use std::sync::atomic::{AtomicU16, Ordering};

/// Remembers what was turned away lately, in two bytes each (Einziger, Friedman and
/// Manes, TinyLFU, 2017, §3.4.2).
///
/// Bounded: what shares a place is forgotten for the other, and one in 65,536 is taken
/// for it.
#[derive(Debug)]
pub(crate) struct Doorkeeper(Box<[AtomicU16]>);

impl Doorkeeper {
    /// Remembers up to so many, or a few more.
    pub(crate) fn new(most: usize) -> Self {
        Self((0..most.next_power_of_two()).map(|_| AtomicU16::new(0)).collect())
    }

    /// Whether what has this hash was here before; if not, it was now.
    pub(crate) fn knows(&self, hash: u64) -> bool {
        let (place, mark) = (hash as usize & (self.0.len() - 1), (hash >> 48) as u16);
        self.0[place].swap(mark, Ordering::Relaxed) == mark
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_was_here_is_known_until_another_takes_the_place() {
        let doorkeeper = Doorkeeper::new(5);
        let hash = |place: u64, mark: u64| place | mark << 48;
        let asked = [(1, 7), (2, 7), (1, 7), (9, 8), (1, 7), (1, 7), (2, 7)];
        let known = asked.map(|(place, mark)| doorkeeper.knows(hash(place, mark)));
        assert_eq!(known, [false, false, true, false, false, true, true]);
    }
}
