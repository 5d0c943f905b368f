//! What the circuit is made of and a model checker replaces.

pub(crate) use std::sync::atomic::AtomicU64;
