use http_body_util::BodyExt;
use tower_edge_tests::{Origin, is_hit, soon};

use crate::{Exchange, before, gateway, http2};

const OK: &str = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";
const OK_WITH_TRAILERS: &str = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\
    Trailer: X-Sum\r\n\r\n2\r\nok\r\n0\r\nX-Sum: 42\r\n\r\n";

/// What the origin gets for `request`, and the client for `answer`.
async fn passed(request: &str, answer: &str) -> (String, String) {
    let mut exchange = Exchange::start(request, &[]).await;
    exchange.origin.send(answer).await;
    drop(exchange.origin);
    (exchange.head, exchange.client.rest().await)
}

#[track_caller]
fn assert_lines(head: &str, present: &[&str], absent: &[&str]) {
    let lines: Vec<_> = head.lines().map(str::to_ascii_lowercase).collect();
    for line in present {
        assert!(lines.contains(&line.to_ascii_lowercase()), "{line} is missing in\n{head}");
    }
    for name in absent {
        let name = format!("{}:", name.to_ascii_lowercase());
        assert!(!lines.iter().any(|line| line.starts_with(&name)), "{name} is left in\n{head}");
    }
}

#[tokio::test]
async fn fields_for_one_connection_stay_there() {
    let (head, answer) = passed(
        "GET /a?b=c HTTP/1.1\r\nHost: h\r\nConnection: close, X-Mine\r\nX-Mine: 1\r\n\
         Keep-Alive: timeout=5\r\nTE: trailers, deflate\r\nProxy-Connection: close\r\n\
         Proxy-Authorization: Basic Zm9v\r\nX-Other: 2\r\n\r\n",
        "HTTP/1.1 200 Fine\r\nContent-Length: 2\r\nConnection: X-Theirs\r\nX-Theirs: 1\r\n\
         Keep-Alive: timeout=5\r\nX-Other: 2\r\nUpgrade: h2c\r\n\r\nok",
    )
    .await;
    assert!(head.starts_with("GET /a?b=c HTTP/1.1\r\n"), "{head}");
    let stripped = ["x-mine", "keep-alive", "proxy-connection", "proxy-authorization", "upgrade"];
    assert_lines(&head, &["x-other: 2", "te: trailers", "connection: te"], &stripped);
    assert!(answer.starts_with("HTTP/1.1 200 Fine\r\n"), "{answer}");
    assert_lines(
        &answer,
        &["x-other: 2", "connection: close"],
        &["x-theirs", "keep-alive", "upgrade"],
    );
    assert!(answer.ends_with("\r\n\r\nok"), "{answer}");
}

#[tokio::test]
async fn the_origin_is_told_who_asks_and_how() {
    let (head, answer) = passed(
        "GET / HTTP/1.0\r\nHost: Shop.example:80\r\nVia: 1.1 other\r\n\
         Forwarded: for=6.6.6.6\r\nX-Forwarded-For: 6.6.6.6\r\nX-Forwarded-Host: evil\r\n\
         X-Forwarded-Proto: https\r\nX-Forwarded-Prefix: /evil\r\n\r\n",
        OK,
    )
    .await;
    let told = [
        "host: Shop.example",
        "via: 1.1 other",
        "via: 1.0 tower-edge",
        "x-forwarded-for: 127.0.0.1",
        "x-forwarded-host: Shop.example",
        "x-forwarded-proto: http",
        "forwarded: for=127.0.0.1;host=\"Shop.example\";proto=http",
    ];
    assert_lines(&head, &told, &["x-forwarded-prefix"]);
    assert!(!head.contains("6.6.6.6") && !head.contains("evil"), "{head}");
    assert_lines(&answer, &["via: 1.1 tower-edge"], &[]);
}

