use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use tower_edge_core::Coding;

use crate::codec::{EncodeError, Encoder, Kind, Scratch, Then};

/// Encoders that are not in use: what they hold takes longer to make than most
/// bodies to encode.
#[derive(Debug, Default)]
pub(crate) struct Pool {
    idle: [Mutex<Vec<Encoder>>; SHELVES],
    most: usize,
}

impl Pool {
    /// Keeps up to `most` idle encoders of each sort.
    pub(crate) fn new(most: usize) -> Self {
        Self { most, ..Self::default() }
    }

    /// Another one that keeps as many, with none in it.
    pub(crate) fn emptied(&self) -> Self {
        Self::new(self.most)
    }

    /// An encoder at its start, for one body; one that cannot be made fails when it
    /// is used.
    pub(crate) fn lease(self: &Arc<Self>, coding: Coding, level: u8, kind: Kind) -> Lease {
        let shelf = shelf(coding, kind);
        let idle = self.shelf(shelf).pop();
        let encoder = match idle.and_then(|mut encoder| encoder.reset().then_some(encoder)) {
            Some(encoder) => Some(encoder),
            None => Encoder::new(coding, level, kind).ok(),
        };
        Lease { encoder, shelf, pool: self.clone() }
    }

    fn shelf(&self, shelf: usize) -> std::sync::MutexGuard<'_, Vec<Encoder>> {
        self.idle[shelf].lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// An encoder that goes back to its pool when it is dropped, wherever the body is.
pub(crate) struct Lease {
    /// Gone when it failed, or could not be made.
    encoder: Option<Encoder>,
    shelf: usize,
    pool: Arc<Pool>,
}

impl Lease {
    /// Says how long the body is that comes.
    pub(crate) fn expect(&mut self, size: u64) {
        if let Some(encoder) = &mut self.encoder {
            encoder.expect(size);
        }
    }

    /// Encodes all of `input`; one that failed goes on failing.
    pub(crate) fn encode(
        &mut self,
        input: &[u8],
        then: Then,
        output: &mut Scratch,
    ) -> Result<(), EncodeError> {
        let encoded = self.encoder.as_mut().ok_or(EncodeError)?.encode(input, then, output);
        if encoded.is_err() {
            self.encoder = None;
        }
        encoded
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        if let Some(encoder) = self.encoder.take().filter(Encoder::starts_again) {
            let mut shelf = self.pool.shelf(self.shelf);
            if shelf.len() < self.pool.most {
                shelf.push(encoder);
            }
        }
    }
}

impl fmt::Debug for Lease {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Lease").field("encoder", &self.encoder).finish_non_exhaustive()
    }
}

fn shelf(coding: Coding, kind: Kind) -> usize {
    KINDS * coding as usize + kind as usize
}

const KINDS: usize = Kind::Pieces as usize + 1;
const SHELVES: usize = KINDS * Coding::ALL.len();
