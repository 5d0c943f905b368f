use std::sync::{Arc, Mutex};

use crate::heap::{COUNTS, allocated};
use crate::sync::lock;
use crate::variants::Variants;

/// Where the table has the responses of one resource, until it gives them up.
///
/// The table frees what goes out of it only when no thread can be looking at it any
/// more, and a thread that looks may have lost its turn at a core for long. So what
/// goes is taken out of its slot, and the slot alone stays behind.
#[derive(Clone, Debug)]
pub(crate) struct Slot(Arc<Mutex<Variants>>);

impl Slot {
    pub(crate) fn new(variants: Variants) -> Self {
        Self(Arc::new(Mutex::new(variants)))
    }

    /// What is there: nothing once it is taken.
    pub(crate) fn variants(&self) -> Variants {
        lock(&self.0).clone()
    }

    /// Takes what is there away, from all who look later.
    pub(crate) fn take(&self) -> Variants {
        std::mem::take(&mut *lock(&self.0))
    }
}

/// What a slot takes of memory beside what is in it, in bytes.
pub(crate) const SLOT: usize = allocated(COUNTS + size_of::<Mutex<Variants>>());
