//! Latency histograms and HTTP server metrics as a tower layer.
//!
//! [`LatencyLayer`] measures each request up to the end of its response body;
//! [`LatencyHandle`] reads the result while the service runs.

mod body;
mod call;
mod distribution;
mod future;
mod handle;
mod histogram;
mod labels;
mod layer;
mod measurements;
#[cfg(test)]
mod model;
mod records;
mod scale;
mod series;
mod server_timing;
mod service;
mod stripes;
mod sync;

pub use body::LatencyBody;
pub use distribution::Distribution;
pub use future::ResponseFuture;
pub use handle::{LatencyHandle, LatencySnapshot, SeriesSnapshot};
pub use histogram::Histogram;
pub use layer::LatencyLayer;
pub use measurements::{Measurements, Outcomes};
pub use service::LatencyService;
