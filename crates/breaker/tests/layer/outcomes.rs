//! What counts as a failure, and when.

use std::time::{Duration, SystemTime};

use http::{Request, Response};
use tower::{Layer, ServiceBuilder, ServiceExt};
use tower_edge_breaker::{BreakerLayer, State, Trip, Window};
use tower_edge_core::{Classify, Clock, Outcome, Reason, Refusal, ResponseHead, Verdict};
use tower_edge_testkit::{Answer, MockBody, Received, Upstream, UpstreamError};

use crate::play::{Play, is_pending, secs};

fn failures(play: &Play) -> (u64, u64) {
    (play.snapshot().calls, play.snapshot().failures)
}

#[tokio::test(start_paused = true)]
async fn the_end_of_the_body_decides() {
    let play = Play::new(BreakerLayer::new());
    for (path, counted) in [
        ("/200", (1, 0)),
        ("/404", (2, 0)),
        ("/429", (3, 0)),
        ("/500", (4, 1)),
        ("/503", (5, 2)),
        ("/501", (6, 2)),
        ("/505", (7, 2)),
        ("/508", (8, 2)),
        ("/broken", (9, 3)),
    ] {
        play.get(path).await;
        assert_eq!(failures(&play), counted, "{path}");
    }
    let response = play.request("/200").await;
    assert_eq!(failures(&play), (9, 3), "a head is no end");
    Received::from(response.into_body()).await;
    assert_eq!(failures(&play), (10, 3));
}

