//! What the histogram is made of and a model checker replaces.

use std::cell::Cell;
pub(crate) use std::sync::OnceLock;
pub(crate) use std::sync::atomic::AtomicU64;
use std::sync::atomic::{AtomicUsize, Ordering};

/// A number of this thread's own, counted from 0 in the order of first use.
pub(crate) fn thread_number() -> usize {
    NUMBER.with(|number| {
        if number.get() == usize::MAX {
            number.set(NEXT.fetch_add(1, Ordering::Relaxed));
        }
        number.get()
    })
}

thread_local! {
    static NUMBER: Cell<usize> = const { Cell::new(usize::MAX) };
}

static NEXT: AtomicUsize = AtomicUsize::new(0);
