//! Rate limits with backpressure as a tower layer.

mod rate;

pub use rate::{
    Charge, KeyState, Keyless, Limit, LimitHandle, LimitStats, Quota, RateLimit, RateLimitBody,
    RateLimitFuture, RateLimitLayer, Tier,
};
