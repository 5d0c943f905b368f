//! What is not stored passes as it is.

use std::fmt::Debug;
use std::pin::pin;
use std::task::{Context, Poll, Waker};

use bytes::Bytes;
use http::{HeaderMap, Request, Response, Version, response};
use http_body::Body;
use tower::{Service, ServiceExt};
use tower_edge_testkit::{Answer, MockBody, Upstream};
use tower_layer::Layer;

use crate::play::{cache, request};

type Fields = &'static [(&'static str, &'static str)];

/// A request, and the fields of its answer, for each reason to store nothing.
fn reasons() -> Vec<(Request<MockBody>, Fields)> {
    const FRESH: &[(&str, &str)] = &[("cache-control", "max-age=60")];
    let get = |fields: &[(&str, &str)]| request("GET", "/", fields);
    let with_body = get(&[]).map(|_| MockBody::new().data("question"));
    vec![
        (get(&[]), &[("cache-control", "no-store")]),
        (get(&[]), &[("cache-control", "private, max-age=60")]),
        (get(&[]), &[("cache-control", "max-age=60"), ("vary", "*")]),
        (get(&[]), &[("cache-control", "max-age=60"), ("set-cookie", "a=b")]),
        (get(&[]), &[("cache-control", "max-age=60"), ("content-length", "9999999")]),
        (get(&[]), &[("date", "no date")]),
        (get(&[("cache-control", "no-store")]), FRESH),
        (get(&[("authorization", "Basic x")]), FRESH),
        (get(&[("if-match", "\"a\"")]), FRESH),
        (get(&[("x-http-method-override", "PUT")]), FRESH),
        (with_body, FRESH),
        (request("GET", "/", &[("host", "no host")]), FRESH),
        (request("POST", "/", &[]), FRESH),
        (request("OPTIONS", "/", &[]), FRESH),
        (request("PURGE", "/", &[]), FRESH),
    ]
}

/// An answer that takes its time, and whose end is seen only when it is there.
fn answered(fields: &[(&'static str, &str)], pieces: &[Bytes; 3]) -> Answer {
    let [first, second, third] = pieces.clone();
    let trailers = HeaderMap::from_iter([("x-sum".parse().unwrap(), "1".parse().unwrap())]);
    let body = MockBody::new().data(first).pause().data(second).data(third).pause();
    let response = Response::builder().status(299).version(Version::HTTP_10).extension(7_u8);
    let mut response = response.body(body.trailers(trailers)).unwrap();
    for (name, value) in fields.iter().chain([&("x-b", "2"), &("x-b", "\u{e9}")]) {
        response.headers_mut().append(*name, value.parse().unwrap());
    }
    Answer::from(response).pause().pause()
}

/// What a client sees who polls again and again: after how many polls the head is
/// there, the head, and at each poll what the body gives and says of its end. Data
/// is told by where it is in memory: it is not copied.
fn seen<S, B>(service: S, request: Request<MockBody>) -> (usize, response::Parts, Vec<String>)
where
    S: Service<Request<MockBody>, Response = Response<B>, Error: Debug>,
    B: Body<Data = Bytes, Error: Debug>,
{
    let mut cx = Context::from_waker(Waker::noop());
    let (mut call, mut polls) = (pin!(service.oneshot(request)), 1);
    let response = loop {
        match call.as_mut().poll(&mut cx) {
            Poll::Ready(response) => break response.unwrap(),
            Poll::Pending => polls += 1,
        }
    };
    let ((head, body), mut steps) = (response.into_parts(), Vec::new());
    let mut body = pin!(body);
    loop {
        let polled = body.as_mut().poll_frame(&mut cx).map_ok(|frame| match frame.into_data() {
            Ok(data) => format!("{:?} {data:?}", data.as_ptr()),
            Err(frame) => format!("{:?}", frame.into_trailers().unwrap()),
        });
        steps.push(format!("{polled:?} {:?} {}", body.size_hint(), body.is_end_stream()));
        if let Poll::Ready(None | Some(Err(_))) = polled {
            return (polls, head, steps);
        }
    }
}

#[tokio::test(start_paused = true)]
async fn what_is_not_stored_passes_byte_for_byte_and_frame_for_frame() {
    let (pieces, requests) = (["first ", "second ", "third"].map(Bytes::from), reasons());
    for ((through, fields), (bare, _)) in requests.into_iter().zip(reasons()) {
        let shown = format!("{through:?} {fields:?}");
        let (sent, layer) = (pieces.clone(), cache());
        let (upstream, _) = Upstream::new(move |_, _| answered(fields, &sent));
        let (polls, head, steps) = seen(upstream.clone(), bare);
        let (polls_through, mut head_through, steps_through) = seen(layer.layer(upstream), through);
        // The head is there at the very poll.
        assert_eq!((polls, steps.len()), (3, 7), "{shown}");
        assert_eq!((polls_through, &steps_through), (polls, &steps), "{shown}");
        let said = head_through.headers.remove("cache-status").unwrap();
        assert!(!said.to_str().unwrap().contains("stored"), "{shown} {said:?}");
        assert_eq!(head_through.headers, head.headers, "{shown}");
        assert_eq!((head_through.status, head_through.version), (head.status, head.version));
        assert_eq!(head_through.extensions.get::<u8>(), Some(&7), "{shown}");
        assert_eq!(layer.handle().stats().resources, 0, "{shown}");
    }
}
