//! A recorder of the facade for Prometheus to scrape.

mod instruments;
mod offer;
mod recorder;
mod text;

pub(crate) use offer::{Counted, GaugeSource, HistogramSource, Offer};
pub use recorder::{InstallError, PrometheusHandle, PrometheusRecorder};
