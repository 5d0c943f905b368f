use std::mem::take;
use std::sync::Arc;

use bytes::Bytes;

use crate::room::{Room, Taken};

/// What has come of a body, or what is left of that.
#[derive(Debug)]
pub(crate) struct Buffer {
    bytes: Vec<u8>,
    /// What those take of the room for all.
    taken: Taken,
    /// How many bytes came before them.
    gone: u64,
    /// All of them, once they are.
    whole: Option<Bytes>,
}

/// How many bytes are kept at most.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Most {
    /// Of one body.
    pub(crate) entry: u64,
    /// Of all bodies under way.
    pub(crate) room: u64,
}

/// Why a body is not stored that is larger than one may be.
pub(crate) const TOO_LARGE: &str = "too large";

/// Why a body is not stored for which there is no room beside others.
pub(crate) const NO_ROOM: &str = "too much under way";

impl Buffer {
    pub(crate) fn new(room: &Arc<Room>) -> Self {
        Self { bytes: Vec::new(), taken: Taken::nothing(room), gone: 0, whole: None }
    }

    /// How many bytes have come.
    pub(crate) fn len(&self) -> u64 {
        self.gone + self.bytes.len() as u64
    }

    /// Whether what came from there on is still there.
    pub(crate) fn starts_at(&self, position: u64) -> bool {
        self.gone <= position
    }

    /// Makes place for `len` bytes in all, in steps, if there is room for that.
    pub(crate) fn grow(&mut self, len: u64, expected: Option<u64>, most: Most) -> bool {
        let capacity = self.capacity();
        if len <= capacity {
            return true;
        }
        // What is announced is not trusted, but not exceeded either.
        let end = expected.filter(|bytes| *bytes >= len).unwrap_or(most.entry);
        let step = (2 * capacity).min(end).max(len);
        let fits = self.taken.resize(step, most.room);
        if fits {
            let more = usize::try_from(step).unwrap_or(usize::MAX) - self.bytes.len();
            self.bytes.reserve_exact(more);
        }
        fits
    }

    pub(crate) fn push(&mut self, data: &[u8]) {
        self.bytes.extend_from_slice(data);
    }

    /// What there is from `position` on, up to a piece; `None` if it is gone.
    pub(crate) fn piece(&self, position: u64) -> Option<Bytes> {
        let from = usize::try_from(position.checked_sub(self.gone)?).ok()?;
        if let Some(whole) = &self.whole {
            return (from <= whole.len()).then(|| whole.slice(from..));
        }
        let unread = self.bytes.get(from..)?;
        Some(Bytes::copy_from_slice(&unread[..unread.len().min(PIECE)]))
    }

    /// Makes one buffer of what came, which is the store's from now on.
    pub(crate) fn whole(&mut self) -> Bytes {
        let whole = Bytes::from(take(&mut self.bytes).into_boxed_slice());
        self.whole = Some(whole.clone());
        self.taken.resize(0, 0);
        whole
    }

    /// Lets go what came before `position`.
    pub(crate) fn let_go(&mut self, position: u64) {
        let behind = usize::try_from(position.saturating_sub(self.gone)).unwrap_or(usize::MAX);
        // Not for every frame: what stays is moved.
        if behind > 0 && 2 * behind >= self.bytes.len() {
            self.bytes.drain(..behind);
            self.bytes.shrink_to_fit();
            self.gone += behind as u64;
        }
        self.taken.resize(self.capacity(), u64::MAX);
    }

    /// Lets go all that came, and so many bytes more that nobody will read.
    pub(crate) fn skip(&mut self, more: usize) {
        self.gone = self.len() + more as u64;
        self.bytes = Vec::new();
        self.taken.resize(0, 0);
    }

    /// How many bytes it takes.
    pub(crate) fn capacity(&self) -> u64 {
        self.bytes.capacity() as u64
    }
}

/// The most that a reader takes at once while the body grows: each holds a copy of
/// that while it is sent.
const PIECE: usize = 16 << 10;
