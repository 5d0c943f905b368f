//! Leases: how a node decides by itself about a quota that others use too.
//!
//! A node takes permits of a key in batches from where all of them are counted. It
//! asks again, beside the requests, before those that it has are used up, for as
//! many as the key is asked for lately; where there are not that many it gets those
//! that there are, and up to [`AHEAD`] of those that come back next, each usable
//! from its own time on. So what is admitted is what the quota gives, however many
//! nodes there are and whatever their clocks show: only lengths of time are told.
//!
//! What a node has in hand was charged before it is used, so that within a span of
//! time there may be more admitted than the quota says by as many as were in hand
//! when it began. That is no more for a node than [`Lease`] says.

mod demand;
mod hand;
mod key;
#[cfg(test)]
mod laws;
mod terms;

pub(crate) use key::{Answer, Ask, Lease, Step};
pub(crate) use terms::Terms;

/// A tenth of a second, in which demand is measured.
pub(crate) const BEAT: u64 = 100_000_000;

/// Permits are taken up to so long before they come back.
pub(crate) const AHEAD: u64 = 2 * BEAT;

/// After so long without a request a key's permits go back.
const IDLE: u64 = 20 * BEAT;

/// So long permits are usable which nobody has looked after.
const KEPT: u64 = 100 * BEAT;
