use std::time::Duration;

use tower_edge_core::{GlobalKey, Key};
use tower_edge_limit::{Limit, Quota, RateLimitLayer, nonzero};
use tower_edge_testkit::contract::{self, Subject};

use crate::layer;

fn limit() -> Limit {
    Limit::new("all", Quota::per_hour(nonzero!(2_000)))
}

fn subject(layer: RateLimitLayer) -> Subject<RateLimitLayer> {
    let (handle, waiting) = (layer.handle(), layer.handle());
    // A call takes a permit, or has waited for one.
    let moves = move || {
        let left = handle.read("all", &Key::GLOBAL).unwrap().available;
        handle.stats().waited * 10_000 + u64::from(left)
    };
    Subject::new(layer, moves).gauge("waiting", move || waiting.stats().waiting)
}

#[tokio::test(start_paused = true)]
async fn a_layer_that_refuses_keeps_the_laws() {
    contract::all(|| subject(layer(limit()).response_fields(false))).await;
}

#[tokio::test(start_paused = true)]
async fn a_layer_that_tells_and_charges_keeps_the_laws() {
    let charged = || limit().keyed(GlobalKey).charge(|_| 1).charged();
    contract::all(|| subject(layer(charged()).x_response_fields(true))).await;
}

#[tokio::test(start_paused = true)]
async fn a_layer_in_which_everybody_waits_keeps_the_laws() {
    let slow = || Limit::new("all", Quota::per_second(nonzero!(100)).burst(nonzero!(1)));
    let fast = || Limit::new("second", Quota::per_second(nonzero!(1_000_000)));
    let most = Duration::from_secs(100);
    contract::all(|| subject(layer(slow()).limit(fast()).wait(most, nonzero!(1_000)))).await;
}

#[tokio::test(start_paused = true)]
async fn a_layer_that_only_watches_keeps_the_laws() {
    let none = || Limit::new("all", Quota::per_day(nonzero!(1)).burst(nonzero!(2_000)));
    contract::all(|| subject(layer(none()).shadow())).await;
}
