//! What a handle sees and changes.

use std::num::{NonZeroU8, NonZeroU16};
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime};

use tower_edge_breaker::{BreakerLayer, Mode, State, Trip, Window};
use tower_edge_core::{Event, Key, Outcome, Reason};

use crate::play::{Play, secs};

#[tokio::test(start_paused = true)]
async fn a_mode_says_who_decides() {
    let play = Play::new(BreakerLayer::new());
    for (mode, admitted, state) in [
        (Mode::ForcedOpen, 0, State::Open),
        (Mode::ForcedClosed, 100, State::Closed),
        (Mode::Disabled, 100, State::Closed),
        (Mode::Shadow, 100, State::Open),
    ] {
        play.handle.set_mode(mode);
        assert_eq!(play.gets("/500", 100).await, admitted, "{mode:?}");
        assert_eq!((play.state(), play.snapshot().mode), (state, mode));
    }
    assert_eq!(play.snapshot().refused, 180);
    // What the shadow saw counts when it decides.
    play.handle.set_mode(Mode::Automatic);
    assert_eq!(play.gets("/", 10).await, 0);
    play.handle.reset();
    assert_eq!((play.gets("/", 10).await, play.snapshot().refused), (10, 0));
}

#[tokio::test(start_paused = true)]
async fn force_counts_where_it_is_to() {
    let play = Play::new(BreakerLayer::new());
    play.handle.set_mode(Mode::ForcedClosed);
    play.gets("/500", 30).await;
    assert_eq!((play.snapshot().calls, play.snapshot().failures), (30, 30));
    play.handle.set_mode(Mode::Disabled);
    play.gets("/500", 30).await;
    assert_eq!(play.snapshot().calls, 0);
}

#[tokio::test(start_paused = true)]
async fn transitions_are_told_to_subscribers_and_observers() {
    let seen = Arc::new(Mutex::new(Vec::new()));
    let noted = seen.clone();
    let observe = move |event: &Event<'_>| {
        if let Event::CircuitChanged { key: None, from, to } = event {
            noted.lock().unwrap().push(format!("{from} {to}"));
        }
    };
    let layer = BreakerLayer::new().ramp(secs(5)).observe(Arc::new(observe));
    let play = Play::new(layer);
    let mut transitions = play.handle.subscribe();
    play.trip().await;
    let opened = transitions.next().await.unwrap();
    assert_eq!((opened.key, opened.from, opened.to), (Key::GLOBAL, State::Closed, State::Open));
    assert_eq!(opened.at, SystemTime::UNIX_EPOCH);
    play.until_due().await;
    play.answer(200);
    play.gets("/", 3).await;
    tokio::time::advance(secs(5)).await;
    play.get("/").await;
    for to in [State::HalfOpen, State::Ramping, State::Closed] {
        assert_eq!(transitions.next().await.unwrap().to, to);
    }
    let expected = ["closed open", "open half_open", "half_open ramping", "ramping closed"];
    assert_eq!(*seen.lock().unwrap(), expected);
    drop(play);
    assert!(transitions.next().await.is_none());
}

#[tokio::test(start_paused = true)]
async fn settings_change_while_it_runs() {
    let window = Window::time(secs(10));
    let play = Play::new(BreakerLayer::new());
    play.handle.trip_on([Trip::failure_rate(0.1, window)]).unwrap();
    play.gets("/", 90).await;
    assert_eq!(play.gets("/500", 30).await, 10);
    play.handle.probes(NonZeroU8::MIN);
    play.handle.open_for(Duration::from_millis(1), Duration::from_millis(1));
    play.handle.ramp(secs(3));
    play.until_due().await;
    assert_eq!(play.get("/").await, 200);
    assert_eq!(play.state(), State::Ramping);
    play.trip().await;
    assert!(play.snapshot().retry_in.unwrap() <= Duration::from_millis(1));

    let other = Window::calls(NonZeroU16::new(9).unwrap());
    for trip in [Trip::failure_rate(0.1, other), Trip::slow_rate(0.1, window)] {
        let error = play.handle.trip_on([trip]).unwrap_err();
        assert_eq!(error.to_string(), "the breaker was not made to count this");
    }
}

#[tokio::test(start_paused = true)]
async fn the_user_may_build_the_refusal() {
    let layer = BreakerLayer::new().on_refuse(|_, head| {
        let mut response = http::Response::new(head.uri().path().to_owned().into());
        *response.status_mut() = http::StatusCode::IM_A_TEAPOT;
        response
    });
    let play = Play::new(layer);
    play.handle.set_mode(Mode::ForcedOpen);
    assert_eq!(play.get("/").await, 418);
}

#[tokio::test(start_paused = true)]
async fn calls_that_are_no_requests_are_admitted_and_count_as_those_do() {
    let play = Play::new(BreakerLayer::new().probes(NonZeroU8::MIN));
    let circuit = play.handle.circuit(&Key::GLOBAL);
    for _ in 0..10 {
        drop(circuit.admit().unwrap());
        circuit.admit().unwrap().end(Outcome::Success);
        circuit.admit().unwrap().end(Outcome::Failure);
    }
    assert_eq!((play.state(), play.gets("/", 1).await), (State::Open, 0));
    let refusal = circuit.admit().unwrap_err();
    assert!(refusal.reason() == Reason::CircuitOpen && refusal.wait() <= Some(secs(5)));
    play.until_due().await;
    let probe = circuit.admit().unwrap();
    assert!(circuit.admit().is_err() && play.state() == State::HalfOpen);
    // Whoever leaves gives the place back.
    drop(probe);
    circuit.admit().unwrap().end(Outcome::Success);
    assert_eq!((play.state(), play.gets("/", 1).await), (State::Closed, 1));
}
