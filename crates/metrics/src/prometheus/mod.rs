//! A recorder of the facade for Prometheus to scrape.

mod instruments;
mod recorder;
mod text;

pub use recorder::{InstallError, PrometheusHandle, PrometheusRecorder};
