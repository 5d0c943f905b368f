//! A circuit breaker for HTTP services as a tower layer.
#![allow(dead_code)]

mod backoff;
mod call_ring;
mod circuit;
mod hanging;
mod jitter;
mod ring;
mod rules;
mod streak;
mod sync;
#[cfg(test)]
mod tests;
mod time_ring;
mod trip;
mod window;
mod word;

pub use trip::Trip;
pub use window::Window;
pub use word::{Mode, State};
