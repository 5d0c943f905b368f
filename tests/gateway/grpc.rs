//! Calls as gRPC makes them: streams both ways over HTTP/2, and a status in the
//! trailers.

use std::convert::Infallible;

use axum::body::Body;
use axum::{Router, serve};
use bytes::Bytes;
use futures_util::stream;
use http::{HeaderMap, HeaderValue, Request, Response, Version};
use http_body_util::{BodyExt, StreamBody};
use hyper::body::Frame;
use hyper_util::client::legacy::Client;
use hyper_util::rt::TokioExecutor;
use tokio::net::TcpListener;
use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};
use tower_edge_tests::{Origin, soon};

use crate::gateway;

/// A server that sends all messages back, and its status when they end.
async fn echo() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let app = Router::new().route("/test.Echo/Stream", axum::routing::post(answer));
    tokio::spawn(async { serve(listener, app).await });
    format!("http://{address}")
}

async fn answer(request: Request<Body>) -> Response<Body> {
    assert_eq!(request.version(), Version::HTTP_2);
    assert_eq!(request.headers()["te"], "trailers");
    assert_eq!(request.headers()["via"], "2 tower-edge");
    assert!(!request.headers().contains_key("connection"));
    let status = HeaderMap::from_iter([("grpc-status".parse().unwrap(), HeaderValue::from(0))]);
    let host = request.uri().authority().unwrap().as_str().to_owned();
    let body = Body::new(request.into_body().with_trailers(async { Some(Ok(status)) }));
    let head =
        Response::builder().header("content-type", "application/grpc").header("x-host", host);
    head.body(body).unwrap()
}

fn call(url: &str, messages: UnboundedReceiver<Bytes>) -> Request<Body> {
    let frames = stream::unfold(messages, async |mut messages| {
        let message = messages.recv().await?;
        Some((Ok::<_, Infallible>(Frame::data(message)), messages))
    });
    let request = Request::post(url).version(Version::HTTP_2);
    let request = request.header("content-type", "application/grpc").header("te", "trailers");
    request.body(Body::new(StreamBody::new(frames))).unwrap()
}

#[tokio::test]
async fn messages_stream_both_ways_and_the_status_follows() {
    for flags in [&[][..], &["--bare"]] {
        let url = echo().await;
        let gateway = gateway(&[&["--origin", &url, "--origin-http2"], flags].concat()).await;
        let client = Client::builder(TokioExecutor::new()).http2_only(true).build_http();
        for _ in 0..2 {
            let (sender, messages) = unbounded_channel();
            let answer = client.request(call(&gateway.url("/test.Echo/Stream"), messages));
            let answer = soon(answer).await.unwrap();
            assert_eq!(answer.status(), 200);
            assert_eq!(answer.headers()["x-host"], gateway.address().to_string());
            let mut body = answer.into_body();
            for message in ["\0\0\0\0\x03one", "\0\0\0\0\x03two"] {
                sender.send(Bytes::from_static(message.as_bytes())).unwrap();
                let frame = soon(body.frame()).await.unwrap().unwrap();
                assert_eq!(frame.into_data().unwrap(), message);
            }
            drop(sender);
            let frame = soon(body.frame()).await.unwrap().unwrap();
            assert_eq!(frame.into_trailers().unwrap()["grpc-status"], "0");
        }
        assert_eq!(gateway.stop().await, "");
    }
}

#[tokio::test]
async fn a_call_to_a_server_that_is_no_server_of_http_2_is_unavailable() {
    let origin = Origin::start().await;
    let gateway = gateway(&["--origin", &origin.url(), "--origin-http2"]).await;
    let client = Client::builder(TokioExecutor::new()).http2_only(true).build_http();
    let (_sender, messages) = unbounded_channel();
    let answer = client.request(call(&gateway.url("/test.Echo/Stream"), messages));
    let refuse = async || {
        let (_, mut asked) = origin.asked().await;
        asked.send("HTTP/1.1 400 Bad Request\r\n\r\n").await;
    };
    let answer = while_it_does(refuse, answer).await;
    let answer = answer.unwrap();
    assert_eq!(
        (answer.status().as_u16(), &answer.headers()["grpc-status"]),
        (200, &"14".parse().unwrap())
    );
}

#[tokio::test]
async fn a_new_connection_follows_one_that_ended() {
    let origin = Origin::start().await;
    let url = origin.url();
    let gateway = gateway(&["--origin", &url, "--origin-http2"]).await;
    let mut connections = 0;
    for _ in 0..2 {
        let before = connections;
        let get = gateway.exchange("GET / HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n");
        let hang_up = async || {
            drop(origin.asked().await);
            connections += 1;
        };
        let answer = while_it_does(hang_up, get).await;
        assert!(answer.starts_with("HTTP/1.1 502 "), "{answer}");
        assert!(connections > before, "the request went to a connection that had ended");
    }
}

/// What the client gets while the origin does the same on each connection: a
/// request that a connection has not taken is sent on the next one.
async fn while_it_does<F: Future>(mut each: impl AsyncFnMut(), client: F) -> F::Output {
    tokio::select! {
        answer = client => answer,
        () = async { loop { each().await } } => unreachable!("it goes on for ever"),
    }
}
