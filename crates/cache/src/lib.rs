//! A shared HTTP cache (RFC 9111) as a tower layer.
//!
//! [`CacheLayer`] answers GET and HEAD from memory while a stored response is
//! fresh, revalidates it when it is not, and obeys the origin: nothing is stored
//! or reused that RFC 9111 forbids a shared cache. Bodies stream through; what
//! may be stored is copied on its way.
//!
//! ```
//! use tower_edge_cache::CacheLayer;
//!
//! let layer = CacheLayer::new(256 << 20).max_entry(8 << 20);
//! let handle = layer.handle();
//! assert_eq!(handle.stats().hits, 0);
//! ```
//!
//! # What it does
//!
//! - **Stores** complete responses to GET that are explicitly fresh, or that
//!   RFC 9111 §4.2.2 lets a cache guess about, or that can be validated; and 200s
//!   to POST that name their target in `Content-Location` and say for how long
//!   they are fresh, which then answer GET (RFC 9110 §9.3.3). Fields
//!   that `private` or `no-cache` name are left out. `CDN-Cache-Control`, or
//!   other targeted fields (RFC 9213), go before `Cache-Control`.
//! - **Keys** them by the [effective target](tower_edge_core::Target) as it was
//!   written: scheme and authority in any case, path and query byte for byte. If
//!   that is wanted, parameters count in any order
//!   ([`sort_parameters`](CacheLayer::sort_parameters)) or not at all
//!   ([`ignore_parameters`](CacheLayer::ignore_parameters)), and users have
//!   responses of their own ([`keyed`](CacheLayer::keyed)). Within a resource
//!   responses are told apart by the request fields that `Vary` nominates, and by
//!   those that stand in for a part of the target, such as `X-Forwarded-Host`. Of
//!   `Accept-Encoding` the meaning counts; where a layer inside chooses the coding and
//!   nobody else does, its choice ([`OfferedCodings`](tower_edge_core::OfferedCodings)).
//!   Keys are compared in full, never by a digest of the target.
//! - **Validates** stale ones with `If-None-Match` and `If-Modified-Since`, asks
//!   about all variants when a request selects none, and answers the conditions
//!   of clients with 304.
//! - **Answers ranges** of bytes, one or several, from stored responses that are
//!   200 and have no trailers: 206, or 416 if there is nothing at that place. More
//!   than 64 ranges, other units and what is no range are ignored, as the RFC
//!   permits: the whole response is the answer. `Accept-Ranges` is left to the
//!   origin, which answers what is not stored.
//! - **Stores parts** (206) that have one range of bytes: they answer ranges that
//!   lie within them, and those with one strong `ETag` are joined, up to the whole.
//! - **Serves stale** ones while they are refreshed, and when the origin fails
//!   (RFC 5861), where that is permitted.
//! - **Sends one request** for all who want the same at the same time. They read
//!   the bytes while they come, each at its own pace, and the fill goes on when a
//!   client leaves, for half a minute more if nobody reads. A failure is shared
//!   too. What is not for others sends them upstream at once, and is remembered
//!   for a minute, in which nobody waits. On a tokio runtime: outside one there
//!   is no task to go on.
//! - **Invalidates** the target of an unsafe method that succeeded, and what its
//!   `Location` and `Content-Location` name of the same origin.
//! - **Purges** by URI, tag, prefix or all at once, softly or for good, at the
//!   same cost however much is stored: [`CacheHandle`].
//! - **Keeps** what memory has no room for, and what is to survive a restart, in a
//!   [`Tier`] behind it, if there is one. A hit in memory never waits for it, and
//!   nobody for what is written to it.
//! - **Remembers** what functions compute as well, in the same memory: [`Memo`].
//! - **Answers** what is asked for most from copies that each thread has of its own,
//!   within the same capacity: threads that want the same do not hold each other up.
//!   [`CacheHandle::top_keys`] tells what that is.
//! - **Shares** what it has with other nodes, where the tier behind memory is one that
//!   several caches write to ([`Tier`]): they hear of each other's purges, and one of
//!   them fetches what all want.
//! - **Says** what it did: `Age`, and `Cache-Status` (RFC 9211).
//!
//! # What it does not
//!
//! - Responses with `Set-Cookie` are not stored, though RFC 9111 would permit
//!   it: they are meant for one user. [`SetCookie`] changes that.
//! - A GET that has a body, and requests with `If-Match`, `If-Unmodified-Since` or
//!   `Upgrade` are passed on.
//! - Responses to a request that names another method, as in
//!   `X-HTTP-Method-Override`, are not stored.
//! - Ranges that are not stored go upstream as they were asked for, in a validation
//!   too: nobody gets the whole for a few bytes of it. Answers with several parts
//!   (`multipart/byteranges`) are passed on.
//! - Who waits for another's response has no part in what that does not share:
//!   requests with `no-cache`, `no-store`, `Authorization` or ranges go upstream
//!   by themselves, and so do those of HEAD.
//! - A response that outgrows the bound, or what there is room for, while others
//!   read it goes at the pace of the client that asked for it first. Who falls
//!   behind gets an error.
//! - When there is no room for more bodies on their way ([`CacheLayer::new`]), what
//!   comes passes and is not stored.

mod age;
mod answer;
mod body;
mod buffer;
mod call;
mod counts;
mod doorkeeper;
mod draft;
mod entry;
mod epochs;
mod etag;
mod feed;
mod fill;
mod filling;
mod flight;
mod flights;
mod freshen;
mod front;
mod future;
mod handle;
mod head;
mod heap;
mod hot;
mod intent;
mod join;
mod keys;
mod landing;
mod layer;
mod loners;
mod lookup;
mod mark;
mod memo;
#[cfg(test)]
mod model;
mod partial;
mod policy;
mod purges;
mod ranking;
mod refresh;
mod resource;
mod room;
mod service;
mod shared;
mod status;
mod store;
mod sync;
mod tag;
mod tier;
mod top;
mod variants;
mod waiters;
mod warm;

pub use body::CacheBody;
pub use etag::{EtagBody, EtagFuture, EtagLayer, EtagService};
pub use future::ResponseFuture;
pub use handle::{CacheHandle, CacheStats};
pub use layer::CacheLayer;
pub use memo::{Memo, Ttl};
pub use policy::{SetCookie, StaleOnError};
pub use purges::Purge;
pub use service::CacheService;
pub use tier::{Change, Lease, News, Notes, OnOutage, Tier, TierFuture, TierStats};
pub use top::TopKey;
pub use warm::Warmed;
