//! Content coding of HTTP responses as a tower layer.
//!
//! [`CompressLayer`] encodes responses as gzip, deflate, Brotli or Zstandard for
//! clients that accept it, and says so in all that depends on it: `Vary`, entity
//! tags, ranges, digests and lengths. Where there is nothing to do it costs next to
//! nothing. Put it inside of a cache, which then stores what it makes: a hit is no
//! work.
//!
//! ```
//! use tower_edge_compress::{CompressLayer, MediaTypes, Predicate};
//! use tower_edge_core::{Coding, ResponseHead};
//!
//! let public = |response: &ResponseHead<'_>| !response.headers().contains_key("set-cookie");
//! let layer = CompressLayer::new().min_size(1_000).when(MediaTypes.and(public));
//! # #[cfg(feature = "br")]
//! let layer = layer.level(Coding::Br, 4);
//! # let _ = layer;
//! ```
//!
//! # What it does
//!
//! - **Negotiates** by RFC 9110 §12.5.3: the coding that the client wants most, and
//!   of those that it wants alike the first in [order](CompressLayer::codings). Who
//!   accepts nothing there is gets the plain bytes, or 406 before the service is
//!   called if the layer is [strict](CompressLayer::strict).
//! - **Leaves alone** what is encoded already, says `no-transform`, has no content,
//!   is a part (206), is gRPC, an upgrade or a tunnel, is [small](CompressLayer::min_size),
//!   or of a type that is compressed by itself ([`MediaTypes`], or any other
//!   [`Predicate`]).
//! - **Names** `Accept-Encoding` in `Vary` on whatever could have been encoded: plain
//!   answers, 304, 206 and HEAD too.
//! - **Encodes at once** what is in hand, up to a mebibyte: the head has its length,
//!   and never are more bytes sent than the plain ones. No poll encodes more than 64
//!   KiB: larger bodies are encoded in slices, or as gzip and deflate on threads that
//!   may be held up, as many at a time as there are cores.
//! - **Encodes streams** as they come. The first bytes leave at once, then what has
//!   waited for 10 milliseconds or is more than 8 KiB; events (`text/event-stream`)
//!   leave where they end. Trailers follow, and an error breaks the encoded body off
//!   too.
//!
//! # Entity tags
//!
//! A strong tag vouches for bytes, so encoded ones get another: `"v1"` becomes
//! `"v1+gzip6"`, with the level. Bodies that are encoded as they come do not get the
//! same bytes each time, for flushes depend on pauses: their tag becomes weak, and so
//! does the one that HEAD is told. A weak tag stays weak. What a client has it may
//! name in `If-None-Match` and `If-Match`: the service is asked about `"v1"`, and a
//! 304 names what the client named. So who has read a stream may write if the state is
//! that of `"v1"` still, though the tag that it was told is weak: the service compares
//! its own, strongly.
//!
//! A range of encoded bytes is never answered with one of the plain ones, but with the
//! whole (`If-Range`), or 412 if the client wants nothing else (`If-Match`). Where a
//! date is the condition, and the whole would be encoded, it is the whole as well.
//!
//! # With a cache outside
//!
//! The cache keeps an entry for each coding, and one of the plain bytes: this layer
//! tells it what it has chosen among, and a request for which the choice is the same
//! gets the same entry, however its `Accept-Encoding` is written and whatever it
//! accepts besides. So each coding is fetched once and encoded once. Entries are
//! served with their length, conditions and ranges without any work. What is stale is
//! validated by its own tag, and not encoded again; HEAD makes it fresh too. A body that
//! arrives after its head is stored encoded as a stream.
//!
//! A service that chooses codings by itself, and names `Accept-Encoding` in `Vary`, is
//! left to it: then the cache has an entry for each meaning of the field
//! ([`OfferedCodings`](tower_edge_core::OfferedCodings)).
//!
//! # What it costs
//!
//! A request whose response is not encoded takes no allocation, but for a line of
//! `Vary` where the fields have no room for it; and, over the bare service, a tenth of
//! the time that tower-http takes, where the client asks for no coding and where a
//! browser gets an image (`bypass_no_header` and `bypass_type`, medians of eight and of
//! ten interleaved rounds: 54 of 731 and 97 of 959 ns, 105 of 1,058 and 112 of 1,372 ns).
//! One that is encoded in hand takes six, of the encoded size altogether: encoders and
//! what they write to are used again, except those of Brotli. An encoder of a stream takes
//! less than 300 KiB for gzip, deflate and zstd and less than 512 KiB for br, at any level.
//!
//! Orders of a shop in JSON, in bytes and as a share of what tower-http takes for it
//! with its defaults: `cargo bench --bench compress` gives the times, `-- --sizes`
//! the bytes. Times are those of a shared machine of 2 cores.
//!
//! | | bytes | tower-http | us | tower-http | faster |
//! |---|---|---|---|---|---|
//! | gzip, 1 KiB | 415 | 408 | 10.5 | 26 | 2.5 times |
//! | gzip, 20 KiB | 4,198 | 4,298 | 151 | 454 | 3.0 times |
//! | gzip, 1 MiB | 186,823 | 191,938 | 16,065 | 38,762 | 2.4 times |
//! | gzip, 1 MiB as a stream | 192,789 | 191,792 | 13,441 | 34,920 | 2.6 times |
//! | zstd, 20 KiB | 4,265 | 4,265 | 77 | 127 | 1.6 times |
//! | br, 20 KiB | 3,978 | 4,262 | 557 | 424 | 0.8 times |
//!
//! Brotli is at level 5 here and at 4 there: at 4 it makes hardly fewer bytes than
//! gzip does in half the time.
//!
//! For each response tower-http allocates 325 KB: where the allocator gives them back
//! to the system in between, its times are some 80 us longer.
//!
//! gzip and deflate are those of libdeflate for bodies that are all there: it makes 2 to
//! 3 % fewer bytes than zlib-rs in less time, but takes all of them at once, of a mebibyte
//! for some 10 ms. Streams are encoded by zlib-rs, with tables that fit in 300 KiB. Up to
//! 1,280 bytes the level is 1, whatever is set: that takes two thirds of the time of level
//! 6, for a percent more bytes.
//!
//! # Requests
//!
//! [`DecompressRequestLayer`] decodes the content of requests, of which no more comes
//! than its bounds let through, however little was sent.
//!
//! # Secrets
//!
//! The length of what is encoded tells how often its parts return in it. Who can make
//! a browser send many requests, see how long the answers are, and have a text of
//! their own in them finds out a secret in the same answer, letter by letter (BREACH,
//! CVE-2013-3587). Do not encode such answers: leave this layer away from routes that
//! reflect what they are given beside a secret, let a [`Predicate`] leave them out, or
//! send `Cache-Control: no-transform`. Masking the secret anew in each answer helps as
//! well; random padding only makes it slower.
//!
//! # What it does not
//!
//! - It does not decode what the service encoded, for clients that do not accept it.
//! - It does not use dictionaries (RFC 9842).
//!
//! # Features
//!
//! `br`, `deflate`, `gzip` and `zstd`, all on by default.

mod ask;
mod away;
mod body;
mod codec;
mod conditions;
mod decode;
mod fields;
mod fitness;
mod future;
mod layer;
mod pool;
mod predicate;
mod service;
mod shared;
mod source;
mod stream;
mod tag;
mod whole;

pub use body::CompressBody;
pub use decode::{DecompressBody, DecompressFuture, DecompressRequest, DecompressRequestLayer};
pub use future::ResponseFuture;
pub use layer::CompressLayer;
pub use predicate::{And, MediaTypes, Predicate};
pub use service::Compress;
