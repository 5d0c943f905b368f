use tokio::net::TcpStream;
use tower_edge_tests::{Origin, Program, soon};

use crate::{Exchange, before};

const GET: &str = "GET / HTTP/1.1\r\nHost: h\r\n\r\n";

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

async fn refuses_connections(gateway: &Program) {
    while TcpStream::connect(gateway.address()).await.is_ok() {
        tokio::task::yield_now().await;
    }
}
