//! The breaker as its users see it.
#![expect(clippy::unwrap_used, reason = "a test fails by a panic")]

mod contract;
mod keys;
mod outcomes;
mod peers;
mod play;
mod probes;
mod running;
