//! The mocks play their scripts and note what is done to them.

#![allow(clippy::unwrap_used, reason = "a test may end where it fails")]

use std::pin::Pin;
use std::task::{Context, Poll, Waker};

use http::{HeaderMap, Request};
use http_body::Body;
use tower::{Service, ServiceExt};
use tower_edge_testkit::{
    Answer, Gate, MockBody, MockBodyError, Received, Upstream, UpstreamError,
};

/// What one poll of a body gives, in a word.
fn poll(body: &mut MockBody) -> &'static str {
    match Pin::new(body).poll_frame(&mut Context::from_waker(Waker::noop())) {
        Poll::Pending => "pending",
        Poll::Ready(None) => "end",
        Poll::Ready(Some(Err(MockBodyError))) => "error",
        Poll::Ready(Some(Ok(frame))) if frame.is_data() => "data",
        Poll::Ready(Some(Ok(_))) => "trailers",
    }
}

#[test]
fn a_body_plays_its_script() {
    let gate = Gate::closed();
    let body = MockBody::new().data("ab").pause().hold(&gate).data("c").trailers(HeaderMap::new());
    let mut body = body.sized();
    for (played, size, last) in
        [("data", 1, false), ("pending", 1, false), ("pending", 1, false), ("pending", 1, false)]
    {
        assert_eq!(poll(&mut body), played);
        assert_eq!((body.size_hint().exact(), body.is_end_stream()), (Some(size), last));
    }
    gate.open();
    for (played, size, last) in [("data", 0, false), ("trailers", 0, true), ("end", 0, true)] {
        assert_eq!(poll(&mut body), played);
        assert_eq!((body.size_hint().exact(), body.is_end_stream()), (Some(size), last));
    }
    assert_eq!(MockBody::new().data("ab").size_hint().exact(), None);
}

#[test]
fn a_body_notes_who_polls_it_after_its_end() {
    for (mut body, last) in [(MockBody::new(), "end"), (MockBody::new().fail(), "error")] {
        let handle = body.handle();
        assert_eq!(poll(&mut body), last);
        assert_eq!((handle.ended(), handle.polls_after_end()), (true, 0));
        assert_eq!(poll(&mut body), "end");
        assert_eq!(handle.polls_after_end(), 1);
    }
}

#[test]
fn a_body_notes_whether_it_was_dropped_early() {
    for (polls, early) in [(0, true), (1, true), (2, false), (3, false)] {
        let mut body = MockBody::new().data("a").data("b");
        let handle = body.handle();
        (0..polls).for_each(|_| _ = poll(&mut body));
        drop(body);
        assert_eq!(handle.dropped_early(), early, "{polls}");
        assert_eq!((handle.frames(), handle.ended()), (polls.min(2), polls == 3));
    }
}

#[tokio::test]
async fn a_gate_wakes_who_waits() {
    let gate = Gate::closed();
    let waiting = tokio::spawn({
        let gate = gate.clone();
        async move { gate.pass().await }
    });
    tokio::task::yield_now().await;
    assert!(!waiting.is_finished());
    gate.open();
    tokio::task::yield_now().await;
    assert!(waiting.is_finished());
    gate.close();
    assert!(gate.poll_pass(&mut Context::from_waker(Waker::noop())).is_pending());
}

#[tokio::test]
async fn a_clone_of_an_upstream_is_not_ready() {
    let (mut upstream, handle) = Upstream::new(|_, _| Answer::ok(MockBody::new()));
    ServiceExt::<Request<MockBody>>::ready(&mut upstream).await.unwrap();
    let mut clone = upstream.clone();
    upstream.call(Request::new(MockBody::new())).await.unwrap();
    assert_eq!((handle.misuses(), handle.clones()), (0, 1));
    clone.call(Request::new(MockBody::new())).await.unwrap();
    assert_eq!(handle.misuses(), 1);
    upstream.call(Request::new(MockBody::new())).await.unwrap();
    assert_eq!((handle.misuses(), handle.calls()), (2, 3));
}

#[tokio::test]
async fn a_call_is_in_flight_until_its_body_ends_or_is_dropped() {
    let (upstream, handle) = Upstream::new(|number, _| match number {
        0 => Answer::ok(MockBody::new().data("a").pause()),
        1 => Answer::ok(MockBody::new().data("a").never()),
        2 => Answer::never(),
        _ => Answer::error(UpstreamError::new("no")),
    });
    let call = || upstream.clone().oneshot(Request::new(MockBody::new()));
    let mut body = call().await.unwrap().into_body();
    assert_eq!(handle.in_flight(), 1);
    assert_eq!([poll(&mut body), poll(&mut body), poll(&mut body)], ["data", "pending", "end"]);
    assert_eq!(handle.in_flight(), 0);

    let response = call().await.unwrap();
    let mut never = Box::pin(call());
    let polled = never.as_mut().poll(&mut Context::from_waker(Waker::noop()));
    assert!(polled.is_pending());
    assert_eq!(handle.in_flight(), 2);
    drop((response, never));
    assert_eq!(handle.in_flight(), 0);
    assert_eq!(call().await.err(), Some(UpstreamError::new("no")));
    assert_eq!(handle.in_flight(), 0);
}

#[tokio::test]
async fn an_upstream_keeps_heads_and_the_bodies_that_it_reads() {
    let (upstream, handle) = Upstream::new(|_, head| match head.uri().path() {
        "/read" => Answer::ok(MockBody::new()).reading(),
        _ => Answer::ok(MockBody::new()),
    });
    for (path, body) in [
        ("/unread", MockBody::new().data("a")),
        ("/read", MockBody::new().data("ab").pause().data("c").trailers(HeaderMap::new())),
        ("/read", MockBody::new().data("ab").fail()),
    ] {
        let request = Request::get(path).body(body).unwrap();
        upstream.clone().oneshot(request).await.unwrap();
    }
    let paths: Vec<_> = handle.requests().iter().map(|head| head.uri.to_string()).collect();
    assert_eq!(paths, ["/unread", "/read", "/read"]);
    let [whole, broken] = &handle.received()[..] else { panic!("{handle:?}") };
    assert_eq!((whole.bytes(), &whole.trailers), ("abc".into(), &Some(HeaderMap::new())));
    assert_eq!((broken.bytes(), &broken.error), ("ab".into(), &Some(MockBodyError.to_string())));
    assert_eq!(whole.error, None);
}

#[tokio::test]
async fn an_upstream_may_not_be_ready() {
    let (mut upstream, handle) = Upstream::new(|_, _| Answer::ok(MockBody::new()));
    let ready = |upstream: &mut Upstream| {
        let cx = &mut Context::from_waker(Waker::noop());
        Service::<Request<MockBody>>::poll_ready(upstream, cx)
    };
    handle.readiness().close();
    assert!(ready(&mut upstream).is_pending());
    handle.readiness().open();
    assert_eq!(ready(&mut upstream), Poll::Ready(Ok(())));
    let error = UpstreamError::new("gone");
    handle.fail_readiness(error);
    assert_eq!(ready(&mut upstream), Poll::Ready(Err(error)));
    assert_eq!(Received::from(MockBody::new()).await, Received::default());
}
