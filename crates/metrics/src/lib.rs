//! Latency histograms and HTTP server metrics as a tower layer.
//!
//! # Metrics
//!
//! | name | kind | unit | labels |
//! |---|---|---|---|
//! | `http.server.request.duration` | histogram | seconds | `http.request.method`, `url.scheme`, `http.response.status_code`, `http.route`, `error.type` |
//! | `http.server.request.body.size` | histogram | bytes | `http.request.method`, `url.scheme`, `http.response.status_code`, `http.route`, `error.type` |
//! | `http.server.response.body.size` | histogram | bytes | `http.request.method`, `url.scheme`, `http.response.status_code`, `http.route`, `error.type` |
//! | `http.server.active_requests` | gauge | count | `http.request.method`, `url.scheme` |
//! | `tower_edge.long_lived.duration` | histogram | seconds | `http.request.method`, `url.scheme`, `http.response.status_code`, `http.route`, `error.type` |
//! | `tower_edge.stage.duration` | histogram | seconds | `stage` |
//! | `tower_edge.refusals` | counter | count | `reason` |
//! | `tower_edge.limit.shadow_refusals` | counter | count | none |
//! | `tower_edge.limit.waits` | counter | count | none |
//! | `tower_edge.limit.evictions` | counter | count | none |
//! | `tower_edge.limit.store.failures` | counter | count | none |
//! | `tower_edge.limit.unknown` | counter | count | `choice` |
//! | `tower_edge.breaker.transitions` | counter | count | `to` |
//! | `tower_edge.compress.responses` | counter | count | `coding` |
//! | `tower_edge.compress.plain.size` | counter | bytes | none |
//! | `tower_edge.compress.encoded.size` | counter | bytes | none |
//! | `tower_edge.cache.lookups` | counter | count | `found` |
//! | `tower_edge.cache.stores` | counter | count | none |
//! | `tower_edge.cache.stored.size` | counter | bytes | none |
//! | `tower_edge.cache.not_stored` | counter | count | `why` |
//! | `tower_edge.cache.invalidations` | counter | count | none |
//! | `tower_edge.cache.purges_collapsed` | counter | count | none |
//! | `tower_edge.cache.tier.failures` | counter | count | `doing` |
//! | `tower_edge.series.overflows` | counter | count | none |
//! | `process.cpu.time` | gauge | seconds | none |
//! | `process.memory.usage` | gauge | bytes | none |
//! | `process.open_file_descriptors` | gauge | count | none |
//!
//! Names and labels of `http.*` are those of OpenTelemetry's semantic conventions
//! for HTTP. All go to whatever recorder of the `metrics` facade is installed:
//! those of requests from [`LatencyLayer`], the counters from [`EventCounters`],
//! which layers tell their events, the gauges from [`record_process`].
//! Handles are registered once, with the first request after a recorder was
//! installed, and kept. Without a recorder they cost a branch each.
//!
//! [`PrometheusRecorder`] is a recorder for Prometheus to scrape. It costs requests
//! next to nothing: what the layer counts for itself is made into what a scrape
//! wants when somebody scrapes, bucket by bucket the same as if each value had been
//! recorded twice.
//!
//! - `http.response.status_code` and `http.route` are left out where there is no
//!   response or no route.
//! - `error.type` is the reason for a refusal by one of our layers:
//!   `rate_limited`, `overloaded`, `circuit_open`, `deadline_exceeded`; else the
//!   status where that is 5xx; `abandoned` for a request that was dropped before
//!   its end; `_OTHER` for other failures: an error of the service, a body that
//!   broke off, a failed gRPC status.
//! - Upgrades, tunnels and streams of events have a duration of their own, and
//!   none in `http.server.request.duration`.
//! - The size of a request body is what was announced; where nothing was, there
//!   is none: to count what is read, the body that the service gets would have to
//!   be of another type, which `axum::Router::layer` does not allow, or in a box.
//! - Past the limit of series there is one label, `otel.metric.overflow`.
//!
//! # Reading them here
//!
//! [`LatencyLayer`] measures each request up to the end of its response body,
//! in histograms of its own: [`LatencyHandle`] reads percentiles, outcomes and
//! what is in flight while the service runs, of all time or [lately](Interval),
//! with a bounded error that recorders with fixed buckets do not have.
//! [`Distribution::exponential`] gives the same buckets to exporters of
//! OpenTelemetry, [`PrometheusHandle::render_for`] to Prometheus's native histograms.
//! [`LatencyHandle::time`] measures what a handler does. [`Histogram`] measures
//! anything else.

mod body;
mod bounds;
mod call;
mod detail;
mod distribution;
mod ending;
mod events;
mod exponential;
mod future;
mod handle;
mod histogram;
mod in_flight;
mod intervals;
mod labels;
mod layer;
mod measurements;
mod meter;
#[cfg(test)]
mod model;
mod named;
mod process;
mod prometheus;
mod records;
mod scale;
mod scrape;
mod series;
mod server_timing;
mod service;
mod slow;
mod stage;
mod stripes;
mod sync;
mod table;
mod tally;

pub use body::LatencyBody;
pub use distribution::Distribution;
pub use events::EventCounters;
pub use exponential::ExponentialHistogram;
pub use future::ResponseFuture;
pub use handle::{LatencyHandle, LatencySnapshot, SeriesSnapshot};
pub use histogram::Histogram;
pub use intervals::Interval;
pub use layer::LatencyLayer;
pub use measurements::{CacheUses, Measurements, Outcomes, Refusals};
pub use process::record_process;
pub use prometheus::{InstallError, PrometheusHandle, PrometheusRecorder};
pub use service::LatencyService;
pub use stage::Stage;
