use std::cell::Cell;

use bytes::Bytes;

/// Where encoders write to: kept by each thread, so that it is made once.
#[derive(Debug, Default)]
pub(crate) struct Scratch {
    bytes: Vec<u8>,
    filled: usize,
}

impl Scratch {
    /// Runs `f` with the scratch of this thread, empty.
    ///
    /// Who calls it again within gets another one.
    pub(crate) fn with<R>(f: impl FnOnce(&mut Self) -> R) -> R {
        let mut scratch = KEPT.try_with(Cell::take).unwrap_or_default();
        let result = f(&mut scratch);
        scratch.filled = 0;
        if scratch.bytes.len() <= MOST_KEPT {
            let _ = KEPT.try_with(|kept| kept.set(scratch));
        }
        result
    }

    /// What has been written.
    pub(crate) fn written(&self) -> &[u8] {
        &self.bytes[..self.filled]
    }

    /// A copy of what has been written, and takes it away.
    pub(crate) fn take(&mut self) -> Bytes {
        let bytes = Bytes::copy_from_slice(self.written());
        self.filled = 0;
        bytes
    }

    /// Room for at least so many bytes more.
    pub(crate) fn room(&mut self, least: usize) -> &mut [u8] {
        if self.bytes.len() - self.filled < least {
            let size = (self.filled + least).next_power_of_two().max(FIRST);
            match self.filled {
                // The system has pages of zeros, and gives those that are written to.
                0 => self.bytes = vec![0; size],
                _ => self.bytes.resize(size, 0),
            }
        }
        &mut self.bytes[self.filled..]
    }

    /// Notes that so many bytes were written where there was room.
    pub(crate) fn fill(&mut self, count: usize) {
        self.filled += count;
    }
}

thread_local! {
    static KEPT: Cell<Scratch> = const { Cell::new(Scratch { bytes: Vec::new(), filled: 0 }) };
}

const FIRST: usize = 32 << 10;
const MOST_KEPT: usize = 256 << 10;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_taken_once() {
        let taken = Scratch::with(|scratch| {
            scratch.room(3)[..3].copy_from_slice(b"abc");
            scratch.fill(3);
            assert_eq!(scratch.written(), b"abc");
            (scratch.take(), scratch.take())
        });
        assert_eq!(taken, ("abc".into(), Bytes::new()));
    }

    #[test]
    fn it_is_kept_but_not_what_was_written() {
        let at = |scratch: &mut Scratch| {
            assert_eq!(scratch.written(), b"");
            let at = scratch.room(1).as_ptr();
            scratch.fill(1);
            at
        };
        assert_eq!(Scratch::with(at), Scratch::with(at));
        let inner = Scratch::with(|outer| (outer.room(1).as_ptr(), Scratch::with(at)));
        assert_ne!(inner.0, inner.1);
    }

    #[test]
    fn what_grew_large_is_not_kept() {
        Scratch::with(|scratch| assert!(scratch.room(MOST_KEPT + 1).len() > MOST_KEPT));
        Scratch::with(|scratch| assert!(scratch.room(1).len() <= MOST_KEPT));
    }
}
