use std::error::Error;

use bytes::Bytes;
use http::Request;
use http_body_util::{BodyExt, Full};
use hyper::client::conn::http2::{self, SendRequest};
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tower_edge_tests::{Connection, Origin, Program, Recorder, soon};

use crate::{Exchange, before, gateway};

const GET: &str = "GET / HTTP/1.1\r\nHost: h\r\n\r\n";
const POST: &str = "POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 2\r\n\r\nab";
const OK: &str = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";

#[tokio::test]
async fn a_signal_lets_requests_in_flight_finish() {
    for signal in ["INT", "TERM"] {
        let origin = Origin::start().await;
        let mut gateway = before(&origin, &["--shutdown-grace", "3600000"]).await;
        let (mut client, _idle) = (gateway.connect().await, gateway.connect().await);
        client.send(GET).await;
        let (_, mut asked) = origin.asked().await;
        gateway.signal(signal).await;
        soon(refuses_connections(&gateway)).await;
        asked.send("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nwhole").await;
        let answer = client.rest().await;
        assert!(answer.starts_with("HTTP/1.1 200 OK\r\n"), "{answer}");
        assert!(answer.ends_with("\r\n\r\nwhole"), "{answer}");
        assert_eq!(gateway.exit().await.code(), Some(0));
        let measured = gateway.line().await.unwrap();
        assert!(measured.starts_with("Measured 1 requests: half within "), "{measured}");
    }
}

#[tokio::test]
async fn the_grace_ends_what_does_not() {
    let mut exchange = Exchange::start(GET, &["--shutdown-grace", "50"]).await;
    exchange.gateway.signal("TERM").await;
    assert_eq!(exchange.gateway.exit().await.code(), Some(0));
    assert_eq!(exchange.client.rest().await, "");
}

#[tokio::test]
async fn a_second_signal_ends_it_at_once() {
    let mut exchange = Exchange::start(GET, &["--shutdown-grace", "3600000"]).await;
    exchange.gateway.signal("INT").await;
    soon(refuses_connections(&exchange.gateway)).await;
    exchange.gateway.signal("INT").await;
    assert_eq!(exchange.gateway.exit().await.code(), Some(1));
}

#[tokio::test]
async fn no_request_that_was_accepted_fails_at_the_end() {
    for flags in [&[][..], &["--bare"]] {
        let origin = Recorder::start(OK).await;
        let url = origin.url();
        let gateway = gateway(&[&["--origin", &url], flags].concat()).await;
        let (address, mut clients) = (gateway.address(), JoinSet::new());
        for _ in 0..32 {
            clients.spawn(async move {
                let mut client = Connection::to(address).await;
                for answered in 1.. {
                    client.send(POST).await;
                    let answer = client.until("\r\n\r\nok").await;
                    assert!(answer.starts_with("HTTP/1.1 200 OK\r\n"), "{answer}");
                    if answer.contains("connection: close\r\n") {
                        return answered;
                    }
                }
                unreachable!("it goes on until the gateway ends it")
            });
        }
        // Under load: each of the clients has been served a few times.
        let mut requests = 0;
        while requests < 1_000 {
            requests += origin.take().len();
            tokio::task::yield_now().await;
        }
        let complaints = soon(gateway.stop()).await;
        let answered: usize = soon(clients.join_all()).await.into_iter().sum();
        assert_eq!(requests + origin.take().len(), answered);
        assert_eq!(complaints, "");
    }
}

#[tokio::test]
async fn no_request_that_was_accepted_over_http_2_fails_at_the_end() {
    for flags in [&[][..], &["--bare"]] {
        let origin = Recorder::start(OK).await;
        let url = origin.url();
        let gateway = gateway(&[&["--origin", &url], flags].concat()).await;
        let mut clients = JoinSet::new();
        for _ in 0..4 {
            let stream = TcpStream::connect(gateway.address()).await.unwrap();
            let connection = http2::handshake(TokioExecutor::new(), TokioIo::new(stream)).await;
            let (requests, driver) = connection.unwrap();
            tokio::spawn(driver);
            for _ in 0..16 {
                let mut requests = requests.clone();
                clients.spawn(async move {
                    let mut answered = 0;
                    while post(&mut requests).await {
                        answered += 1;
                    }
                    answered
                });
            }
        }
        let mut requests = 0;
        while requests < 1_000 {
            requests += origin.take().len();
            tokio::task::yield_now().await;
        }
        assert_eq!(soon(gateway.stop()).await, "");
        let answered: usize = soon(clients.join_all()).await.into_iter().sum();
        assert_eq!(requests + origin.take().len(), answered);
    }
}

/// Whether a request was answered; else the gateway never saw it.
async fn post(requests: &mut SendRequest<Full<Bytes>>) -> bool {
    let request = Request::post("http://h/").body(Full::from("ab")).unwrap();
    match soon(requests.send_request(request)).await {
        Ok(answer) => {
            assert_eq!(answer.status(), 200);
            let body = soon(answer.into_body().collect()).await.unwrap();
            assert_eq!(body.to_bytes(), "ok");
            true
        }
        Err(error) => {
            let cause = error.source().map(ToString::to_string).unwrap_or_default();
            let unseen = error.is_canceled() || cause.contains("not a result of an error");
            assert!(unseen, "{error:?}");
            false
        }
    }
}

async fn refuses_connections(gateway: &Program) {
    while TcpStream::connect(gateway.address()).await.is_ok() {
        tokio::task::yield_now().await;
    }
}
