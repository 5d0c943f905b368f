use std::net::SocketAddr;

use http_body_util::BodyExt;
use tokio::net::TcpSocket;
use tower_edge_tests::{Origin, body, soon};

use crate::{Exchange, before, gateway, http2};

const END: &str = "Connection: close\r\n\r\n";
const GET: &str = "GET /secret HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n";

/// A port that is taken, but where nobody listens.
fn unheard() -> (TcpSocket, SocketAddr) {
    let socket = TcpSocket::new_v4().unwrap();
    socket.bind(([127, 0, 0, 1], 0).into()).unwrap();
    let address = socket.local_addr().unwrap();
    (socket, address)
}

fn assert_problem(answer: &str, status: u16, origin: &str) {
    assert!(answer.starts_with(&format!("HTTP/1.1 {status} ")), "{answer}");
    assert!(answer.contains("content-type: application/problem+json\r\n"), "{answer}");
    assert!(answer.contains(&format!("{{\"status\":{status},\"title\":")), "{answer}");
    assert!(!answer.contains(origin), "{answer}");
}

#[tokio::test]
async fn an_origin_that_is_down_is_a_502() {
    let (_socket, address) = unheard();
    let gateway = gateway(&["--origin", &format!("http://{address}")]).await;
    assert_problem(&gateway.exchange(GET).await, 502, &address.port().to_string());
}

#[tokio::test]
async fn an_origin_that_hangs_up_is_a_502() {
    let exchange = Exchange::start(GET, &[]).await;
    drop(exchange.origin);
    assert_problem(&exchange.client.rest().await, 502, "127.0.0.1");
}

#[tokio::test]
async fn an_origin_that_speaks_something_else_is_a_502() {
    let mut exchange = Exchange::start(GET, &[]).await;
    exchange.origin.send("SSH-2.0-OpenSSH_9.2\r\n\r\n").await;
    assert_problem(&exchange.client.rest().await, 502, "SSH");
}

#[tokio::test]
async fn an_origin_that_is_silent_too_long_is_a_504() {
    let exchange = Exchange::start(GET, &["--timeout", "50"]).await;
    assert_problem(&exchange.client.rest().await, 504, "127.0.0.1");
}

#[tokio::test]
async fn a_client_that_reads_text_gets_text() {
    let (_socket, address) = unheard();
    let gateway = gateway(&["--origin", &format!("http://{address}")]).await;
    let request = "GET / HTTP/1.1\r\nHost: h\r\nAccept: text/plain\r\nConnection: close\r\n\r\n";
    let answer = gateway.exchange(request).await;
    assert!(answer.starts_with("HTTP/1.1 502 Bad Gateway\r\n"), "{answer}");
    assert!(answer.ends_with("\r\n\r\n502 the origin cannot be reached\n"), "{answer}");
}

#[tokio::test]
async fn a_request_whose_body_breaks_off_is_a_400() {
    let mut exchange =
        Exchange::start("POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n", &[])
            .await;
    exchange.client.send("3\r\none\r\n").await;
    exchange.origin.until("one\r\n").await;
    exchange.client.send("zz\r\n").await;
    assert_problem(&exchange.client.rest().await, 400, "127.0.0.1");
    assert_eq!(exchange.origin.rest().await, "");
}

#[tokio::test]
async fn an_origin_that_dies_in_a_body_breaks_the_transfer() {
    for (framing, whole) in [
        ("Content-Length: 1000\r\n\r\nhalf", false),
        ("Transfer-Encoding: chunked\r\n\r\n4\r\nhalf\r\n", false),
        ("Content-Length: 4\r\n\r\nhalf", true),
        ("Transfer-Encoding: chunked\r\n\r\n4\r\nhalf\r\n0\r\n\r\n", true),
    ] {
        let mut exchange = Exchange::start(GET, &[]).await;
        exchange.origin.send(&format!("HTTP/1.1 200 OK\r\n{framing}")).await;
        let head = exchange.client.until("\r\n\r\n").await;
        drop(exchange.origin);
        let body = exchange.client.rest().await;
        let complete = match head.contains("content-length: ") {
            true => head.contains(&format!("content-length: {}\r\n", body.len())),
            false => body.ends_with("0\r\n\r\n"),
        };
        assert_eq!(complete, whole, "{head}{body}");
    }
}

