//! A circuit breaker for HTTP services as a tower layer.
//!
//! [`BreakerLayer`] stops calling a service that fails, answers in its place with
//! 503 and `Retry-After`, and tries from time to time whether the service is well
//! again. Put it innermost: it judges the service alone.
//!
//! ```
//! use std::num::NonZeroU32;
//! use std::time::Duration;
//!
//! use tower_edge_breaker::{BreakerLayer, Trip, Window};
//! use tower_edge_core::RouteKey;
//!
//! let layer = BreakerLayer::new()
//!     .trip_on([Trip::failure_rate(0.5, Window::time(Duration::from_secs(10)))])
//!     .open_for(Duration::from_secs(5), Duration::from_secs(60))
//!     .keyed(RouteKey, NonZeroU32::new(1_000).unwrap());
//! ```
//!
//! # What it does
//!
//! - **Opens** ([`Trip`]) for failures in a row, for a rate of failures or of slow
//!   calls, among the last calls or those of the last while, and for calls in
//!   flight that are slow already. Any of them will do. A success never opens it.
//! - **Judges** a call at the end of its body: 5xx, gRPC statuses in trailers too,
//!   errors and bodies that break off are failures; 4xx are not. A call whose caller
//!   leaves has failed if the service was silent for
//!   [long](BreakerLayer::slow_after) by then, and says nothing otherwise.
//! - **Probes** with a few requests, never more at once than
//!   [allowed](BreakerLayer::probes), or with a [health check](BreakerLayer::probe).
//!   A probe whose future or body is dropped gives its place back; probes that
//!   hang do not keep it from trying again.
//! - **Closes** at once or over a [while](BreakerLayer::ramp).
//! - **Forgets** what was admitted before a transition: its end changes nothing.
//! - **Tells** and obeys while it runs: [`BreakerHandle`].
//!
//! # What it costs
//!
//! While a circuit is closed and its calls go well, a request takes two looks at
//! one number, one rough reading of the clock (`Stopwatch::roughly`; a precise one
//! where a window is shorter than a second) and one addition; no lock and no
//! allocation, whatever the number of keys. Timing calls, for [`Trip::slow_rate`],
//! takes up to two more readings.
//!
//! # Over loopback
//!
//! The gateway of the examples with its default breaker, 20 calls or more within
//! 10 seconds, and an origin that fails in several ways (`tests/gateway/breaker.rs`,
//! on a shared machine of 2 cores, without optimisation): how long a client waits
//! for an error before the circuit opens and after it, how many of 200 requests at
//! once (100 in the third row) reached the origin while it was open, and the time
//! from its recovery to full service. The last is the rest of the open time, which
//! is random up to 5 seconds and then doubles.
//!
//! | the origin | error, closed | error, open | reached it | full service after |
//! |---|---|---|---|---|
//! | dies | 0.9 ms | 0.8 ms | 0 | 2.7 s |
//! | hangs, with a time-out of 1.5 s | 1,534 ms | 1.1 ms | 0 | 3.5 s |
//! | comes back, and is slow at first | 1.0 ms | 0.6 ms | 3, the probes | at once |
//! | fails on one route of three | 0.9 ms | stays closed | all | |
//!
//! # What it does not
//!
//! - It does not retry, and has no time-outs of its own: put one inside, or
//!   outside, and it sees them either way.
//! - Circuits are of one process; nodes do not tell each other.
//! - Probes of one half-open time that hang are not counted in the next one.
//! - Errors of the inner `poll_ready` do not count.
//! - Silence within a stream of events or of gRPC is in order: one that hangs after
//!   its head is not found out.

mod admission;
mod backoff;
mod blame;
mod body;
mod call;
mod call_ring;
mod circuit;
mod ending;
mod future;
mod handle;
mod hanging;
mod jitter;
mod layer;
mod probe;
mod retry_after;
mod ring;
mod rules;
mod service;
mod shared;
mod streak;
mod sync;
mod table;
#[cfg(test)]
mod tests;
mod time_ring;
mod transition;
mod trip;
mod wait;
mod window;
mod word;

pub use body::BreakerBody;
pub use future::ResponseFuture;
pub use handle::{Admitted, BreakerHandle, CircuitHandle, CircuitSnapshot, TripError};
pub use layer::BreakerLayer;
pub use service::Breaker;
pub use transition::{Transition, Transitions};
pub use trip::Trip;
pub use window::Window;
pub use word::{Mode, State};
