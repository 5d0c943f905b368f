use std::time::Duration;

use tower_edge_core::{GlobalKey, Key};
use tower_edge_limit::{Limit, Quota, RateLimitLayer, nonzero};
use tower_edge_testkit::contract::{self, Subject};

use crate::layer;
use crate::table::Table;

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

/// What there was to ask of a store, as a number that each call changes.
fn sharing(exact: bool) -> Subject<RateLimitLayer> {
    let store = Table::new();
    let limit = Limit::new("all", Quota::per_hour(nonzero!(36_000)));
    let layer = layer(limit).store(store.clone());
    let layer = if exact { layer.exact() } else { layer };
    let handle = layer.handle();
    let moves = move || {
        let in_hand = if exact { 0 } else { handle.read("all", &Key::GLOBAL).unwrap().available };
        store.asked() * 100_000 + u64::from(in_hand)
    };
    Subject::new(layer, moves)
}

#[tokio::test(start_paused = true)]
async fn a_layer_that_takes_its_permits_from_a_store_keeps_the_laws() {
    contract::all(|| sharing(false)).await;
}

#[tokio::test(start_paused = true)]
async fn a_layer_that_asks_a_store_each_time_keeps_the_laws() {
    contract::all(|| sharing(true)).await;
}