#[tokio::test]
async fn what_a_trusted_proxy_tells_is_passed_on() {
    let request = "GET / HTTP/1.1\r\nHost: inside\r\nConnection: close\r\n\
        Forwarded: for=6.6.6.6\r\nX-Forwarded-For: 6.6.6.6\r\n\
        X-Forwarded-Host: shop.example\r\nX-Forwarded-Proto: https\r\n\r\n";
    for (range, believed) in [("127.0.0.0/8", true), ("10.0.0.0/8", false)] {
        let exchange = Exchange::start(request, &["--trust", "::1", "--trust", range]).await;
        let told = match believed {
            true => [
                "host: shop.example",
                "x-forwarded-for: 6.6.6.6, 127.0.0.1",
                "x-forwarded-proto: https",
                "forwarded: for=6.6.6.6, for=127.0.0.1;host=\"shop.example\";proto=http",
            ],
            false => [
                "host: inside",
                "x-forwarded-for: 127.0.0.1",
                "x-forwarded-proto: http",
                "forwarded: for=127.0.0.1;host=\"inside\";proto=http",
            ],
        };
        assert_lines(&exchange.head, &told, &[]);
    }
}

#[tokio::test]
async fn an_absolute_target_overrules_host() {
    let request =
        "GET http://one.example/x HTTP/1.1\r\nHost: two.example\r\nConnection: close\r\n\r\n";
    let (head, _) = passed(request, OK).await;
    assert!(head.starts_with("GET /x HTTP/1.1\r\n"), "{head}");
    assert_lines(&head, &["host: one.example"], &[]);
}

#[tokio::test]
async fn a_scheme_that_the_client_claims_changes_nothing() {
    let gateway = gateway(&[]).await;
    for (target, hit) in [("/json", false), ("/json", true), ("https://h/json", true)] {
        let request = format!("GET {target} HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n");
        let answer = gateway.exchange(&request).await;
        assert_eq!(is_hit(&answer), hit, "{target}\n{answer}");
    }
}

#[tokio::test]
async fn a_request_without_one_host_is_answered_400() {
    let gateway = gateway(&[]).await;
    for hosts in ["", "Host: a\r\nHost: b\r\n", "Host: a b\r\n"] {
        let request = format!("GET / HTTP/1.1\r\n{hosts}Connection: close\r\n\r\n");
        let answer = gateway.exchange(&request).await;
        assert!(answer.starts_with("HTTP/1.1 400 Bad Request\r\n"), "{answer}");
    }
}

#[tokio::test]
async fn an_old_client_without_host_gets_to_the_origin() {
    let origin = Origin::start().await;
    let gateway = before(&origin, &[]).await;
    let mut client = gateway.connect().await;
    client.send("GET / HTTP/1.0\r\n\r\n").await;
    let (head, mut asked) = origin.asked().await;
    assert_lines(&head, &[&format!("host: {}", origin.address())], &["x-forwarded-host"]);
    asked.send(OK).await;
    assert!(client.rest().await.starts_with("HTTP/1.0 200 OK\r\n"));
}

#[tokio::test]
async fn connect_is_refused() {
    let gateway = gateway(&[]).await;
    let mut client = gateway.connect().await;
    client.send("CONNECT h:80 HTTP/1.1\r\nHost: h:80\r\n\r\n").await;
    assert!(client.until("\r\n").await.starts_with("HTTP/1.1 501 "));
}

#[tokio::test]
async fn an_upgrade_becomes_a_tunnel() {
    let upgrade = "Connection: Upgrade\r\nUpgrade: websocket\r\n\r\n";
    let request = format!("GET /chat HTTP/1.1\r\nHost: h\r\n{upgrade}");
    for flags in [&[][..], &["--bare"]] {
        let mut exchange = Exchange::start(&request, flags).await;
        assert_lines(&exchange.head, &["connection: upgrade", "upgrade: websocket"], &[]);
        exchange.origin.send(&format!("HTTP/1.1 101 Switching Protocols\r\n{upgrade}")).await;
        let head = exchange.client.until("\r\n\r\n").await;
        assert!(head.starts_with("HTTP/1.1 101 Switching Protocols\r\n"), "{head}");
        assert_lines(&head, &["connection: upgrade", "upgrade: websocket"], &[]);
        for said in ["one.", "two."] {
            exchange.client.send(said).await;
            assert_eq!(exchange.origin.until(".").await, said);
            exchange.origin.send(said).await;
            assert_eq!(exchange.client.until(".").await, said);
        }
        drop(exchange.client);
        assert_eq!(exchange.origin.rest().await, "");
    }
}

