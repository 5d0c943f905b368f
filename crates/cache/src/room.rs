use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// What bodies on their way into the store take of memory, all together.
#[derive(Debug, Default)]
pub(crate) struct Room {
    taken: AtomicU64,
}

impl Room {
    /// How many bytes are taken.
    pub(crate) fn taken(&self) -> u64 {
        self.taken.load(Ordering::Relaxed)
    }
}

/// What one of them takes; it is given back when this is dropped.
#[derive(Debug)]
pub(crate) struct Taken {
    room: Arc<Room>,
    bytes: u64,
}

impl Taken {
    /// Nothing so far.
    pub(crate) fn nothing(room: &Arc<Room>) -> Self {
        Self { room: room.clone(), bytes: 0 }
    }

    /// Takes so many bytes in place of those before, if all together take no more
    /// than `most` then; whether they do. Less than before is always possible.
    pub(crate) fn resize(&mut self, bytes: u64, most: u64) -> bool {
        let resized = |taken: u64| {
            let taken = taken - self.bytes + bytes;
            (bytes <= self.bytes || taken <= most).then_some(taken)
        };
        let fits = self.room.taken.fetch_update(Ordering::Relaxed, Ordering::Relaxed, resized);
        if fits.is_ok() {
            self.bytes = bytes;
        }
        fits.is_ok()
    }
}

impl Drop for Taken {
    fn drop(&mut self) {
        self.resize(0, 0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_taken_is_bounded_and_given_back() {
        let room = Arc::<Room>::default();
        let (mut one, mut other) = (Taken::nothing(&room), Taken::nothing(&room));
        assert!(one.resize(6, 10) && other.resize(4, 10));
        assert!(!one.resize(7, 10) && !other.resize(5, 10));
        assert_eq!(room.taken(), 10);
        // The bound may have sunk meanwhile.
        assert!(one.resize(5, 3) && !other.resize(5, 9));
        assert!(other.resize(5, 10));
        drop(one);
        assert_eq!(room.taken(), 5);
        drop(other);
        assert_eq!(room.taken(), 0);
    }
}