#[tokio::test(start_paused = true)]
async fn trailers_errors_and_refusals_of_layers_inside_are_seen() {
    let (upstream, _) = Upstream::new(|_, head| {
        let status = |status: &str| {
            [("grpc-status", status)]
                .map(|(name, value)| (name.parse().unwrap(), value.parse().unwrap()))
        };
        let body = MockBody::new().data("a");
        match head.uri().path() {
            "/unavailable" => Answer::ok(body.trailers(status("14").into_iter().collect())),
            "/not-found" => Answer::ok(body.trailers(status("5").into_iter().collect())),
            "/error" => Answer::error(UpstreamError::new("connection refused")),
            _ => {
                let mut response = Response::new(body);
                response.extensions_mut().insert(Refusal::new(Reason::Overloaded));
                *response.status_mut() = http::StatusCode::SERVICE_UNAVAILABLE;
                response.into()
            }
        }
    });
    let layer = BreakerLayer::new().clock(Clock::anchored(SystemTime::UNIX_EPOCH));
    let (handle, service) = (layer.handle(), layer.layer(upstream));
    for (path, counted) in
        [("/not-found", (1, 0)), ("/unavailable", (2, 1)), ("/error", (3, 2)), ("/refused", (3, 2))]
    {
        let request = Request::get(path).body(MockBody::new()).unwrap();
        if let Ok(response) = service.clone().oneshot(request).await {
            Received::from(response.into_body()).await;
        }
        let snapshot = handle.snapshot();
        assert_eq!((snapshot.calls, snapshot.failures), counted, "{path}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_call_whose_caller_leaves_has_failed_if_the_service_was_silent_for_long() {
    let play = Play::new(BreakerLayer::new().slow_after(secs(2)));
    for (millis, counted) in [(1_999, (0, 0)), (2_000, (1, 1))] {
        let mut future = play.request("/never");
        assert!(is_pending(&mut future).await);
        tokio::time::advance(Duration::from_millis(millis)).await;
        drop(future);
        assert_eq!(failures(&play), counted, "before the head, after {millis} ms");
    }
    for (millis, counted) in [(1_999, (1, 1)), (2_000, (2, 2))] {
        let body = play.request("/stuck").await.into_body();
        let mut read = Box::pin(Received::from(body));
        assert!(is_pending(&mut read).await);
        tokio::time::advance(Duration::from_millis(millis)).await;
        drop(read);
        assert_eq!(failures(&play), counted, "in the body, after {millis} ms");
    }
}

#[tokio::test(start_paused = true)]
async fn what_a_client_takes_to_read_is_not_the_services() {
    let trips = [Trip::slow_rate(0.5, Window::time(secs(600)))];
    let play = Play::new(BreakerLayer::new().trip_on(trips));
    let response = play.request("/").await;
    tokio::time::advance(secs(60)).await;
    Received::from(response.into_body()).await;
    drop(play.request("/").await.into_body());
    let left = play.request("/").await;
    tokio::time::advance(secs(60)).await;
    drop(left);
    assert_eq!((play.snapshot().calls, play.snapshot().slow), (1, 0));
}

#[tokio::test(start_paused = true)]
async fn slow_calls_open_it_where_they_are_a_reason() {
    let trips = [Trip::slow_rate(0.5, Window::time(secs(600)))];
    let play = Play::new(BreakerLayer::new().trip_on(trips).slow_after(secs(2)));
    for call in 0..20 {
        assert_eq!(play.state(), State::Closed, "{call}");
        play.gate.close();
        let mut future = play.request("/hold");
        assert!(is_pending(&mut future).await);
        tokio::time::advance(secs(2)).await;
        play.gate.open();
        Received::from(future.await.into_body()).await;
    }
    assert_eq!(play.state(), State::Open);
}

#[tokio::test(start_paused = true)]
async fn calls_in_flight_open_it_before_any_of_them_ends() {
    let trips = [Trip::slow_rate(0.5, Window::time(secs(600))).count_in_flight()];
    let play = Play::new(BreakerLayer::new().trip_on(trips).slow_after(secs(2)));
    let mut hanging = Vec::new();
    for _ in 0..30 {
        let mut future = play.request("/never");
        assert!(is_pending(&mut future).await);
        hanging.push(future);
        tokio::time::advance(Duration::from_millis(10)).await;
    }
    tokio::time::advance(Duration::from_millis(2_600)).await;
    assert_eq!(play.get("/").await, 503);
    assert_eq!((play.state(), play.upstream.calls()), (State::Open, 30));
    drop(hanging);
    assert_eq!(play.state(), State::Open);
}

#[tokio::test(start_paused = true)]
async fn streams_of_events_may_be_silent_and_left() {
    let (upstream, _) = Upstream::new(|_, _| {
        let response = Response::builder().header("content-type", "text/event-stream; charset=x");
        Answer::from(response.body(MockBody::new().data("a").never()).unwrap())
    });
    let trips = [Trip::slow_rate(0.5, Window::time(secs(6_000)))];
    let layer = BreakerLayer::new().trip_on(trips);
    let layer = layer.clock(Clock::anchored(SystemTime::UNIX_EPOCH));
    let (handle, service) = (layer.handle(), layer.layer(upstream));
    let request = Request::get("/").body(MockBody::new()).unwrap();
    let body = service.oneshot(request).await.unwrap().into_body();
    let mut read = Box::pin(Received::from(body));
    assert!(is_pending(&mut read).await);
    tokio::time::advance(secs(600)).await;
    drop(read);
    assert_eq!((handle.snapshot().calls, handle.snapshot().failures), (0, 0));
}

#[tokio::test(start_paused = true)]
async fn the_classifier_is_the_users_to_replace() {
    struct Teapots;
    impl Classify for Teapots {
        fn head(&self, response: &ResponseHead<'_>) -> Verdict {
            match response.status().as_u16() {
                418 => Verdict::Settled(Outcome::Failure),
                _ => Verdict::Open,
            }
        }

        fn trailers(&self, _: Option<&http::HeaderMap>) -> Outcome {
            Outcome::Success
        }
    }
    let play = Play::new(BreakerLayer::new().classify(Teapots));
    play.get("/500").await;
    play.get("/418").await;
    assert_eq!(failures(&play), (2, 1));
}

#[tokio::test(start_paused = true)]
async fn an_open_circuit_says_when_to_come_back() {
    let layer = BreakerLayer::new().open_for(secs(30), secs(60)).seed(3);
    let play = Play::new(layer);
    play.trip().await;
    let wait = play.snapshot().retry_in.unwrap();
    assert!(wait > Duration::ZERO && wait <= secs(30), "{wait:?}");
    let response = play.request("/").await;
    assert_eq!(response.status(), 503);
    let seconds = wait.as_nanos().div_ceil(1_000_000_000);
    assert_eq!(response.headers()["retry-after"], seconds.to_string());
    let refusal = response.extensions().get::<Refusal>().unwrap();
    assert_eq!((refusal.reason(), refusal.wait()), (Reason::CircuitOpen, Some(wait)));
    assert_eq!(play.snapshot().refused, 1);
}

#[tokio::test(start_paused = true)]
async fn a_service_that_says_when_to_come_back_is_asked_then() {
    for (name, value, seconds) in [
        ("retry-after", "90", 90),
        ("retry-after", "Thu, 01 Jan 1970 00:02:00 GMT", 120),
        ("grpc-retry-pushback-ms", "90000", 90),
        ("retry-after", "31536000", 3_600),
    ] {
        let (upstream, _) = Upstream::new(move |_, _| {
            let response = Response::builder().status(503).header(name, value);
            response.body(MockBody::new()).unwrap().into()
        });
        let layer = BreakerLayer::new().clock(Clock::anchored(SystemTime::UNIX_EPOCH));
        let handle = layer.handle();
        let service = ServiceBuilder::new().layer(layer).service(upstream);
        for _ in 0..20 {
            let request = Request::get("/").body(MockBody::new()).unwrap();
            let response = service.clone().oneshot(request).await.unwrap();
            Received::from(response.into_body()).await;
        }
        assert_eq!(handle.snapshot().retry_in, Some(secs(seconds)), "{value}");
    }
}