#[tokio::test]
async fn an_upgrade_to_h2c_is_not_passed_on() {
    let (head, answer) = passed(
        "GET / HTTP/1.1\r\nHost: h\r\nConnection: Upgrade, HTTP2-Settings, close\r\n\
         Upgrade: h2c\r\nHTTP2-Settings: AAMAAABkAAQAAP__\r\n\r\n",
        OK,
    )
    .await;
    assert_lines(&head, &[], &["connection", "upgrade", "http2-settings"]);
    assert!(answer.starts_with("HTTP/1.1 200 OK\r\n"), "{answer}");
}

#[tokio::test]
async fn a_101_that_nobody_asked_for_is_a_502() {
    let switch = "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: x\r\n\r\n";
    let (_, answer) =
        passed("GET / HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n", switch).await;
    assert!(answer.starts_with("HTTP/1.1 502 Bad Gateway\r\n"), "{answer}");
}

#[tokio::test]
async fn trailers_reach_a_client_of_http_2() {
    let origin = Origin::start().await;
    let gateway = before(&origin, &[]).await;
    let answer = http2().get(gateway.url("/").parse().unwrap());
    let (answer, ()) = tokio::join!(soon(answer), async {
        let (_, mut asked) = origin.asked().await;
        asked.send(OK_WITH_TRAILERS).await;
    });
    let body = soon(answer.unwrap().into_body().collect()).await.unwrap();
    assert_eq!(body.trailers().unwrap()["x-sum"], "42");
    assert_eq!(body.to_bytes(), "ok");
}

#[tokio::test]
async fn trailers_reach_a_client_of_http_1_that_wants_them() {
    for (te, sent) in [("TE: trailers\r\n", true), ("", false)] {
        let request = format!("GET / HTTP/1.1\r\nHost: h\r\n{te}Connection: close\r\n\r\n");
        let (_, answer) = passed(&request, OK_WITH_TRAILERS).await;
        assert_eq!(answer.ends_with("0\r\nx-sum: 42\r\n\r\n"), sent, "{answer}");
    }
}

#[tokio::test]
async fn trailers_for_one_connection_stay_there() {
    const ANSWER: &str = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nConnection: X-Theirs\r\n\
        Trailer: X-Sum, X-Theirs\r\n\r\n2\r\nok\r\n0\r\nX-Sum: 42\r\nX-Theirs: 1\r\n\r\n";
    const REQUEST: &str = "POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\
        TE: trailers\r\nConnection: close, X-Mine\r\nTrailer: X-Sum, X-Mine\r\n\r\n\
        1\r\na\r\n0\r\nX-Sum: 7\r\nX-Mine: 1\r\n\r\n";
    let mut exchange = Exchange::start(REQUEST, &[]).await;
    assert_eq!(exchange.origin.until("\r\n\r\n").await, "1\r\na\r\n0\r\nx-sum: 7\r\n\r\n");
    exchange.origin.send(ANSWER).await;
    let answer = exchange.client.rest().await;
    assert!(answer.ends_with("\r\n2\r\nok\r\n0\r\nx-sum: 42\r\n\r\n"), "{answer}");
}

