use std::future::poll_fn;
use std::pin::pin;

use bytes::Bytes;
use http::{HeaderValue, Response};
use http_body::{Body, Frame};

use super::messages::{get, lasting, passing, post, trailers};
use super::trial::{Trial, poll_once, settle};
use super::{Lawful, Subject};
use crate::{Answer, Gate, MockBody};

/// Law: data and trailers of a response pass, stored or not.
pub async fn frames_pass<L: Lawful>(make: impl Fn() -> Subject<L>) {
    let trial = Trial::new("frames_pass", make(), |_, head| {
        let body = MockBody::new().data("ab").pause().data("c").trailers(trailers());
        respond(head.uri().path(), body).into()
    });
    for path in KINDS {
        let received = trial.fetch(get(path)).await;
        trial.check(received.error.is_none(), format_args!("an error at the end of {path}"));
        trial.check(received.bytes() == "abc", format_args!("the data of {path} changes"));
        let whole = received.trailers == Some(trailers());
        trial.check(whole, format_args!("the trailers of {path} are lost"));
    }
    trial.check_nothing_is_left("after whole bodies").await;
}

/// Law: data and trailers of a request pass, while the client sends them.
pub async fn request_bodies_pass<L: Lawful>(make: impl Fn() -> Subject<L>) {
    let trial =
        Trial::new("request_bodies_pass", make(), |_, _| Answer::ok(MockBody::new()).reading());
    let gate = Gate::closed();
    let body = MockBody::new().data("ab").hold(&gate).data("c").trailers(trailers());
    let client = body.handle();
    let mut service = trial.service.clone();
    let mut exchange = pin!(trial.try_call(&mut service, post("/").map(|_| body)));
    let _ = poll_once(exchange.as_mut()).await;
    settle().await;
    let _ = poll_once(exchange.as_mut()).await;
    trial.check(client.frames() == 1, "the upstream does not get what the client has sent");
    trial.check(trial.upstream.calls() == 1, "the call waits for the whole request");
    gate.open();
    let response = exchange.await;
    trial.check(response.is_ok(), "an upload ends in an error");
    let received = &trial.upstream.received()[0];
    trial.check(received.bytes() == "abc", "the data changes");
    trial.check(received.trailers == Some(trailers()), "the trailers are lost");
}

/// Law: `size_hint` and `is_end_stream` are the upstream's, frame by frame.
pub async fn sizes_pass<L: Lawful>(make: impl Fn() -> Subject<L>) {
    let bodies: [Named; 5] = [
        ("an empty body", MockBody::new),
        ("a body of known size", || MockBody::new().data("ab").data("c").sized()),
        ("a body of unknown size", || MockBody::new().data("ab").data("c")),
        ("a body whose end comes later", || MockBody::new().data("ab").pause()),
        ("a body with trailers", || MockBody::new().data("ab").trailers(trailers())),
    ];
    for (name, body) in bodies {
        let trial = Trial::new("sizes_pass", make(), move |_, _| passing(body()).into());
        let mut seen = pin!(trial.call(get("/")).await.into_body());
        let mut sent = pin!(body());
        loop {
            let (is, was) = (seen.is_end_stream(), sent.is_end_stream());
            trial.check(is == was, format_args!("{name}: end of stream {was} becomes {is}"));
            if was {
                break;
            }
            let (is, was) = (seen.size_hint(), sent.size_hint());
            let same = (is.lower(), is.upper()) == (was.lower(), was.upper());
            trial.check(same, format_args!("{name}: size {was:?} becomes {is:?}"));
            let frame = trial.within(name, poll_fn(|cx| seen.as_mut().poll_frame(cx))).await;
            let other = poll_fn(|cx| sent.as_mut().poll_frame(cx)).await;
            trial.check(frame.is_some() == other.is_some(), format_args!("{name}: frames differ"));
            if other.is_none() {
                break;
            }
        }
    }
}

/// Law: streaming stays streaming: a frame leaves when the upstream sent it.
pub async fn bodies_stream<L: Lawful>(make: impl Fn() -> Subject<L>) {
    for path in KINDS {
        let gate = Gate::closed();
        let held = gate.clone();
        let trial = Trial::new("bodies_stream", make(), move |_, head| {
            let body = MockBody::new().data("first").hold(&held).data("last").trailers(trailers());
            let mut response = respond(head.uri().path(), body);
            response.headers_mut().insert("content-type", SSE);
            response.into()
        });
        let mut body = pin!(trial.call(get(path)).await.into_body());
        let first = trial.within("the first frame", poll_fn(|cx| body.as_mut().poll_frame(cx)));
        let first = data(first.await);
        let whole = first.as_deref() == Some(b"first");
        trial.check(whole, format_args!("the first frame of {path} is {first:?}"));
        let next = poll_once(pin!(poll_fn(|cx| body.as_mut().poll_frame(cx)))).await;
        trial.check(next.is_pending(), format_args!("a frame of {path} from nowhere"));
        gate.open();
        let last = trial.within("the last frame", poll_fn(|cx| body.as_mut().poll_frame(cx)));
        let last = data(last.await);
        let whole = last.as_deref() == Some(b"last");
        trial.check(whole, format_args!("the last frame of {path} is {last:?}"));
    }
}

/// Law: a body that breaks off ends in an error, never as if it were whole.
pub async fn broken_bodies_stay_broken<L: Lawful>(make: impl Fn() -> Subject<L>) {
    for path in KINDS {
        for before in 0..3 {
            let trial = Trial::new("broken_bodies_stay_broken", make(), move |_, head| {
                let body = (0..before).fold(MockBody::new(), |body, _| body.data("ab").pause());
                respond(head.uri().path(), body.fail()).into()
            });
            let received = trial.fetch(get(path)).await;
            let broken = received.error.is_some();
            trial.check(broken, format_args!("{path} looks whole, broken after {before} frames"));
            trial.check_nothing_is_left("after a broken body").await;
        }
    }
}

/// Law: the upstream's body is never polled after its end or its error.
pub async fn ended_bodies_are_left_alone<L: Lawful>(make: impl Fn() -> Subject<L>) {
    let bodies: [Named; 5] = [
        ("an empty body", MockBody::new),
        ("a body of known size", || MockBody::new().data("ab").sized()),
        ("a body whose end comes later", || MockBody::new().data("ab").pause()),
        ("a body with trailers", || MockBody::new().data("ab").pause().trailers(trailers())),
        ("a broken body", || MockBody::new().data("ab").fail()),
    ];
    for (name, body) in bodies {
        for path in KINDS {
            let body = body();
            let handle = body.handle();
            let mut body = Some(body);
            let trial = Trial::new("ended_bodies_are_left_alone", make(), move |_, head| {
                respond(head.uri().path(), body.take().unwrap_or_default()).into()
            });
            trial.fetch(get(path)).await;
            settle().await;
            let polls = handle.polls_after_end();
            trial.check(polls == 0, format_args!("{name} is polled {polls} times after its end"));
        }
    }
}

/// What a body is called, and how it is made.
type Named = (&'static str, fn() -> MockBody);

fn respond(path: &str, body: MockBody) -> Response<MockBody> {
    match path {
        "/max-age" => lasting(body),
        _ => passing(body),
    }
}

fn data<E>(frame: Option<Result<Frame<Bytes>, E>>) -> Option<Bytes> {
    frame?.ok()?.into_data().ok()
}

/// Paths that name how their response asks to be treated.
const KINDS: [&str; 2] = ["/no-store", "/max-age"];

const SSE: HeaderValue = HeaderValue::from_static("text/event-stream");
