//! What the flight table is made of and a model checker replaces.

pub(crate) use std::sync::{Arc, Mutex};
use std::sync::{MutexGuard, PoisonError};

/// Locks `mutex`. Nothing panics while it is held but a waker of a foreign
/// runtime may, and what is noted stands then.
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
