//! Quotas: how many requests a key may make in a time.

mod after;
mod asking;
mod body;
mod bucket;
mod charge;
mod charges;
mod exactly;
mod fields;
mod future;
mod gcra;
mod handle;
mod keeping;
mod layer;
mod leases;
mod limit;
#[cfg(test)]
mod model;
mod outage;
mod pages;
mod question;
mod queue;
mod queued;
mod quota;
#[cfg(test)]
mod references;
mod rule;
mod service;
mod shared;
mod sharing;
mod sync;
mod table;
#[cfg(test)]
mod table_laws;
mod telling;
mod told;
mod turn;
mod window;

pub use body::RateLimitBody;
pub use charge::Charge;
pub use future::RateLimitFuture;
pub use handle::{KeyState, LimitHandle, LimitStats};
pub use layer::RateLimitLayer;
pub use limit::{Keyless, Limit, Tier};
pub use outage::OnOutage;
pub use quota::Quota;
pub use service::RateLimit;
