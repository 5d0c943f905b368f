//! The layers together: stacked by `Edge`, under axum, in a `ServiceBuilder`, and
//! on a bare hyper server.
#![expect(clippy::unwrap_used, reason = "a test fails by a panic")]

mod breaker;
mod client;
mod compress;
mod order;
mod under_axum;
mod under_hyper;
