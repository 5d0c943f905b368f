use http::Request;
use http_body_util::BodyExt;
use serde_json::{Value, json};
use tower_edge_core::{Reason, Refusal};
use tower_edge_limit::{Limit, Quota, nonzero};

use crate::{admitted, call, get, layer, pass, serve};

fn two_a_second() -> Limit {
    Limit::new("second", Quota::per_second(nonzero!(2)))
}

#[tokio::test(start_paused = true)]
async fn requests_are_admitted_by_the_burst_and_then_by_the_rate() {
    let (service, upstream) = serve(&layer(two_a_second()));
    assert_eq!(admitted(&service, 5).await, 2);
    pass(499).await;
    assert_eq!(get(&service).await, 429);
    pass(1).await;
    assert_eq!(admitted(&service, 2).await, 1);
    assert_eq!(upstream.calls(), 3);
}

#[tokio::test(start_paused = true)]
async fn responses_tell_about_the_quota_that_leaves_the_least() {
    let (service, _) = serve(
        &layer(two_a_second())
            .limit(Limit::new("hour", Quota::per_hour(nonzero!(3_600)).burst(nonzero!(2)))),
    );
    let answer = call(&service, Request::get("/")).await;
    assert_eq!(answer.headers()["ratelimit-policy"], r#""second";q=2;w=1, "hour";q=3600;w=3600"#);
    assert_eq!(answer.headers()["ratelimit"], r#""second";r=1;t=1"#);
    assert!(!answer.headers().contains_key("x-ratelimit-limit"));
    pass(500).await;
    let answer = call(&service, Request::get("/")).await;
    assert_eq!(answer.headers()["ratelimit"], r#""hour";r=0;t=1"#);
}

#[tokio::test(start_paused = true)]
async fn a_refusal_says_when_to_come_back_and_which_quotas_are_used_up() {
    let slow = Quota::per_hour(nonzero!(60)).burst(nonzero!(2));
    let layer = layer(two_a_second()).limit(Limit::new("hour", slow)).x_response_fields(true);
    let (service, _) = serve(&layer);
    assert_eq!(admitted(&service, 2).await, 2);
    pass(100).await;
    let answer = call(&service, Request::get("/")).await;
    assert_eq!(answer.status(), 429);
    let field = |name: &str| answer.headers()[name].to_str().unwrap();
    assert_eq!(field("retry-after"), "60");
    assert_eq!(field("ratelimit"), r#""hour";r=0;t=60"#);
    assert_eq!(field("ratelimit-policy"), r#""second";q=2;w=1, "hour";q=60;w=3600"#);
    assert_eq!(field("x-ratelimit-limit"), "60");
    assert_eq!(field("x-ratelimit-remaining"), "0");
    assert_eq!(field("x-ratelimit-reset"), "60");
    assert_eq!(field("content-type"), "application/problem+json");
    let refusal = answer.extensions().get::<Refusal>().unwrap();
    assert_eq!(refusal.reason(), Reason::RateLimited);
    let body = answer.into_body().collect().await.unwrap().to_bytes();
    let body: Value = serde_json::from_slice(&body).unwrap();
    let kind = "https://iana.org/assignments/http-problem-types#quota-exceeded";
    assert_eq!(body["type"], kind);
    assert_eq!(body["violated-policies"], json!(["second", "hour"]));
}

#[tokio::test(start_paused = true)]
async fn a_refused_request_is_charged_by_no_quota() {
    let wide = Limit::new("wide", Quota::per_hour(nonzero!(10)));
    let (service, _) = serve(&layer(wide).limit(two_a_second()));
    for _ in 0..5 {
        assert_eq!(admitted(&service, 9).await, 2);
        pass(1_000).await;
    }
    assert_eq!(admitted(&service, 9).await, 0, "10 an hour");
}

#[tokio::test(start_paused = true)]
async fn grpc_clients_get_resource_exhausted() {
    let (service, _) = serve(&layer(two_a_second()));
    assert_eq!(admitted(&service, 2).await, 2);
    let request = Request::post("/").header("content-type", "application/grpc");
    let answer = call(&service, request).await;
    assert_eq!(answer.status(), 200);
    assert_eq!(answer.headers()["grpc-status"], "8");
    assert_eq!(answer.headers()["grpc-retry-pushback-ms"], "500");
    assert_eq!(answer.headers()["ratelimit"], r#""second";r=0;t=1"#);
}

#[tokio::test(start_paused = true)]
async fn a_cost_that_no_burst_has_is_refused_without_a_time() {
    let (service, _) = serve(&layer(two_a_second().cost(|_| 3)));
    let answer = call(&service, Request::get("/")).await;
    assert_eq!(answer.status(), 429);
    assert!(!answer.headers().contains_key("retry-after"));
}

#[tokio::test(start_paused = true)]
async fn the_user_may_build_the_answer() {
    let layer = layer(two_a_second()).on_refuse(|refusal, _| {
        let text = format!("wait {:?}", refusal.wait().unwrap());
        http::Response::builder().status(420).body(text.into()).unwrap()
    });
    let (service, _) = serve(&layer);
    assert_eq!(admitted(&service, 2).await, 2);
    let answer = call(&service, Request::get("/")).await;
    assert_eq!(answer.status(), 420);
    assert!(answer.headers().contains_key("ratelimit"));
    assert_eq!(answer.into_body().collect().await.unwrap().to_bytes(), "wait 500ms");
}

#[tokio::test(start_paused = true)]
async fn a_layer_that_only_watches_lets_all_pass_and_counts() {
    let layer = layer(two_a_second()).shadow();
    let (service, _) = serve(&layer);
    assert_eq!(admitted(&service, 5).await, 5);
    let answer = call(&service, Request::get("/")).await;
    assert!(!answer.headers().contains_key("ratelimit"));
    let stats = layer.handle().stats();
    assert_eq!((stats.would_refuse, stats.refused), (4, 0));
}
