//! Faults that other caches have, or had.

use std::pin::pin;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use http::HeaderMap;
use http_body::Body;
use tower_edge_testkit::MockBody;

use crate::play::{Play, answer, cache, request, respond, seconds, tasks};

const FRESH: (&str, &str) = ("cache-control", "max-age=60");
const TTL: Duration = Duration::from_secs(60);

#[tokio::test(start_paused = true)]
async fn a_head_before_a_get_does_not_empty_it() {
    let play = Play::new(|_, head| match head.method().as_str() {
        "HEAD" => answer(200, &[FRESH, ("content-length", "4")], ""),
        _ => answer(200, &[FRESH], "body"),
    });
    let head = play.ask(request("HEAD", "/", &[])).await;
    assert_eq!((head.did(), head.text()), ("fwd=uri-miss", String::new()));
    for did in ["fwd=uri-miss; stored", "hit"] {
        let got = play.get(&[]).await;
        assert_eq!((got.did(), got.text()), (did, "body".into()));
    }
}

#[tokio::test(start_paused = true)]
async fn a_cookie_is_not_replayed_to_the_next_user() {
    let play = Play::with(cache().default_ttl(TTL), |number, _| {
        let cookie = format!("session={number}");
        answer(200, &[("cache-control", "public, max-age=60"), ("set-cookie", &cookie)], "page")
    });
    for cookie in ["session=0", "session=1"] {
        assert_eq!(play.get(&[]).await.field("set-cookie"), cookie);
    }
}

#[tokio::test(start_paused = true)]
async fn refusals_are_not_kept_for_everybody() {
    for status in [400, 401, 403, 407, 412, 416, 421, 429, 431, 500, 502, 503] {
        let play = Play::with(cache().default_ttl(TTL), move |number, _| match number {
            0 => answer(status, &[], "no"),
            _ => answer(200, &[FRESH], "yes"),
        });
        assert_eq!(play.get(&[]).await.status, status);
        let got = play.get(&[("authorization", "Bearer x")]).await;
        assert_eq!((got.status.as_u16(), got.text()), (200, "yes".into()), "{status}");
    }
}

#[tokio::test(start_paused = true)]
async fn one_users_page_is_not_given_to_another() {
    let play = Play::with(cache().default_ttl(TTL), |_, head| {
        answer(200, &[FRESH], head.headers()["authorization"].to_str().unwrap())
    });
    for token in ["Bearer a", "Bearer b"] {
        assert_eq!(play.get(&[("authorization", token)]).await.text(), token);
    }
}

/// A page that answers to any path below it is not stored because its path ends
/// like a picture's (cache deception).
#[tokio::test(start_paused = true)]
async fn the_end_of_a_path_does_not_make_a_page_public() {
    for fields in [&[][..], &[("cache-control", "private, max-age=60")], &[("set-cookie", "a=b")]] {
        let play = Play::new(move |number, _| answer(200, fields, &format!("account {number}")));
        for text in ["account 0", "account 1"] {
            let target = "/account/x.css";
            let got = play.ask(request("GET", target, &[("cookie", "session=1")])).await;
            assert_eq!(got.text(), text, "{fields:?}");
        }
    }
}

/// An attacker lets the origin fail for everybody by a request that only it
/// minds: fields that are too long, or malformed, or name another method.
#[tokio::test(start_paused = true)]
async fn a_request_that_only_the_origin_rejects_poisons_nothing() {
    let long = "x".repeat(20_000);
    for (name, value, status) in [
        ("x-oversized", long.as_str(), 400),
        ("x-oversized", long.as_str(), 431),
        ("x-metacharacter", "\u{e9}\t", 400),
        ("x-http-method-override", "DELETE", 404),
        ("x-http-method-override", "INVENTED", 501),
        ("x-http-method", "POST", 405),
        ("x-method-override", "PUT", 200),
    ] {
        let play = Play::with(cache().default_ttl(TTL), move |_, head| {
            match head.headers().contains_key(name) {
                true => answer(status, &[], "poison"),
                false => answer(200, &[FRESH], "page"),
            }
        });
        assert_eq!(play.get(&[(name, value)]).await.text(), "poison");
        assert_eq!(play.get(&[]).await.text(), "page", "{name} {status}");
        assert_eq!(play.get(&[]).await.did(), "hit");
    }
}

#[tokio::test(start_paused = true)]
async fn a_validation_that_overrides_the_method_leaves_the_stored_response() {
    let play = Play::new(|_, head| match head.headers().contains_key("if-none-match") {
        true => answer(304, &[FRESH], ""),
        false => answer(200, &[("cache-control", "max-age=5"), ("etag", "\"a\"")], "body"),
    });
    play.get(&[]).await;
    seconds(5).await;
    play.get(&[("x-http-method-override", "DELETE")]).await;
    assert_eq!(play.get(&[]).await.did(), "fwd=stale; fwd-status=304");
}

