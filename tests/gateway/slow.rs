//! Clients that do not read what they asked for, or do not send what they
//! announced.

use std::convert::Infallible;

use bytes::Bytes;
use futures_util::stream;
use http::Request;
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, Empty, StreamBody};
use hyper::body::Frame;
use hyper::client::conn::http2::{self, SendRequest};
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::net::TcpStream;
use tower_edge_tests::{Origin, Program, soon};

use crate::{Exchange, before, gateway};

const FOREVER: &str = "3600000";

type Body = UnsyncBoxBody<Bytes, Infallible>;

/// A connection of HTTP/2 whose streams may have 64 KiB on their way each.
async fn http2(gateway: &Program) -> SendRequest<Body> {
    let stream = TcpStream::connect(gateway.address()).await.unwrap();
    let mut client = http2::Builder::new(TokioExecutor::new());
    client.initial_stream_window_size(64 << 10);
    let (requests, driver) = client.handshake(TokioIo::new(stream)).await.unwrap();
    tokio::spawn(driver);
    requests
}

fn get(path: &str) -> Request<Body> {
    Request::get(format!("http://h{path}")).body(Empty::new().boxed_unsync()).unwrap()
}

/// A body that begins and does not go on.
fn stalled() -> Body {
    let begin = stream::iter([Ok(Frame::data(Bytes::from_static(b"begun")))]);
    StreamBody::new(stream::StreamExt::chain(begin, stream::pending())).boxed_unsync()
}

#[tokio::test]
async fn who_does_not_read_over_http_1_is_hung_up_on() {
    for flags in [&[][..], &["--bare"]] {
        let fixed = ["--access-log", "--idle-timeout", "100", "--shutdown-grace", FOREVER];
        let mut gateway = gateway(&[&fixed, flags].concat()).await;
        let mut client = gateway.connect().await;
        client.send("GET /large?mib=64 HTTP/1.1\r\nHost: h\r\n\r\n").await;
        let line = gateway.line().await.unwrap();
        assert!(line.ends_with(" end=\"abandoned\""), "{line}");
        assert!(client.rest().await.len() < 64 << 20);
        assert_eq!(gateway.stop().await, "");
    }
}

#[tokio::test]
async fn who_does_not_read_a_stream_of_http_2_loses_that_stream() {
    for flags in [&[][..], &["--bare"]] {
        let fixed = ["--access-log", "--idle-timeout", "100", "--shutdown-grace", FOREVER];
        let mut gateway = gateway(&[&fixed, flags].concat()).await;
        let mut requests = http2(&gateway).await;
        let answer = soon(requests.send_request(get("/large?mib=64"))).await.unwrap();
        let others = async {
            loop {
                let answer = soon(requests.send_request(get("/json"))).await.unwrap();
                soon(answer.into_body().collect()).await.unwrap();
            }
        };
        let ends = async {
            loop {
                let line = gateway.line().await.unwrap();
                if line.contains("/large") {
                    break line;
                }
            }
        };
        let line = tokio::select! { line = ends => line, () = others => unreachable!() };
        assert!(line.ends_with(" end=\"abandoned\""), "{line}");
        assert!(soon(answer.into_body().collect()).await.is_err());
        let answer = soon(requests.send_request(get("/json"))).await.unwrap();
        assert_eq!(answer.status(), 200);
        drop((answer, requests));
        gateway.stop().await;
    }
}

#[tokio::test]
async fn who_reads_slowly_gets_it_all() {
    let flags = ["--idle-timeout", "500", "--cache-memory", "256MiB"];
    // Its connections end after a tenth of what the other one is patient for.
    let clock = gateway(&["--idle-timeout", "50"]).await;
    for flags in [&flags[..], &["--idle-timeout", "500", "--bare"]] {
        let gateway = gateway(flags).await;
        for _ in 0..2 {
            let mut requests = http2(&gateway).await;
            let answer = soon(requests.send_request(get("/large?mib=16"))).await.unwrap();
            let (mut body, mut bytes, mut pause) = (answer.into_body(), 0, 0);
            while let Some(frame) = soon(body.frame()).await {
                bytes += frame.unwrap().into_data().unwrap().len();
                if bytes > pause {
                    assert_eq!(clock.connect().await.rest().await, "");
                    pause += 2 << 20;
                }
            }
            assert_eq!(bytes, 16 << 20);
        }
    }
}

