//! The laws that every layer keeps.

use tower_edge_compress::CompressLayer;
use tower_edge_testkit::contract::{self, Subject};

#[tokio::test(start_paused = true)]
async fn the_layer_keeps_the_laws_of_every_layer() {
    contract::all(|| Subject::stateless(CompressLayer::new())).await;
}

#[tokio::test(start_paused = true)]
async fn it_keeps_them_when_it_is_strict_and_encodes_all() {
    let layer = || CompressLayer::new().min_size(0).when_by(|_| true);
    contract::all(|| Subject::stateless(layer())).await;
}
