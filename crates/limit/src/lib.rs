//! Rate limits with backpressure as a tower layer.

mod rate;

pub use rate::Quota;
