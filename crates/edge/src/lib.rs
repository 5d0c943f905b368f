//! What should stand between the network and a handler, as tower layers that
//! know of each other.
//!
//! [`Edge`] stacks the layers in their right order; each also works alone, in
//! any place. Every layer goes into `axum::Router::layer` as it is, wraps any
//! `tower::Service` of `http` requests, and answers errors of its own with
//! responses.
//!
//! | layer | feature | does |
//! |---|---|---|
#![cfg_attr(
    feature = "latency",
    doc = "| [`LatencyLayer`](metrics::LatencyLayer) | `latency` | measures time to first byte and to the end of the body |"
)]
#![cfg_attr(
    feature = "limit",
    doc = "| [`RateLimitLayer`](limit::RateLimitLayer) | `limit` | admits requests as often as quotas allow |"
)]
#![cfg_attr(
    feature = "cache",
    doc = "| [`CacheLayer`](cache::CacheLayer) | `cache` | answers from memory by RFC 9111 |"
)]
#![cfg_attr(
    feature = "compress",
    doc = "| [`CompressLayer`](compress::CompressLayer) | `compress` | encodes responses for clients that accept it |"
)]
#![cfg_attr(
    feature = "breaker",
    doc = "| [`BreakerLayer`](breaker::BreakerLayer) | `breaker` | stops calling a service that fails |"
)]
//!
//! What the layers share (clients' addresses, keys, refusals, events) is in
//! [`core`].
//!
//! # Features
//!
//! One for each layer, all on by default, and:
//! - `redis`: Redis or Valkey behind the memory of the cache and behind the rate limits,
//!   shared by nodes;
//! - `sqlite`: a file behind the memory of the cache, which builds SQLite;
//! - `axum` (default): reads axum's peer address, matched path and original URI;
//! - `tower-http`: adapts the response classifiers of tower-http.

mod edge;

pub use edge::Edge;
#[cfg(feature = "breaker")]
pub use tower_edge_breaker as breaker;
#[cfg(feature = "cache")]
pub use tower_edge_cache as cache;
#[cfg(feature = "compress")]
pub use tower_edge_compress as compress;
pub use tower_edge_core as core;
#[cfg(feature = "limit")]
pub use tower_edge_limit as limit;
#[cfg(feature = "latency")]
pub use tower_edge_metrics as metrics;
#[cfg(feature = "redis")]
pub use tower_edge_redis as redis;
#[cfg(feature = "sqlite")]
pub use tower_edge_sqlite as sqlite;

#[cfg(doctest)]
#[doc = include_str!("../../../README.md")]
mod readme {}
