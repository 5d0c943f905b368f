//! Stale responses: while they are refreshed, and when the origin fails.

use std::time::Duration;

use http::Response;
use tower_edge_cache::StaleOnError;
use tower_edge_core::{Reason, Refusal};
use tower_edge_testkit::{Answer, Gate, MockBody, UpstreamError};

use crate::play::{Play, answer, cache, request, respond, seconds, tasks};

const WINDOW: &[(&str, &str)] =
    &[("cache-control", "max-age=5, stale-while-revalidate=10"), ("etag", "\"a\"")];

#[tokio::test(start_paused = true)]
async fn a_stale_response_is_served_while_it_is_refreshed() {
    let gate = Gate::closed();
    let slow = gate.clone();
    let play = Play::new(move |number, _| match number {
        0 => answer(200, WINDOW, "old"),
        _ => answer(200, WINDOW, "new").hold(&slow),
    });
    play.get(&[]).await;
    seconds(7).await;
    for _ in 0..5 {
        let stale = play.get(&[]).await;
        assert_eq!((stale.text(), stale.field("age")), ("old".into(), "7"));
        assert_eq!(stale.field("cache-status"), "tower-edge; hit; ttl=-2");
        tasks().await;
    }
    assert_eq!(play.origin.calls(), 2);
    assert_eq!(play.origin.requests()[1].headers["if-none-match"], "\"a\"");
    gate.open();
    tasks().await;
    let fresh = play.get(&[]).await;
    assert_eq!((fresh.text(), fresh.did()), ("new".into(), "hit"));
    assert_eq!(play.origin.calls(), 2);
    assert_eq!(play.cache.stats().stale, 5);
}

#[tokio::test(start_paused = true)]
async fn a_refresh_outlives_its_client_and_a_head_refreshes_as_get() {
    let play = Play::new(|_, head| match head.headers().contains_key("if-none-match") {
        true => answer(304, &[], "").pause(),
        false => answer(200, WINDOW, "body"),
    });
    play.get(&[]).await;
    seconds(7).await;
    drop(play.send(request("HEAD", "/", &[])).await);
    tasks().await;
    assert_eq!(play.origin.requests()[1].method, "GET");
    assert_eq!(play.get(&[]).await.field("age"), "0");
    assert_eq!(play.origin.calls(), 2);
}

#[tokio::test(start_paused = true)]
async fn a_refresh_that_fails_gives_its_turn_back() {
    let play = Play::new(|number, _| match number {
        0 => answer(200, WINDOW, "body"),
        1 => Answer::error(UpstreamError::new("down")),
        2 => respond(200, WINDOW, MockBody::new().data("new").fail()),
        _ => answer(200, WINDOW, "newest"),
    });
    play.get(&[]).await;
    seconds(7).await;
    for calls in 2..5 {
        assert_eq!(play.get(&[]).await.text(), "body");
        tasks().await;
        assert_eq!(play.origin.calls(), calls);
    }
    assert_eq!(play.get(&[]).await.text(), "newest");
}

#[tokio::test(start_paused = true)]
async fn past_its_window_a_response_is_validated_first() {
    let play = Play::always(WINDOW);
    play.get(&[]).await;
    seconds(15).await;
    assert_eq!(play.get(&[]).await.did(), "fwd=stale; stored");
}

/// Fills the cache, lets the response go stale, and lets the origin fail.
async fn failed(stale_on_error: StaleOnError, fields: &'static str, failure: Failure) -> String {
    let play = Play::with(cache().stale_on_error(stale_on_error), move |number, _| match number {
        0 => answer(200, &[("cache-control", fields)], "body"),
        _ => failure.answer(),
    });
    play.get(&[]).await;
    seconds(9).await;
    match play.try_get().await {
        Ok(got) => format!("{} {}", got.status.as_u16(), got.did()),
        Err(error) => error.to_string(),
    }
}

#[derive(Clone, Copy)]
enum Failure {
    Status(u16),
    Refused,
    Error,
}

impl Failure {
    fn answer(self) -> Answer {
        match self {
            Self::Status(status) => answer(status, &[], "failed"),
            Self::Error => Answer::error(UpstreamError::new("down")),
            Self::Refused => {
                let refusal = Refusal::new(Reason::RateLimited);
                let response = Response::builder().status(429).extension(refusal);
                response.body(MockBody::new()).unwrap().into()
            }
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_stale_response_replaces_a_failure_within_its_window() {
    const SIE: &str = "max-age=5, stale-if-error=10";
    const RFC: StaleOnError = StaleOnError::Rfc;
    const DIRECTIVES: StaleOnError = StaleOnError::Directives;
    let status = |status| format!("200 fwd=stale; fwd-status={status}; detail=stale-if-error");
    let without = "200 fwd=stale; detail=stale-if-error".to_owned();
    for (choice, fields, failure, got) in [
        (DIRECTIVES, SIE, Failure::Status(500), status(500)),
        (DIRECTIVES, SIE, Failure::Status(503), status(503)),
        (DIRECTIVES, SIE, Failure::Refused, status(429)),
        (DIRECTIVES, SIE, Failure::Error, without.clone()),
        (DIRECTIVES, SIE, Failure::Status(501), "501 fwd=stale".into()),
        (DIRECTIVES, SIE, Failure::Status(404), "404 fwd=stale".into()),
        (DIRECTIVES, "max-age=5", Failure::Status(500), "500 fwd=stale".into()),
        (DIRECTIVES, "max-age=5", Failure::Error, "down".into()),
        (DIRECTIVES, "max-age=5, stale-if-error=4", Failure::Error, "down".into()),
        (RFC, "max-age=5", Failure::Status(500), status(500)),
        (RFC, "max-age=5", Failure::Error, without),
        (RFC, "max-age=5, must-revalidate", Failure::Status(500), "500 fwd=stale".into()),
        (RFC, "s-maxage=5", Failure::Status(500), "500 fwd=stale".into()),
    ] {
        assert_eq!(failed(choice, fields, failure).await, got, "{choice:?} {fields}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_client_may_accept_a_stale_response_for_a_failure() {
    let play = Play::new(|number, _| match number {
        0 => answer(200, &[("cache-control", "max-age=5")], "body"),
        _ => answer(500, &[], "failed"),
    });
    play.get(&[]).await;
    seconds(9).await;
    for (wish, text) in
        [("", "failed"), ("stale-if-error=5", "body"), ("stale-if-error=4", "failed")]
    {
        assert_eq!(play.get(&[("cache-control", wish)]).await.text(), text, "{wish}");
    }
}

#[tokio::test(start_paused = true)]
async fn the_windows_have_defaults() {
    let layer = cache()
        .stale_if_error(Duration::from_secs(3))
        .stale_while_revalidate(Duration::from_secs(1));
    let play = Play::with(layer, |number, _| match number {
        0 => answer(200, &[("cache-control", "max-age=5")], "body"),
        _ => answer(500, &[], "failed"),
    });
    play.get(&[]).await;
    seconds(5).await;
    assert_eq!(play.get(&[]).await.did(), "hit");
    seconds(2).await;
    assert_eq!(play.get(&[]).await.text(), "body");
    seconds(1).await;
    assert_eq!(play.get(&[]).await.text(), "failed");
}
