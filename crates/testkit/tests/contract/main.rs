//! The contract holds for layers that keep it.

mod laws;
mod layers;

use layers::Watch;
use tower::layer::util::Identity;
use tower_edge_core::{Optional, RouteLayer};
use tower_edge_testkit::contract::{self, Subject};

#[tokio::test(start_paused = true)]
async fn a_layer_that_does_nothing_keeps_the_contract() {
    contract::all(|| Subject::stateless(Identity::new())).await;
}

#[tokio::test(start_paused = true)]
async fn a_layer_that_watches_bodies_keeps_the_contract() {
    contract::all(|| {
        let layer = Watch::default();
        let (calls, under_way) = (layer.calls(), layer.under_way());
        Subject::new(layer, calls).gauge("under way", under_way)
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_layer_that_reads_the_route_keeps_the_contract() {
    contract::all(|| Subject::stateless(RouteLayer::new())).await;
}

#[tokio::test(start_paused = true)]
async fn an_optional_layer_keeps_the_contract_in_and_out() {
    for layer in [Some(Watch::default()), None] {
        contract::all(|| Subject::stateless(Optional::<Watch>::from(layer.clone()))).await;
    }
}
