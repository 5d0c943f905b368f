//! What quotas are kept in and a model checker replaces.

pub(crate) use std::hint::spin_loop;
pub(crate) use std::sync::Mutex;
pub(crate) use std::sync::atomic::{AtomicU64, fence};

pub(crate) use super::pages::{Set, Sets};

/// The places where a key can be.
pub(crate) const WAYS: usize = 16;
/// Locks for taking a place, each for so many-th of the sets.
pub(crate) const TURNS: usize = 64;
