//! The cache as a layer, over a scripted origin.

#![expect(clippy::unwrap_used, reason = "a test fails by a panic")]

mod bodies;
mod contract;
mod etag;
mod faults;
mod handle;
mod hot;
mod hub;
mod keys;
mod leaving;
mod memo;
mod model;
mod nodes;
mod parts;
mod passing;
mod pieces;
mod play;
mod purge;
mod ranges;
mod room;
mod rules;
mod sections;
mod shelf;
mod stale;
mod story;
mod tier;
mod together;
mod validation;
mod variants;
mod wishes;
