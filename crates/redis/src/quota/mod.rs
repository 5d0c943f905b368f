//! Quotas that nodes share.

mod asking;
mod store;
mod units;

pub use store::RedisQuotas;
