//! Latency histograms and HTTP server metrics as a tower layer.
//!
//! # Metrics
//!
//! | name | kind | unit | labels |
//! |---|---|---|---|
//! | `http.server.request.duration` | histogram | seconds | `http.request.method`, `url.scheme`, `http.response.status_code`, `http.route`, `error.type` |
//! | `http.server.response.body.size` | histogram | bytes | `http.request.method`, `url.scheme`, `http.response.status_code`, `http.route`, `error.type` |
//! | `http.server.active_requests` | gauge | count | `http.request.method`, `url.scheme` |
//!
//! Names and labels are those of OpenTelemetry's semantic conventions for HTTP.
//! They go to whatever recorder of the `metrics` facade is installed; install it
//! before the first request, since handles are registered once and kept. Without
//! a recorder they cost a branch each.
//!
//! - `http.response.status_code` and `http.route` are left out where there is no
//!   response or no route.
//! - `error.type` is the status where that is 5xx; `abandoned` for a request that
//!   was dropped before its end; `_OTHER` for other failures: an error of the
//!   service, a body that broke off, a failed gRPC status.
//! - Past the limit of series there is one label, `otel.metric.overflow`.
//!
//! # Reading them here
//!
//! [`LatencyLayer`] measures each request up to the end of its response body,
//! in histograms of its own: [`LatencyHandle`] reads percentiles, outcomes and
//! what is in flight while the service runs, with a bounded error that recorders
//! with fixed buckets do not have. [`Histogram`] measures anything else.

mod body;
mod call;
mod distribution;
mod future;
mod handle;
mod histogram;
mod labels;
mod layer;
mod measurements;
mod meter;
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
