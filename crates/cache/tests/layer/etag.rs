//! Entity tags without a cache.

use http::Request;
use tower::ServiceExt;
use tower_edge_cache::EtagLayer;
use tower_edge_testkit::contract::{self, Subject};
use tower_edge_testkit::{Answer, MockBody, Received, Upstream};
use tower_layer::Layer;

use crate::play::{answer, request, respond};

/// Status, tag and text of an answer.
async fn answered(
    script: impl Fn() -> Answer + Send + 'static,
    request: Request<MockBody>,
) -> (u16, String, Received) {
    let (upstream, _) = Upstream::new(move |_, _| script());
    let service = EtagLayer::new(8).layer(upstream);
    let (head, body) = service.oneshot(request).await.unwrap().into_parts();
    let tag = head.headers.get("etag").map_or("", |tag| tag.to_str().unwrap()).to_owned();
    (head.status.as_u16(), tag, Received::from(body).await)
}

const ABC: &str = "\"ba7816bf8f01cfea414140de5dae2223\"";

fn abc() -> MockBody {
    MockBody::new().data("a").data("bc").sized()
}

#[tokio::test(start_paused = true)]
async fn a_body_in_hand_is_tagged_and_conditions_are_answered() {
    let script = || respond(200, &[("cache-control", "private")], abc());
    for (fields, status, text) in [
        (&[][..], 200, "abc"),
        (&[("if-none-match", "\"x\", W/\"ba7816bf8f01cfea414140de5dae2223\"")], 304, ""),
        (&[("if-none-match", "\"x\"")], 200, "abc"),
    ] {
        let (got, tag, body) = answered(script, request("GET", "/", fields)).await;
        assert_eq!((got, tag.as_str()), (status, ABC), "{fields:?}");
        assert_eq!(body.bytes(), text);
    }
}

#[tokio::test(start_paused = true)]
async fn what_is_not_in_hand_or_not_to_be_tagged_passes() {
    type Script = fn() -> Answer;
    let scripts: [(Script, &str, &str); 7] = [
        (|| respond(200, &[("etag", "\"own\"")], abc()), "GET", "\"own\""),
        (|| respond(200, &[], MockBody::new().data("a").pause().data("bc").sized()), "GET", ""),
        (|| respond(200, &[], MockBody::new().data("a").data("bc")), "GET", ""),
        (|| respond(200, &[], MockBody::new().data("abcdefghi").sized()), "GET", ""),
        (|| answer(404, &[], "abc"), "GET", ""),
        (|| respond(200, &[], abc()), "POST", ""),
        (|| respond(200, &[], MockBody::new().data("a").fail().sized()), "GET", ""),
    ];
    for (number, (script, method, expected)) in scripts.into_iter().enumerate() {
        let (_, tag, body) =
            answered(script, request(method, "/", &[("if-none-match", ABC)])).await;
        assert_eq!(tag, expected, "{number}");
        assert!(!body.frames.is_empty(), "{number}");
        assert_eq!(body.error.is_some(), number == 6);
    }
}

#[tokio::test(start_paused = true)]
async fn the_layer_keeps_the_laws_of_every_layer() {
    contract::all(|| Subject::stateless(EtagLayer::new(1 << 20))).await;
}
