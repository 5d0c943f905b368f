//! The laws that every layer keeps.

use tower_edge_cache::CacheLayer;
use tower_edge_testkit::contract::{self, Subject};

#[tokio::test(start_paused = true)]
async fn the_cache_keeps_the_laws_of_every_layer() {
    contract::all(|| {
        let layer = CacheLayer::new(1 << 20);
        let handle = layer.handle();
        Subject::new(layer, move || {
            let stats = handle.stats();
            stats.hits + stats.misses + stats.passed
        })
    })
    .await;
}