#[tokio::test]
async fn an_upload_that_stalls_is_a_408_and_ends_the_connection() {
    for flags in [&[][..], &["--bare"]] {
        let request = "POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 9\r\n\r\nbeg";
        let flags = [&["--timeout", "100"], flags].concat();
        let mut exchange = Exchange::start(request, &flags).await;
        exchange.origin.until("beg").await;
        let answer = exchange.client.rest().await;
        assert!(answer.starts_with("HTTP/1.1 408 Request Timeout\r\n"), "{answer}");
        assert!(answer.contains("\r\nconnection: close\r\n"), "{answer}");
        assert!(answer.contains("\r\ncontent-type: application/problem+json\r\n"), "{answer}");
        assert_eq!(exchange.origin.rest().await, "");
        exchange.gateway.stop().await;
    }
}

#[tokio::test]
async fn an_upload_in_drops_is_a_408() {
    let request = "POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 999\r\n\r\n";
    let flags = ["--timeout", "1000", "--upload-rate", "1000000"];
    let mut exchange = Exchange::start(request, &flags).await;
    // Its connections end after a tenth of what is allowed to be silent.
    let clock = gateway(&["--idle-timeout", "100"]).await;
    let drips = async {
        for _ in 0..100 {
            exchange.client.push(b".").await;
            clock.connect().await.rest().await;
        }
    };
    let origin = async { exchange.origin.rest().await.len() };
    let came = tokio::select! { came = origin => came, () = drips => unreachable!() };
    assert!(came > 1, "{came}");
    let answer = exchange.client.rest().await;
    assert!(answer.starts_with("HTTP/1.1 408 Request Timeout\r\n"), "{answer}");
    exchange.gateway.stop().await;
}

#[tokio::test]
async fn an_upload_that_stalls_over_http_2_is_a_408() {
    let origin = Origin::start().await;
    for flags in [&[][..], &["--bare"]] {
        let gateway = before(&origin, &[&["--timeout", "100"], flags].concat()).await;
        let mut requests = http2(&gateway).await;
        let request = Request::post("http://h/").body(stalled()).unwrap();
        let answer = soon(requests.send_request(request)).await.unwrap();
        assert_eq!(answer.status(), 408);
        let (head, asked) = origin.asked().await;
        assert!(head.contains("\r\ntransfer-encoding: chunked\r\n"), "{head}");
        assert!(asked.rest().await.ends_with("begun\r\n"));
        let (answer, ()) = tokio::join!(requests.send_request(get("/")), async {
            let (_, mut asked) = origin.asked().await;
            asked.send("HTTP/1.1 204 No Content\r\n\r\n").await;
        });
        assert_eq!(answer.unwrap().status(), 204);
    }
}

#[tokio::test]
async fn an_origin_that_does_not_read_an_upload_is_a_504() {
    let origin = Origin::start().await;
    let gateway = before(&origin, &["--timeout", "200"]).await;
    let mut requests = http2(&gateway).await;
    let endless = stream::repeat_with(|| Ok(Frame::data(Bytes::from_static(&[b'.'; 9_999]))));
    let request = Request::post("http://h/").body(StreamBody::new(endless).boxed_unsync());
    let (answer, _asked) = tokio::join!(requests.send_request(request.unwrap()), origin.asked());
    assert_eq!(answer.unwrap().status(), 504);
}

#[tokio::test]
async fn a_head_that_trickles_ends_the_connection_beside_a_stream_as_well() {
    let preface = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0";
    let get = b"\0\0\x07\x01\x05\0\0\0\x01\x82\x86\x84\x41\x02hh";
    // Nothing else may be sent before its end, so that no ping can be answered.
    let begun = b"\0\0\x01\x01\x00\0\0\0\x03\x82";
    for flags in [&[][..], &["--bare"]] {
        let origin = Origin::start().await;
        let fixed = ["--idle-timeout", "100", "--shutdown-grace", FOREVER];
        let gateway = before(&origin, &[&fixed, flags].concat()).await;
        let mut client = gateway.connect().await;
        for bytes in [&preface[..], &get[..], &begun[..]] {
            client.push(bytes).await;
        }
        let (_, asked) = origin.asked().await;
        client.rest().await;
        assert_eq!(asked.rest().await, "");
        assert_eq!(gateway.stop().await, "");
    }
}

#[tokio::test]
async fn a_client_of_http_2_that_does_not_answer_a_ping_is_hung_up_on() {
    let origin = Origin::start().await;
    let gateway = before(&origin, &["--idle-timeout", "100"]).await;
    let mut client = gateway.connect().await;
    client.push(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0").await;
    client.push(b"\0\0\x07\x01\x05\0\0\0\x01\x82\x86\x84\x41\x02hh").await;
    let (head, asked) = origin.asked().await;
    assert!(head.starts_with("GET / HTTP/1.1\r\n"), "{head}");
    client.rest().await;
    assert_eq!(asked.rest().await, "");
}
