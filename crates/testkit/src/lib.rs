//! What the tests of tower-edge's layers are made of.
//!
//! [`MockBody`] and [`Upstream`] play a script and note what was done to them;
//! a [`Gate`] lets a test decide when they go on. [`contract`] holds the laws
//! that every layer keeps, each a function over any layer.
//!
//! ```
//! use tower_edge_testkit::contract::{self, Subject};
//! use tower_layer::Identity;
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() {
//! contract::all(|| Subject::stateless(Identity::new())).await;
//! # }
//! ```

mod answer;
mod body;
pub mod contract;
mod gate;
#[cfg(feature = "redis")]
pub mod line;
mod received;
#[cfg(feature = "redis")]
pub mod redis;
#[cfg(feature = "tier")]
pub mod tier;
mod upstream;

pub use answer::Answer;
pub use body::{BodyHandle, MockBody, MockBodyError};
pub use gate::Gate;
pub use received::Received;
pub use upstream::{Upstream, UpstreamError, UpstreamFuture, UpstreamHandle};
