use http::Response;
use http::header::CONTENT_LENGTH;
use http_body_util::BodyExt;
use tower::{Layer, ServiceExt};
use tower_edge_core::Key;
use tower_edge_limit::{Charge, KeyState, Limit, LimitHandle, Quota, RateLimit, nonzero};
use tower_edge_testkit::{Answer, MockBody, Upstream};

use crate::{get, layer, pass};

/// Ten tokens a second, up to 20 at once and 100 owed.
fn tokens() -> Limit {
    let quota = Quota::per_second(nonzero!(10)).burst(nonzero!(20)).debt(100);
    Limit::new("tokens", quota).cost(|_| 0)
}

fn state(handle: &LimitHandle) -> KeyState {
    handle.read("tokens", &Key::GLOBAL).unwrap()
}

fn behind(
    limit: Limit,
    answer: impl Fn() -> Answer + Send + 'static,
) -> (RateLimit<Upstream>, LimitHandle) {
    let layer = layer(limit);
    (layer.layer(Upstream::new(move |_, _| answer()).0), layer.handle())
}

#[tokio::test(start_paused = true)]
async fn a_response_is_charged_and_a_debt_delays_the_next_admission() {
    let (service, handle) = behind(tokens().charge(|_| 50), || Answer::ok(MockBody::new()));
    assert_eq!(get(&service).await, 200);
    let KeyState { available, owed, .. } = state(&handle);
    assert_eq!((available, owed), (0, 30));
    pass(2_999).await;
    assert_eq!(get(&service).await, 429);
    pass(1).await;
    assert_eq!(get(&service).await, 200);
    assert_eq!(state(&handle).owed, 50);
}

#[tokio::test(start_paused = true)]
async fn a_charge_counts_at_the_head_and_the_rest_at_the_end_of_the_body() {
    let charge = Charge::new(5);
    let given = charge.clone();
    let (service, handle) = behind(tokens().charged(), move || {
        let body = MockBody::new().data("a").data("b");
        Response::builder().extension(given.clone()).body(body).unwrap().into()
    });
    let answer = service.clone().oneshot(http::Request::new(MockBody::new())).await.unwrap();
    assert!(answer.extensions().get::<Charge>().is_none());
    assert_eq!(state(&handle).available, 15);
    charge.add(10);
    let mut body = answer.into_body();
    assert!(body.frame().await.is_some());
    assert_eq!(state(&handle).available, 15);
    drop(body);
    assert_eq!(state(&handle).available, 5, "also when the client leaves");
}

#[tokio::test(start_paused = true)]
async fn a_closure_charges_by_the_head() {
    let by_length = |head: &tower_edge_core::ResponseHead<'_>| {
        head.headers()[CONTENT_LENGTH].to_str().unwrap().parse::<u32>().unwrap().div_ceil(1_000)
    };
    let (service, handle) = behind(tokens().charge(by_length), || {
        Response::builder().header(CONTENT_LENGTH, "7001").body(MockBody::new()).unwrap().into()
    });
    assert_eq!(get(&service).await, 200);
    assert_eq!(state(&handle).available, 12);
}

#[tokio::test(start_paused = true)]
async fn a_request_costs_what_its_head_says() {
    let limit = tokens().cost(|head| head.uri().path().len() as u32);
    let (service, handle) = behind(limit, || Answer::ok(MockBody::new()));
    let get = |path: &str| crate::call(&service, http::Request::get(path));
    assert_eq!(get("/12345678").await.status(), 200);
    assert_eq!(state(&handle).available, 11);
    assert_eq!(get("/123456789012").await.status(), 429);
    assert_eq!(get("/1234567890").await.status(), 200);
}
