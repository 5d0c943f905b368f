//! Rate limits with backpressure as a tower layer.
//!
//! [`RateLimitLayer`] admits requests as often as [`Quota`]s allow. A [`Limit`] is
//! a quota with what requests are told apart by; a layer may have several, which
//! are charged together or not at all.
//!
//! ```
//! use tower_edge_core::ClientIp;
//! use tower_edge_limit::{Limit, Quota, RateLimitLayer, nonzero};
//!
//! const API: Quota = Quota::per_second(nonzero!(100)).burst(nonzero!(20));
//!
//! let layer = RateLimitLayer::new(Limit::new("client", API).keyed(ClientIp::peer()));
//! let handle = layer.handle(); // reads, resets and swaps while it runs
//! # let _ = handle;
//! ```
//!
//! # What it does
//!
//! - **Refuses** (429), lets **wait** in turn for a time that is known at once, or
//!   only **watches**; as a client, makes `poll_ready` wait.
//! - **Decides** by GCRA, where what was used comes back evenly, or by a counter
//!   that never gives more than so many in any window.
//! - **Charges** a request what its head says, and what its response turns out to
//!   cost afterwards; what a key owes delays its next admission.
//! - **Remembers** keys in memory of fixed size, 16 bytes each, without a sweeper:
//!   who has all permits back is forgotten without loss. Who makes up keys or comes
//!   with a million of them takes no memory.
//! - **Tells** clients how they stand: `RateLimit` and `RateLimit-Policy`
//!   (draft-ietf-httpapi-ratelimit-headers-11), and `Retry-After` on a refusal.
//!
//! # What it does not
//!
//! - Quotas are those of one process; several nodes each have their own.
//! - State does not survive a restart.
//! - It is exact for a process that reads its clock within a second of others'
//!   decisions, and a key shares its word with another with odds of 2^-20.
//!
//! # What it costs
//!
//! To admit a request takes one reading of the clock and no allocation without
//! response fields, and two with them, which are those of the response's map of
//! fields if it had none; one more where responses are charged. `cargo bench
//! --bench overhead -- rate_limit` and `--bench limit` compare it with its peers.

mod rate;

pub use rate::{
    Charge, KeyState, Keyless, Limit, LimitHandle, LimitStats, Quota, RateLimit, RateLimitBody,
    RateLimitFuture, RateLimitLayer, Tier,
};
