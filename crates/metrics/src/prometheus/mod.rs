//! A recorder of the facade for Prometheus to scrape.

mod families;
mod instruments;
mod labels;
mod offer;
mod protobuf;
mod recorder;
mod text;

pub(crate) use offer::{Counted, GaugeSource, HistogramSource, Offer};
pub use recorder::{InstallError, PrometheusHandle, PrometheusRecorder};
