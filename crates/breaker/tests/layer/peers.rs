//! Faults of other breakers, by name.

use std::num::{NonZeroU8, NonZeroU16};

use tokio::time::timeout;
use tower_edge_breaker::{BreakerLayer, State, Trip, Window};
use tower_edge_testkit::Received;

use crate::play::{Play, is_pending, secs};

fn of_100() -> BreakerLayer {
    let window = Window::calls(NonZeroU16::new(100).unwrap());
    BreakerLayer::new().trip_on([Trip::failure_rate(0.5, window)])
}

#[tokio::test(start_paused = true)]
async fn a_window_of_calls_is_no_average_of_a_lifetime() {
    let play = Play::new(of_100());
    play.gets("/", 20_000).await;
    play.answer(500);
    assert_eq!(play.gets("/", 100).await, 50);
    assert_eq!(play.state(), State::Open);
}

#[tokio::test(start_paused = true)]
async fn a_half_open_circuit_is_never_wedged() {
    let play = Play::new(BreakerLayer::new().half_open_for(secs(5)));
    play.trip().await;
    play.until_due().await;
    // All probes hang, and are never dropped.
    let mut probes: Vec<_> = (0..3).map(|_| play.request("/never")).collect();
    for probe in &mut probes {
        assert!(is_pending(probe).await);
    }
    assert_eq!((play.state(), play.snapshot().probes), (State::HalfOpen, 3));
    assert_eq!(play.get("/").await, 503);
    tokio::time::advance(secs(5)).await;
    assert_eq!(play.get("/").await, 503);
    assert_eq!(play.state(), State::Open);
    play.until_due().await;
    play.answer(200);
    assert_eq!(play.gets("/", 3).await, 3);
    assert_eq!(play.state(), State::Closed);
    // What hung before says nothing now.
    drop(probes);
    assert_eq!((play.state(), play.snapshot().failures), (State::Closed, 0));
}

#[tokio::test(start_paused = true)]
async fn a_success_from_before_it_opened_does_not_close_it() {
    let play = Play::new(BreakerLayer::new().probes(NonZeroU8::MIN));
    let mut early: Vec<_> = (0..3).map(|_| play.request("/hold")).collect();
    for call in &mut early {
        assert!(is_pending(call).await);
    }
    play.trip().await;
    play.gate.open();
    for call in early {
        Received::from(call.await.into_body()).await;
    }
    assert_eq!(play.state(), State::Open);
    play.gate.close();
    let mut late = play.request("/hold");
    assert!(!is_pending(&mut late).await, "it is refused");
    play.until_due().await;
    let mut probe = play.request("/never");
    assert!(is_pending(&mut probe).await);
    assert_eq!((play.state(), play.snapshot().probes), (State::HalfOpen, 1));
}

#[tokio::test(start_paused = true)]
async fn time_outs_above_it_are_recorded() {
    let play = Play::new(BreakerLayer::new().open_for(secs(3_600), secs(3_600)).seed(1));
    for _ in 0..20 {
        let call = |_| tokio::spawn(timeout(secs(1), play.request("/never")));
        for call in (0..10).map(call).collect::<Vec<_>>() {
            let _ = call.await.unwrap();
        }
    }
    assert_eq!((play.state(), play.upstream.calls()), (State::Open, 20));
    assert_eq!(play.snapshot().refused, 180);
}

#[tokio::test(start_paused = true)]
async fn a_herd_at_a_half_open_circuit_is_admitted_by_places() {
    let play = Play::new(BreakerLayer::new());
    play.trip().await;
    play.until_due().await;
    let before = play.upstream.calls();
    let mut herd: Vec<_> = (0..1_000).map(|_| play.request("/never")).collect();
    let mut waiting = 0;
    for one in &mut herd {
        waiting += u64::from(is_pending(one).await);
    }
    assert_eq!((waiting, play.upstream.calls() - before), (3, 3));
}

#[tokio::test(start_paused = true)]
async fn a_probe_that_is_dropped_gives_its_place_back() {
    let play = Play::new(BreakerLayer::new().probes(NonZeroU8::MIN).half_open_for(secs(3_600)));
    play.trip().await;
    play.until_due().await;
    play.answer(200);
    for round in 0..100 {
        let mut future = play.request("/never");
        assert!(is_pending(&mut future).await, "{round}");
        assert_eq!(play.get("/").await, 503, "its place is taken");
        drop(future);
        let body = play.request("/stuck").await.into_body();
        assert_eq!(play.get("/").await, 503, "its place is taken");
        drop(body);
        // Not even polled.
        drop(play.request("/"));
        assert_eq!((play.state(), play.snapshot().probes), (State::HalfOpen, 0));
    }
    assert_eq!(play.get("/").await, 200);
    assert_eq!(play.state(), State::Closed);
}

#[tokio::test(start_paused = true)]
async fn a_probe_that_is_cancelled_does_not_close_it() {
    let play = Play::new(BreakerLayer::new().probes(NonZeroU8::MIN));
    play.trip().await;
    play.until_due().await;
    let mut probe = play.request("/never");
    assert!(is_pending(&mut probe).await);
    drop(probe);
    assert_eq!(play.state(), State::HalfOpen);
    // One that is dropped after so long has failed.
    let mut probe = play.request("/never");
    assert!(is_pending(&mut probe).await);
    tokio::time::advance(secs(1)).await;
    drop(probe);
    assert_eq!(play.state(), State::Open);
}

#[tokio::test(start_paused = true)]
async fn a_body_that_fails_is_no_success() {
    let play = Play::new(BreakerLayer::new());
    assert_eq!(play.gets("/broken", 100).await, 20);
    assert_eq!(play.state(), State::Open);
}
