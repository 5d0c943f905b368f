//! Half-open, ramp, and health checks.

use std::num::NonZeroU8;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use http::{Request, Response, StatusCode};
use tower::{Layer, ServiceExt};
use tower_edge_breaker::{BreakerLayer, State};
use tower_edge_core::Clock;
use tower_edge_testkit::{MockBody, Upstream};

use crate::play::{Play, secs, settle};

#[tokio::test(start_paused = true)]
async fn good_probes_close_it_and_a_bad_one_opens_it_for_longer() {
    let layer = BreakerLayer::new().open_for(secs(4), secs(12)).seed(7);
    let play = Play::new(layer);
    play.trip().await;
    let mut bounds = Vec::new();
    for round in 0..40 {
        let wait = play.snapshot().retry_in.unwrap();
        let bound = secs(4 << round.min(2)).min(secs(12));
        assert!(wait <= bound, "{round}: {wait:?}");
        bounds.push(wait);
        play.until_due().await;
        assert_eq!(play.gets("/", 3).await, 1);
        assert_eq!(play.state(), State::Open);
    }
    assert!(bounds.iter().any(|wait| *wait > secs(8)), "{bounds:?}");
    play.until_due().await;
    play.answer(200);
    assert_eq!(play.gets("/", 2).await, 2);
    assert_eq!(play.state(), State::HalfOpen);
    play.get("/").await;
    assert_eq!((play.state(), play.snapshot().failures), (State::Closed, 0));
    // Closed for good: the first bound again.
    play.trip().await;
    assert!(play.snapshot().retry_in.unwrap() <= secs(4));
}

#[tokio::test(start_paused = true)]
async fn a_ramp_admits_more_from_moment_to_moment() {
    let play = Play::new(BreakerLayer::new().ramp(secs(100)));
    play.trip().await;
    play.until_due().await;
    play.answer(200);
    play.gets("/", 3).await;
    assert_eq!(play.state(), State::Ramping);
    for (seconds, share) in [(0, 10), (10, 10), (40, 50), (25, 75), (24, 99)] {
        tokio::time::advance(secs(seconds)).await;
        let admitted = play.gets("/", 1_000).await / 10;
        assert!(admitted.abs_diff(share) <= 1, "{admitted} %, not {share}");
    }
    tokio::time::advance(secs(1)).await;
    assert_eq!(play.gets("/", 1_000).await, 1_000);
    assert_eq!(play.state(), State::Closed);
}

#[tokio::test(start_paused = true)]
async fn a_service_that_fails_again_while_ramping_opens_it() {
    let play = Play::new(BreakerLayer::new().ramp(secs(100)));
    play.trip().await;
    play.until_due().await;
    play.answer(200);
    play.gets("/", 3).await;
    play.trip().await;
    assert_eq!(play.state(), State::Open);
}

/// A layer whose service is well when the flag says so, and how often it was
/// asked.
fn checked() -> (BreakerLayer, Arc<AtomicBool>, Arc<AtomicU64>) {
    let (well, asked) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
    let (flag, count) = (well.clone(), asked.clone());
    let layer = BreakerLayer::new().probe(move |_| {
        count.fetch_add(1, Ordering::Relaxed);
        let well = flag.load(Ordering::Relaxed);
        async move { well }
    });
    (layer, well, asked)
}

/// Lets a check that is due begin; timers are exact to a millisecond.
async fn after_check(play: &Play) {
    let wait = play.snapshot().retry_in.unwrap();
    tokio::time::sleep(wait + Duration::from_millis(2)).await;
    settle().await;
}

#[tokio::test(start_paused = true)]
async fn health_checks_probe_in_place_of_requests() {
    let (layer, well, asked) = checked();
    let play = Play::new(layer);
    play.trip().await;
    let before = play.upstream.calls();
    for round in 1..5 {
        after_check(&play).await;
        assert_eq!(asked.load(Ordering::Relaxed), round);
        assert_eq!((play.get("/").await, play.state()), (503, State::Open));
    }
    well.store(true, Ordering::Relaxed);
    tokio::time::sleep(secs(61)).await;
    assert_eq!((play.state(), asked.load(Ordering::Relaxed)), (State::Closed, 7));
    assert_eq!(play.upstream.calls(), before);
    tokio::time::sleep(secs(600)).await;
    assert_eq!(asked.load(Ordering::Relaxed), 7);
}

#[tokio::test(start_paused = true)]
async fn a_health_check_that_hangs_has_failed() {
    let layer = BreakerLayer::new().half_open_for(secs(2)).open_for(secs(1), secs(1));
    let play = Play::new(layer.probe(|_| std::future::pending()));
    play.trip().await;
    let mut transitions = play.handle.subscribe();
    for to in [State::HalfOpen, State::Open, State::HalfOpen, State::Open] {
        assert_eq!(transitions.next().await.unwrap().to, to);
    }
}

#[tokio::test(start_paused = true)]
async fn a_health_check_that_panics_leaves_the_probing_to_requests() {
    let layer = BreakerLayer::new().probes(NonZeroU8::MIN);
    let play = Play::new(layer.probe(|_| async { panic!("no such host") }));
    play.trip().await;
    after_check(&play).await;
    assert_eq!((play.state(), play.snapshot().probes), (State::HalfOpen, 0));
    play.answer(200);
    assert_eq!((play.get("/").await, play.state()), (200, State::Closed));
}

#[test]
fn without_a_runtime_requests_are_the_probes() {
    let (layer, _, asked) = checked();
    let layer = layer.open_for(Duration::from_nanos(1), Duration::from_nanos(1));
    let (upstream, calls) = Upstream::new(|number, _| {
        let mut response = Response::new(MockBody::new());
        *response.status_mut() = StatusCode::from_u16(if number < 20 { 500 } else { 200 }).unwrap();
        response.into()
    });
    let service = layer.clock(Clock::system()).layer(upstream);
    for _ in 0..40 {
        let request = Request::new(MockBody::new());
        let mut answer = Box::pin(service.clone().oneshot(request));
        let answer = answer.as_mut().poll(&mut Context::from_waker(Waker::noop()));
        let Poll::Ready(Ok(response)) = answer else { panic!("it does not wait") };
        drop(response);
    }
    assert_eq!((calls.calls() > 20, asked.load(Ordering::Relaxed)), (true, 0));
}
