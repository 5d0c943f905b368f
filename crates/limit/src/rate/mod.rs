//! Quotas: how many requests a key may make in a time.

mod gcra;
mod quota;
mod rule;
mod window;

pub use quota::Quota;
