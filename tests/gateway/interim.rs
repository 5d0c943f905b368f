//! Responses before the response: they help on the way, and leave no trace.

use tower_edge_tests::{Origin, body, is_hit, soon};

use crate::{Exchange, before, http2};

const GET: &str = "GET / HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n";
const EXPECTING: &str = "POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 4\r\n\
    Expect: 100-continue\r\nConnection: close\r\n\r\n";
const INTERIM: &str = "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 102 Processing\r\n\r\n\
    HTTP/1.1 103 Early Hints\r\nLink: </style.css>; rel=preload\r\n\
    Cache-Control: max-age=60\r\n\r\n";
const OK: &str = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n";

#[tokio::test]
async fn the_answer_is_the_final_one_and_only_that_is_stored() {
    for (flags, stored) in [(&[][..], true), (&["--cache-rfc"], true), (&["--bare"], false)] {
        for (fields, stored) in [("Cache-Control: max-age=60\r\n", stored), ("", false)] {
            let origin = Origin::start().await;
            let gateway = before(&origin, flags).await;
            let answers = async || {
                let (_, mut asked) = origin.asked().await;
                for part in [INTERIM, OK, fields, "\r\nok"] {
                    asked.send(part).await;
                }
            };
            let (first, ()) = tokio::join!(gateway.exchange(GET), answers());
            let second = match stored {
                true => gateway.exchange(GET).await,
                false => tokio::join!(gateway.exchange(GET), answers()).0,
            };
            for said in [&first, &second] {
                assert!(said.starts_with("HTTP/1.1 200 OK\r\n"), "{said}");
                assert!(!said.contains("\r\nlink: "), "{said}");
                assert_eq!(body(said), "ok");
            }
            assert_eq!(is_hit(&second), stored, "{second}");
        }
    }
}

#[tokio::test]
async fn an_interim_response_alone_is_no_answer() {
    let mut exchange = Exchange::start(GET, &[]).await;
    exchange.origin.send(INTERIM).await;
    drop(exchange.origin);
    let answer = exchange.client.rest().await;
    assert!(answer.starts_with("HTTP/1.1 502 Bad Gateway\r\n"), "{answer}");
    assert_eq!(answer.matches("HTTP/1.1 ").count(), 1, "{answer}");
}

#[tokio::test]
async fn a_long_row_of_interim_responses_has_an_answer_at_its_end() {
    let mut exchange = Exchange::start(GET, &[]).await;
    for _ in 0..1_000 {
        exchange.origin.send(INTERIM).await;
    }
    exchange.origin.send(&format!("{OK}\r\nok")).await;
    assert_eq!(body(&exchange.client.rest().await), "ok");
}

#[tokio::test]
async fn the_body_is_asked_for_when_the_origin_asks() {
    for flags in [&[][..], &["--bare"]] {
        let mut exchange = Exchange::start(EXPECTING, flags).await;
        assert!(exchange.head.contains("\r\nexpect: 100-continue\r\n"), "{}", exchange.head);
        exchange.origin.send("HTTP/1.1 102 Processing\r\n\r\nHTTP/1.1 100 Continue\r\n\r\n").await;
        let interim = exchange.client.until("\r\n\r\n").await;
        assert_eq!(interim, "HTTP/1.1 100 Continue\r\n\r\n");
        exchange.client.send("body").await;
        assert_eq!(exchange.origin.until("body").await, "body");
        exchange.origin.send(&format!("{OK}\r\nok")).await;
        assert_eq!(body(&exchange.client.rest().await), "ok");
    }
}

#[tokio::test]
async fn a_body_that_the_origin_does_not_want_is_not_asked_for() {
    let mut exchange = Exchange::start(EXPECTING, &[]).await;
    let refusal = "HTTP/1.1 401 Unauthorized\r\nContent-Length: 2\r\n\r\nno";
    exchange.origin.send(refusal).await;
    let answer = exchange.client.rest().await;
    assert!(answer.starts_with("HTTP/1.1 401 Unauthorized\r\n"), "{answer}");
    assert_eq!(exchange.origin.rest().await, "");
}

#[tokio::test]
async fn an_origin_that_knows_no_expectations_gets_the_body_all_the_same() {
    let mut exchange = Exchange::start(EXPECTING, &[]).await;
    assert_eq!(exchange.client.until("\r\n\r\n").await, "HTTP/1.1 100 Continue\r\n\r\n");
    exchange.client.send("body").await;
    assert_eq!(exchange.origin.until("body").await, "body");
}

#[tokio::test]
async fn an_expectation_of_http_1_0_is_ignored() {
    let request = EXPECTING.replace("1.1", "1.0");
    let mut exchange = Exchange::start(&format!("{request}body"), &[]).await;
    assert!(!exchange.head.contains("\r\nexpect: "), "{}", exchange.head);
    assert_eq!(exchange.origin.until("body").await, "body");
}

#[tokio::test]
async fn a_client_of_http_2_sees_no_interim_response_either() {
    let origin = Origin::start().await;
    let gateway = before(&origin, &[]).await;
    let answer = http2().get(gateway.url("/").parse().unwrap());
    let (answer, ()) = tokio::join!(soon(answer), async {
        origin.asked().await.1.send(&format!("{INTERIM}{OK}\r\nok")).await;
    });
    let answer = answer.unwrap();
    assert_eq!(answer.status(), 200);
    assert!(!answer.headers().contains_key("link"));
}