/// Origins build links and redirects of these, and seldom say so in `Vary`.
#[tokio::test(start_paused = true)]
async fn fields_that_stand_for_the_target_poison_nothing() {
    const NAMES: &str = "x-forwarded-host x-forwarded-port x-forwarded-prefix x-forwarded-proto \
        x-forwarded-scheme x-original-url x-rewrite-url";
    for name in NAMES.split(' ') {
        let play = Play::new(move |_, head| {
            let value = head.headers().get(name).map_or("clean", |value| value.to_str().unwrap());
            answer(200, &[FRESH], value)
        });
        for (did, others) in [("stored", "fwd=vary-miss; stored"), ("hit", "hit")] {
            let evil = play.get(&[(name, "evil")]).await;
            assert_eq!(evil.text(), "evil", "{name}");
            assert!(evil.did().ends_with(did), "{name}: {}", evil.did());
            let clean = play.get(&[]).await;
            assert_eq!((clean.text(), clean.did()), ("clean".into(), others), "{name}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn only_get_is_stored_and_what_a_post_says_of_its_target() {
    for method in ["PUT", "DELETE", "PATCH", "OPTIONS", "TRACE", "QUERY", "get", "post"] {
        let play = Play::with(cache().default_ttl(TTL), |number, _| {
            answer(200, &[FRESH, ("content-location", "/")], &number.to_string())
        });
        for text in ["0", "1"] {
            assert_eq!(play.ask(request(method, "/", &[])).await.text(), text, "{method}");
        }
        assert_eq!(play.get(&[]).await.text(), "2", "{method}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_part_does_not_answer_for_the_whole() {
    let play = Play::with(cache().default_ttl(TTL), |_, head| {
        let part = [FRESH, ("etag", "\"a\""), ("content-range", "bytes 0-0/4")];
        match head.headers().contains_key("range") {
            true => answer(206, &part, "b"),
            false => answer(200, &[FRESH, ("etag", "\"a\"")], "body"),
        }
    });
    let part = play.get(&[("range", "bytes=0-0")]).await;
    assert_eq!((part.status.as_u16(), part.text()), (206, "b".into()));
    let whole = play.get(&[]).await;
    assert_eq!((whole.status.as_u16(), whole.text()), (200, "body".into()));
}

#[tokio::test(start_paused = true)]
async fn trailers_of_a_call_pass() {
    let trailers = HeaderMap::from_iter([("grpc-status".parse().unwrap(), "0".parse().unwrap())]);
    let sent = trailers.clone();
    let play = Play::new(move |_, _| {
        let body = MockBody::new().data("message").trailers(sent.clone());
        respond(200, &[("content-type", "application/grpc"), FRESH], body)
    });
    for _ in 0..2 {
        let call = request("POST", "/s/m", &[("content-type", "application/grpc")]);
        let got = play.ask(call).await;
        assert_eq!((got.did(), got.text()), ("fwd=method", "message".into()));
        assert_eq!(got.body.trailers, Some(trailers.clone()));
    }
}

#[tokio::test(start_paused = true)]
async fn a_stream_of_events_is_not_held_back() {
    for control in ["no-store", "no-cache", "max-age=60"] {
        let play = Play::new(move |_, _| {
            let fields = [("content-type", "text/event-stream"), ("cache-control", control)];
            respond(200, &fields, MockBody::new().data("data: 1\n\n").never())
        });
        let mut body = pin!(play.send(request("GET", "/", &[])).await.into_body());
        let mut cx = Context::from_waker(Waker::noop());
        let Poll::Ready(Some(Ok(first))) = body.as_mut().poll_frame(&mut cx) else {
            panic!("the first event is held back");
        };
        assert_eq!(first.data_ref().unwrap(), "data: 1\n\n");
        assert!(body.poll_frame(&mut cx).is_pending());
    }
}

#[tokio::test(start_paused = true)]
async fn an_encoded_body_keeps_its_coding() {
    let play = Play::new(|_, head| match head.headers().contains_key("if-none-match") {
        true => answer(304, &[("content-encoding", "identity"), FRESH], ""),
        false => {
            let fields =
                [("content-encoding", "gzip"), ("etag", "\"a\""), ("vary", "accept-encoding")];
            answer(200, &[&fields[..], &[("cache-control", "max-age=5")]].concat(), "\u{1f}")
        }
    });
    let gzip = [("accept-encoding", "gzip")];
    for wait in [0, 0, 5, 0] {
        seconds(wait).await;
        let got = play.get(&gzip).await;
        assert_eq!((got.field("content-encoding"), got.text()), ("gzip", "\u{1f}".into()));
        assert_eq!(got.field("vary"), "accept-encoding");
    }
    assert_eq!(play.origin.calls(), 2);
}

#[tokio::test(start_paused = true)]
async fn a_stored_response_keeps_the_date_of_its_origin() {
    const DATE: (&str, &str) = ("date", "Sun, 06 Nov 1994 08:49:27 GMT");
    let play = Play::always(&[FRESH, DATE]);
    for age in ["", "10"] {
        let got = play.get(&[]).await;
        assert_eq!((got.field("date"), got.field("age")), (DATE.1, age));
    }
}

#[tokio::test(start_paused = true)]
async fn a_slow_request_does_not_hold_up_another_that_is_not_stored() {
    let play = Play::new(|number, _| match number {
        1 => tower_edge_testkit::Answer::never(),
        _ => answer(200, &[("cache-control", "no-store")], "body"),
    });
    play.get(&[]).await;
    let mut slow = pin!(play.send(request("GET", "/", &[])));
    let mut cx = Context::from_waker(Waker::noop());
    assert!(std::future::Future::poll(slow.as_mut(), &mut cx).is_pending());
    assert_eq!(play.get(&[]).await.text(), "body");
    assert_eq!(play.origin.calls(), 3);
}

#[tokio::test(start_paused = true)]
async fn a_refresh_does_not_ask_what_the_client_asked() {
    const STALE: (&str, &str) = ("cache-control", "max-age=5, stale-while-revalidate=10");
    let play = Play::new(|_, head| match head.headers().contains_key("if-none-match") {
        true => answer(304, &[STALE], ""),
        false => answer(200, &[STALE], "body"),
    });
    play.get(&[]).await;
    seconds(7).await;
    play.get(&[("if-none-match", "\"client\"")]).await;
    tasks().await;
    assert!(!play.origin.requests()[1].headers.contains_key("if-none-match"));
    assert_eq!(play.get(&[]).await.field("age"), "0");
}
