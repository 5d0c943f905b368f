//! What circuits are made of and a model checker replaces.

pub(crate) use std::sync::Mutex;
pub(crate) use std::sync::atomic::AtomicU64;