#[tokio::test]
async fn an_origin_that_is_killed_in_a_body_breaks_the_transfer() {
    let get = GET.replace("/secret", "/large?mib=64");
    for flags in [&[][..], &["--cache-rfc"], &["--bare"]] {
        // The demo origin of another process: its answers are fresh for a minute.
        let mut origin = gateway(&["--bare"]).await;
        let gateway = gateway(&[&["--origin", &origin.url("")], flags].concat()).await;
        let mut client = gateway.connect().await;
        client.send(&get).await;
        let head = client.until("\r\n\r\n").await;
        assert!(head.contains(&format!("\r\ncontent-length: {}\r\n", 64 << 20)), "{head}");
        origin.signal("KILL").await;
        origin.exit().await;
        assert!(client.rest().await.len() < 64 << 20);
        assert_problem(&gateway.exchange(&get).await, 502, &origin.address().to_string());
    }
}

#[tokio::test]
async fn an_origin_that_dies_in_a_body_resets_the_stream_of_http_2() {
    let origin = Origin::start().await;
    let gateway = before(&origin, &[]).await;
    let answer = http2().get(gateway.url("/").parse().unwrap());
    let (answer, mut asked) = tokio::join!(soon(answer), async {
        let (_, mut asked) = origin.asked().await;
        asked.send("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nhalf\r\n").await;
        asked
    });
    let mut body = answer.unwrap().into_body();
    let frame = soon(body.frame()).await.unwrap().unwrap();
    assert_eq!(frame.into_data().unwrap(), "half");
    asked.send("zz").await;
    drop(asked);
    assert!(soon(body.frame()).await.unwrap().is_err());
}

#[tokio::test]
async fn a_stale_answer_stands_in_for_a_failed_origin_where_the_operator_says_so() {
    for (flags, status) in [(&["--cache-rfc"][..], 200), (&[], 502)] {
        let origin = Origin::start().await;
        let gateway = before(&origin, flags).await;
        let stored = async {
            let (_, mut asked) = origin.asked().await;
            asked.send("HTTP/1.1 200 OK\r\nCache-Control: max-age=0\r\nETag: \"a\"\r\n").await;
            asked.send("Content-Length: 4\r\nConnection: close\r\n\r\nonce").await;
        };
        tokio::join!(gateway.exchange(GET), stored);
        let hangs_up = async { drop(origin.asked().await) };
        let (answer, ()) = tokio::join!(gateway.exchange(GET), hangs_up);
        assert!(answer.starts_with(&format!("HTTP/1.1 {status} ")), "{answer}");
        assert_eq!(answer.ends_with("\r\n\r\nonce"), status == 200, "{answer}");
    }
}

#[tokio::test]
async fn half_a_body_is_not_stored() {
    for framing in
        ["Content-Length: 8\r\n\r\nhalf", "Transfer-Encoding: chunked\r\n\r\n4\r\nhalf\r\n"]
    {
        for flags in [&[][..], &["--cache-rfc"], &["--bare"]] {
            let origin = Origin::start().await;
            let gateway = before(&origin, flags).await;
            let head = "HTTP/1.1 200 OK\r\nConnection: close\r\nCache-Control: max-age=60\r\n";
            let answers = [framing, "Content-Length: 9\r\n\r\nall of it"];
            let mut bodies = Vec::new();
            for answer in answers {
                let dies = async { origin.asked().await.1.send(&format!("{head}{answer}")).await };
                let (said, ()) = tokio::join!(gateway.exchange(GET), dies);
                bodies.push(body(&said).to_owned());
            }
            assert!(bodies[0].contains("half") && !bodies[0].ends_with("0\r\n\r\n"), "{bodies:?}");
            assert_eq!(bodies[1], "all of it");
        }
    }
}

#[tokio::test]
async fn a_request_that_goes_round_in_circles_is_a_508() {
    let inner = gateway(&["--no-cache"]).await;
    let outer = gateway(&["--no-cache", "--origin", &inner.url("")]).await;
    for (rounds, status) in [(0, 200), (14, 200), (15, 508), (50, 508)] {
        let via = "Via: 1.1 tower-edge, 1.1 other\r\n".repeat(rounds);
        let answer = outer.exchange(&format!("GET /json HTTP/1.1\r\nHost: h\r\n{via}{END}")).await;
        assert!(answer.starts_with(&format!("HTTP/1.1 {status} ")), "{answer}");
    }
}
