use std::future::poll_fn;
use std::pin::pin;

use http::Request;
use http_body::Body;
use tower_service::Service;

use super::messages::{get, lasting, passing, post, trailers};
use super::trial::{Trial, poll_once, settle};
use super::{Lawful, Subject};
use crate::{Answer, Gate, MockBody};

/// Law: a service that is dropped, ready or not, leaves nothing behind.
pub async fn a_dropped_service_leaves_nothing<L: Lawful>(make: impl Fn() -> Subject<L>) {
    let trial = Trial::new("a_dropped_service_leaves_nothing", make(), answer);
    for open in [false, true] {
        match open {
            true => trial.upstream.readiness().open(),
            false => trial.upstream.readiness().close(),
        }
        for _ in 0..100 {
            let mut service = trial.service.clone();
            let _ = poll_once(pin!(poll_fn(|cx| service.poll_ready(cx)))).await;
            drop(service);
        }
        let when = if open { "ready" } else { "waiting" };
        trial.check_nothing_is_left(format_args!("after services were dropped {when}")).await;
    }
    check_served(&trial).await;
}

/// Law: a future that is dropped at any poll leaves nothing behind.
pub async fn a_dropped_future_leaves_nothing<L: Lawful>(make: impl Fn() -> Subject<L>) {
    let trial = Trial::new("a_dropped_future_leaves_nothing", make(), answer);
    for round in 0..ROUNDS {
        for (name, request) in REQUESTS {
            // At most as many polls as there are waits, and one more.
            for polls in 0..4 {
                let path = format!("/{name}/{round}/{polls}");
                // Every other round the inner service becomes ready too late.
                abandon_future(&trial, request(&path), polls, round % 2 == 0).await;
                let after = format_args!("after {name} was dropped at poll {polls}");
                trial.check_nothing_is_left(after).await;
            }
        }
    }
    check_served(&trial).await;
}

/// Law: a body that is dropped at any frame leaves nothing behind.
///
/// What a layer goes on reading for its own sake comes to its end.
pub async fn a_dropped_body_leaves_nothing<L: Lawful>(make: impl Fn() -> Subject<L>) {
    let trial = Trial::new("a_dropped_body_leaves_nothing", make(), answer);
    for round in 0..ROUNDS {
        for (name, request) in REQUESTS.into_iter().filter(|(name, _)| *name != "never") {
            for frames in 0..5 {
                let path = format!("/{name}/{round}/{frames}");
                abandon_body(&trial, request(&path), frames).await;
                let after = format_args!("after the body of {name} was dropped at frame {frames}");
                trial.check_nothing_is_left(after).await;
            }
        }
    }
    check_served(&trial).await;
}

/// Calls, polls the future `polls` times and drops it; unless `open`, the inner
/// service becomes ready only after that.
async fn abandon_future<L: Lawful>(
    trial: &Trial<L>,
    request: Request<MockBody>,
    polls: usize,
    open: bool,
) {
    let mut service = trial.service.clone();
    if !open {
        trial.upstream.readiness().close();
    }
    if poll_once(pin!(poll_fn(|cx| service.poll_ready(cx)))).await.is_ready() {
        let mut future = Box::pin(service.call(request));
        for _ in 0..polls {
            if poll_once(future.as_mut()).await.is_ready() {
                break;
            }
            settle().await;
        }
    }
    drop(service);
    trial.upstream.readiness().open();
}

/// Calls, polls the body `frames` times and drops it.
async fn abandon_body<L: Lawful>(trial: &Trial<L>, request: Request<MockBody>, frames: usize) {
    let mut body = Box::pin(trial.call(request).await.into_body());
    for _ in 0..frames {
        if poll_once(pin!(poll_fn(|cx| body.as_mut().poll_frame(cx)))).await.is_pending() {
            settle().await;
        }
    }
}

/// Capacity that leaked without a gauge shows here.
async fn check_served<L: Lawful>(trial: &Trial<L>) {
    for number in 0..4 {
        let response = trial.call(get(&format!("/later/{number}"))).await;
        let status = response.status();
        trial.check(status == 200, format_args!("a later call is answered {status}"));
        trial.read(response).await;
    }
}

fn answer(_: u64, head: &tower_edge_core::RequestHead<'_>) -> Answer {
    let frames = || MockBody::new().data("a").pause().data("b");
    match head.uri().path().split('/').nth(1) {
        Some("never") => Answer::never(),
        Some("endless") => passing(frames().hold(&Gate::closed())).into(),
        Some("passing") => Answer::from(passing(frames().trailers(trailers()))).pause().pause(),
        Some("lasting") => Answer::from(lasting(frames().trailers(trailers()))).pause().pause(),
        _ => lasting(MockBody::new().data("ok")).into(),
    }
}

type Ask = fn(&str) -> Request<MockBody>;

/// What has no end is asked for by POST: a cache may finish a GET by itself.
const REQUESTS: [(&str, Ask); 4] =
    [("never", post), ("endless", post), ("passing", get), ("lasting", get)];

/// So many that 64 permits run out if each round leaks only a few.
const ROUNDS: usize = 24;