#[tokio::test]
async fn an_upload_streams_in_chunks() {
    for method in ["POST", "PUT", "GET"] {
        let framing = "Transfer-Encoding: chunked\r\nContent-Length: 3\r\n\r\n";
        let request = format!("{method} / HTTP/1.1\r\nHost: h\r\n{framing}");
        let mut exchange = Exchange::start(&request, &[]).await;
        assert_lines(&exchange.head, &["transfer-encoding: chunked"], &["content-length"]);
        for chunk in ["3\r\none\r\n", "3\r\ntwo\r\n", "0\r\n\r\n"] {
            exchange.client.send(chunk).await;
            assert_eq!(exchange.origin.until(chunk).await, chunk);
        }
        exchange.origin.send(OK).await;
        assert_eq!(exchange.client.until("ok").await.lines().last(), Some("ok"));
    }
}

#[tokio::test]
async fn an_event_arrives_before_the_stream_ends() {
    for flags in [&[][..], &["--bare"]] {
        let mut exchange =
            Exchange::start("GET /sse HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n", flags)
                .await;
        exchange.origin.send("HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n").await;
        exchange.origin.send("Transfer-Encoding: chunked\r\n\r\n8\r\ndata: 1\n\r\n").await;
        exchange.client.until("data: 1\n").await;
        exchange.origin.send("8\r\ndata: 2\n\r\n0\r\n\r\n").await;
        assert!(exchange.client.rest().await.ends_with("data: 2\n\r\n0\r\n\r\n"));
    }
}

#[tokio::test]
async fn an_answer_to_head_keeps_its_length_and_has_no_body() {
    let (head, answer) = passed(
        "HEAD / HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n",
        "HTTP/1.1 200 OK\r\nContent-Length: 1234\r\n\r\n",
    )
    .await;
    assert!(head.starts_with("HEAD / HTTP/1.1\r\n"), "{head}");
    assert_lines(&answer, &["content-length: 1234"], &["transfer-encoding"]);
    assert!(answer.ends_with("\r\n\r\n"), "{answer}");
}

#[tokio::test]
async fn connections_to_the_origin_are_used_again() {
    let mut exchange = Exchange::start("GET /1 HTTP/1.1\r\nHost: h\r\n\r\n", &[]).await;
    exchange.origin.send(OK).await;
    exchange.client.until("ok").await;
    exchange.client.send("GET /2 HTTP/1.1\r\nHost: h\r\n\r\n").await;
    assert!(exchange.origin.until("\r\n\r\n").await.starts_with("GET /2 "));
    exchange.origin.send(OK).await;
    exchange.client.until("ok").await;
}

#[tokio::test]
async fn a_request_goes_no_further_than_it_may() {
    for (method, status) in [("OPTIONS", 204), ("TRACE", 501)] {
        let request = |forwards: &str| {
            format!("{method} * HTTP/1.1\r\nHost: h\r\nConnection: close\r\n{forwards}\r\n")
        };
        let request = |forwards| request(forwards).replace("TRACE *", "TRACE /");
        let (head, _) = passed(&request("Max-Forwards: 2\r\n"), OK).await;
        assert_lines(&head, &["max-forwards: 1"], &[]);
        let (head, _) = passed(&request(""), OK).await;
        assert_lines(&head, &[], &["max-forwards"]);
        let gateway = gateway(&[]).await;
        let answer = gateway.exchange(&request("Max-Forwards: 0\r\n")).await;
        assert!(answer.starts_with(&format!("HTTP/1.1 {status} ")), "{answer}");
    }
    let (head, _) = passed("GET / HTTP/1.0\r\nMax-Forwards: 0\r\n\r\n", OK).await;
    assert_lines(&head, &["max-forwards: 0"], &[]);
}

#[tokio::test]
async fn a_question_about_the_whole_server_stays_one() {
    let (head, _) = passed("OPTIONS * HTTP/1.0\r\nHost: h\r\n\r\n", OK).await;
    assert!(head.starts_with("OPTIONS * HTTP/1.1\r\n"), "{head}");
}
