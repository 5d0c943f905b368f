//! The laws that every layer keeps.

use std::num::NonZeroU32;
use std::time::Duration;

use tower_edge_breaker::{BreakerLayer, Mode, Trip, Window};
use tower_edge_core::{Key, RequestHead};
use tower_edge_testkit::contract::{self, Subject};

/// The calls in the window move: no law takes ten seconds.
fn subject(layer: BreakerLayer) -> Subject<BreakerLayer> {
    let handle = layer.handle();
    let probes = handle.clone();
    Subject::new(layer, move || handle.snapshot().calls)
        .gauge("probes", move || probes.snapshot().probes)
}

#[tokio::test(start_paused = true)]
async fn the_breaker_keeps_the_laws_of_every_layer() {
    contract::all(|| subject(BreakerLayer::new())).await;
}

#[tokio::test(start_paused = true)]
async fn it_keeps_them_with_all_settings_that_change_a_call() {
    contract::all(|| {
        let window = Window::time(Duration::from_secs(600));
        let slow = Trip::slow_rate(0.9, window).count_in_flight();
        let key = |head: &RequestHead<'_>| Some(Key::new(head.method().as_str()));
        let layer = BreakerLayer::new().trip_on([Trip::failure_rate(0.9, window), slow]);
        subject(layer.keyed_by(key, NonZeroU32::new(8).unwrap()))
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn it_keeps_them_when_it_does_not_decide() {
    for mode in [Mode::Shadow, Mode::ForcedClosed, Mode::Disabled] {
        contract::all(|| {
            let layer = BreakerLayer::new();
            layer.handle().set_mode(mode);
            match mode {
                Mode::Disabled => Subject::stateless(layer),
                _ => subject(layer),
            }
        })
        .await;
    }
}
