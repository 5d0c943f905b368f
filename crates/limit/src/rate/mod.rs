//! Quotas: how many requests a key may make in a time.

mod after;
mod body;
mod bucket;
mod charge;
mod charges;
mod fields;
mod future;
mod gcra;
mod handle;
mod layer;
mod limit;
#[cfg(test)]
mod model;
mod queue;
mod quota;
#[cfg(test)]
mod references;
mod rule;
mod service;
mod shared;
mod sync;
mod table;
#[cfg(test)]
mod table_laws;
mod told;
mod turn;
mod window;

pub use body::RateLimitBody;
pub use charge::Charge;
pub use future::RateLimitFuture;
pub use handle::{KeyState, LimitHandle, LimitStats};
pub use layer::RateLimitLayer;
pub use limit::{Keyless, Limit, Tier};
pub use quota::Quota;
pub use service::RateLimit;
