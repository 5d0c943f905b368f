//! The layer as its users see it.
#![expect(clippy::unwrap_used, reason = "a test fails by a panic")]

mod bytes;
mod contract;
mod heads;
mod peers;
mod play;
mod python;
mod requests;
mod streams;
