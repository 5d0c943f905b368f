//! The laws that every layer keeps, as functions over any layer.
//!
//! A crate runs [`all`] on its layer, under tokio's paused time so that a layer
//! that hangs fails at once. Each law makes its own [`Subject`], plays one
//! scenario over an [`Upstream`](crate::Upstream), and panics with its name and
//! what went wrong.
//!
//! A subject is set up so that the laws can pass and can bite: it admits 8 to
//! 64 calls under way at once and 2,000 in all, refuses nobody for an error in
//! ten, and encodes nothing for a client that does not ask for it.
//!
//! ```
//! use tower_edge_core::RouteLayer;
//! use tower_edge_testkit::contract::{self, Subject};
//!
//! # #[tokio::main(flavor = "current_thread", start_paused = true)]
//! # async fn main() {
//! contract::all(|| Subject::stateless(RouteLayer::new())).await;
//! # }
//! ```

mod bodies;
mod cancel;
mod heads;
mod hostile;
mod messages;
mod readiness;
mod state;
mod subject;
mod trial;

pub use bodies::{
    bodies_stream, broken_bodies_stay_broken, ended_bodies_are_left_alone, frames_pass,
    request_bodies_pass, sizes_pass,
};
pub use cancel::{
    a_dropped_body_leaves_nothing, a_dropped_future_leaves_nothing,
    a_dropped_service_leaves_nothing,
};
pub use heads::{connect_passes, errors_pass, grpc_passes, heads_pass, upgrades_pass};
pub use hostile::{hostile_requests_do_no_harm, hostile_responses_do_no_harm};
pub use readiness::{
    a_call_waits_for_readiness, idle_clones_hold_no_capacity, only_a_ready_clone_is_called,
};
pub use state::{a_clone_clones_the_inner_once, state_is_shared};
pub use subject::{Lawful, LawfulService, Subject};

/// Holds the layers that `make` makes to every law.
pub async fn all<L: Lawful>(make: impl Fn() -> Subject<L>) {
    state_is_shared(&make).await;
    a_clone_clones_the_inner_once(&make).await;
    only_a_ready_clone_is_called(&make).await;
    a_call_waits_for_readiness(&make).await;
    idle_clones_hold_no_capacity(&make).await;
    errors_pass(&make).await;
    heads_pass(&make).await;
    upgrades_pass(&make).await;
    connect_passes(&make).await;
    grpc_passes(&make).await;
    frames_pass(&make).await;
    request_bodies_pass(&make).await;
    sizes_pass(&make).await;
    bodies_stream(&make).await;
    broken_bodies_stay_broken(&make).await;
    ended_bodies_are_left_alone(&make).await;
    a_dropped_service_leaves_nothing(&make).await;
    a_dropped_future_leaves_nothing(&make).await;
    a_dropped_body_leaves_nothing(&make).await;
    hostile_requests_do_no_harm(&make).await;
    hostile_responses_do_no_harm(&make).await;
}
