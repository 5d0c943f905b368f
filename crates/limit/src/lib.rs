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
//! - **Shares** its quotas with other nodes through a [`QuotaStore`], if it has one
//!   ([`RateLimitLayer::store`]): by permits that it takes in batches and decides about
//!   here, or by asking each time. In an outage it goes on as [`OnOutage`] says.
//!
//! # What it does not
//!
//! - Without a store, quotas are those of one process, and do not survive a restart.
//! - Quotas in a store are rates: those in any window, waiting in turn and backpressure
//!   are of one node only, and refused when the layer is made.
//! - It is exact for a process that reads its clock within a second of others'
//!   decisions, and a key shares its word with another with odds of 2^-20.
//!
//! # What it costs
//!
//! To admit a request takes one reading of the clock and no allocation without
//! response fields, and two with them, which are those of the response's map of
//! fields if it had none; one more where responses are charged. A key that is known is
//! one line of memory. [`LimitHandle::charge`] reads the clock roughly, at a quarter of the
//! cost, where that decides the same: for keys that have used more than comes back in a
//! second. With as many keys in use as there is room for, fewer than one in 1,000 loses
//! its place: 1 in 1,250 of ten million. Threads that ask about different keys write to
//! nothing in common: two do 1.9 times what one does. `cargo bench --bench overhead --
//! rate_limit` and `--bench limit` compare it with its peers.
//!
//! # Shared
//!
//! A node takes of a key what it is asked for within 200 ms, but no more than an eighth of
//! what is left and what comes back meanwhile, or its part of 2 % of the burst if that is
//! more; up to 200 ms before it comes back. It asks again before that is used up.
//! Simulations of up to eleven nodes, asked at random, with clocks that show anything and
//! go wrong by half a thousandth (`src/lease/laws.rs`), hold it to this:
//!
//! | | |
//! |---|---|
//! | admitted in any span of time | at most what the quota gives, and what was in hand at its beginning |
//! | asked for more than the quota, over 5 s | 95 to 102 % of it are admitted; so too with one hot node and nine idle ones |
//! | a node that is asked 1,000 times a second | asks the store at most 10 times |
//! | a node dies | what it had in hand is lost, and nothing more is admitted |
//! | the store loses its data | one burst more |
//!
//! # Over loopback
//!
//! The gateway of the examples with `--rate 500/1s`, offered 10,000 requests a second
//! over 64 connections, beside itself almost idle (100 a second) and, for the hits,
//! without a quota: medians of five interleaved rounds (`tests/gateway/overload.rs` in its
//! long form, release build), on 2 cores that gateway and clients had for themselves.
//!
//! | | |
//! |---|---|
//! | p99 of the admitted, almost idle | 0.9 ms |
//! | p99 of the admitted, at 20 times the quota | 3.5 ms |
//! | CPU of a refusal | 41 us |
//! | CPU of a hit | 42 us |
//!
//! Nobody waits for a quota here: who has none left is refused at once, and what the
//! admitted ones wait for is a turn at a core. A refusal costs what a hit does, because
//! nearly all of either is to be woken, to read a request and to write an answer: of the
//! samples that `perf` takes of refusals the kernel has 48 %, hyper, tokio and `http`
//! 21 %, the allocator and copies 11 %, and this crate 2 %; of hits 44, 20, 11 and 1 %.

mod lease;
mod rate;
mod store;

pub use rate::{
    Charge, KeyState, Keyless, Limit, LimitHandle, LimitStats, OnOutage, Quota, RateLimit,
    RateLimitBody, RateLimitFuture, RateLimitLayer, Tier,
};
pub use store::{QuotaStore, StoreFuture, Take, Taken};
