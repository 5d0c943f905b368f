//! Latency histograms.

mod distribution;
mod histogram;
#[cfg(test)]
mod model;
mod scale;
mod stripes;
mod sync;

pub use distribution::Distribution;
pub use histogram::Histogram;
