//! Bytes that nobody with good intentions sends.

use tower_edge_tests::{Program, Recorder};

use crate::{Exchange, gateway};

/// A request head, up to the fields in question.
const POST: &str = "POST / HTTP/1.1\r\nHost: h\r\nConnection: close\r\n";
const GET: &str = "GET / HTTP/1.1\r\nHost: h\r\nConnection: close\r\n";
const OK: &str = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";

/// What is sent to a gateway with these flags, and what shows that it is well.
pub(crate) struct Target {
    pub(crate) origin: Recorder,
    pub(crate) gateway: Program,
}

impl Target {
    /// One with all layers, and one with none.
    pub(crate) async fn both() -> [Self; 2] {
        [Self::start(&[], OK).await, Self::start(&["--bare"], OK).await]
    }

    async fn start(flags: &[&str], answer: &'static str) -> Self {
        let origin = Recorder::start(answer).await;
        let url = origin.url();
        let fixed = ["--origin", &url, "--shutdown-grace", "3600000"];
        let idle = match flags.contains(&"--idle-timeout") {
            true => &[][..],
            false => &["--idle-timeout", "500"],
        };
        let flags = [&fixed, idle, flags].concat();
        Self { gateway: gateway(&flags).await, origin }
    }

    /// The statuses that the client gets; the origin has to have got as many
    /// requests as there are answers from it, and no other ones.
    async fn statuses(&self, sent: &[u8]) -> (Vec<String>, Vec<String>) {
        let mut client = self.gateway.connect().await;
        client.push(sent).await;
        let said = client.rest().await;
        let heads = said.split("HTTP/1.1 ").skip(1);
        let statuses: Vec<_> = heads.map(|head| head[..3].to_owned()).collect();
        let passed = self.origin.take();
        let answered = statuses.iter().filter(|status| *status == "200").count();
        let shown = String::from_utf8_lossy(&sent[..sent.len().min(500)]);
        assert_eq!(passed.len(), answered, "{shown}\n{said}\n{passed:#?}");
        (statuses, passed)
    }

    /// It still answers, nothing in it panicked, and nothing keeps it from ending.
    pub(crate) async fn assert_well(self) {
        let (statuses, passed) = self.statuses(format!("{GET}\r\n").as_bytes()).await;
        assert_eq!((statuses, passed.len()), (vec!["200".into()], 1));
        let complaints = self.gateway.stop().await;
        assert!(!complaints.contains("panicked"), "{complaints}");
    }
}

#[tokio::test]
async fn what_is_not_http_is_refused() {
    let post = |rest: &str| format!("{POST}{rest}").into_bytes();
    let requests = [
        post("Content-Length: 3\r\nContent-Length: 4\r\n\r\nabcd"),
        post("Content-Length: 3, 4\r\n\r\nabcd"),
        post("Content-Length: +3\r\n\r\nabc"),
        post("Content-Length: -1\r\n\r\n"),
        post("Content-Length: 0x3\r\n\r\nabc"),
        post("Content-Length: 18446744073709551616\r\n\r\n"),
        post("Content-Length : 3\r\n\r\nabc"),
        post("Transfer-Encoding : chunked\r\n\r\n0\r\n\r\n"),
        post("Transfer-Encoding: xchunked\r\n\r\n0\r\n\r\n"),
        post("Transfer-Encoding: chunked, identity\r\n\r\n0\r\n\r\n"),
        post("Transfer-Encoding: identity\r\nContent-Length: 3\r\n\r\nabc"),
        post("X-Folded: a\r\n b\r\n\r\n"),
        post("X-Bare: a\rb\r\n\r\n"),
        post("X-Bare: a\rTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"),
        post("X-Nul: a\0b\r\n\r\n"),
        post("X Space: a\r\n\r\n"),
        post(": no name\r\n\r\n"),
        post("no colon\r\n\r\n"),
        b"GET / HTTP/1.1\rHost: h\r\r".to_vec(),
        b"GET / HTTP/9.9\r\nHost: h\r\n\r\n".to_vec(),
        b"GET / HTTP/1.1 more\r\nHost: h\r\n\r\n".to_vec(),
        b"GET  / HTTP/1.1\r\nHost: h\r\n\r\n".to_vec(),
        b"GET /a b HTTP/1.1\r\nHost: h\r\n\r\n".to_vec(),
        b"G@T / HTTP/1.1\r\nHost: h\r\n\r\n".to_vec(),
        b"GET /\0 HTTP/1.1\r\nHost: h\r\n\r\n".to_vec(),
        b"GET nothing HTTP/1.1\r\nHost: h\r\n\r\n".to_vec(),
        b"POST / HTTP/1.0\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n".to_vec(),
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03 TLS \r\n\r\n".to_vec(),
        b"PRI * HTTP/2.0\r\n\r\nXX\r\n\r\n".to_vec(),
    ];
    for target in Target::both().await {
        for request in &requests {
            let (statuses, _) = target.statuses(request).await;
            let shown = String::from_utf8_lossy(request);
            assert!(statuses.is_empty() || statuses == ["400"], "{shown}\n{statuses:?}");
        }
        target.assert_well().await;
    }
}

#[tokio::test]
async fn what_can_be_read_in_two_ways_is_passed_on_in_one() {
    let hidden = "GET /hidden HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n";
    let keep = "POST / HTTP/1.1\r\nHost: h\r\n";
    let length = hidden.len();
    let requests = [
        format!(
            "{keep}Content-Length: {length}\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n{hidden}"
        ),
        format!("{keep}Transfer-Encoding: chunked\r\nContent-Length: 3\r\n\r\n0\r\n\r\n{hidden}"),
        format!("{keep}Transfer-Encoding: chunked, chunked\r\n\r\n0\r\n\r\n{hidden}"),
        format!("{keep}Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n{hidden}"),
        format!("{keep}Transfer-Encoding: chunked\r\n\r\n0;ext={hidden}\r\n\r\n{hidden}"),
        format!("{keep}Transfer-Encoding: chunked\r\n\r\n0\r\nContent-Length: 5\r\n\r\n{hidden}"),
        format!("{keep}Transfer-Encoding: chunked\r\n\r\n0\n\n{hidden}"),
        format!("{keep}Transfer-Encoding: chunked\r\n\r\n-1\r\n\r\n{hidden}"),
        format!("{keep}Transfer-Encoding: chunked\r\n\r\n10000000000000000\r\n{hidden}"),
        format!("{keep}Content-Length: 0\r\nContent-Length: 0\r\n\r\n{hidden}"),
        format!(
            "{keep}Content-Length: {length}\r\nConnection: content-length, close\r\n\r\n{hidden}"
        ),
        format!(
            "{keep}Connection: transfer-encoding\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n{hidden}"
        ),
        format!(
            "GET / HTTP/1.1\r\nHost: h\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n{hidden}"
        ),
        format!("GET / HTTP/1.1\nHost: h\nConnection: close\n\n{hidden}"),
        format!("OPTIONS * HTTP/1.1\r\nHost: h\r\n\r\n{hidden}"),
    ];
    for target in Target::both().await {
        for request in &requests {
            let (statuses, passed) = target.statuses(request.as_bytes()).await;
            let plain = |status: &String| status == "200" || status == "400";
            assert!(statuses.iter().all(plain), "{request}\n{statuses:?}");
            for passed in passed {
                let framings = ["content-length: ", "transfer-encoding: "];
                let framed = |line: &&str| framings.iter().any(|name| line.starts_with(name));
                let head = passed.split("\r\n\r\n").next().unwrap_or_default();
                assert!(head.lines().filter(framed).count() <= 1, "{passed}");
            }
        }
        target.assert_well().await;
    }
}

#[tokio::test]
async fn heads_and_targets_have_bounds() {
    let many = |count| (0..count).map(|n| format!("X-{n}: a\r\n")).collect::<String>();
    let long = |bytes| "a".repeat(bytes);
    for target in Target::both().await {
        for (request, status) in [
            (format!("{GET}{}\r\n", many(90)), "200"),
            (format!("{GET}{}\r\n", many(101)), "431"),
            (format!("{GET}{}\r\n", many(100_000)), "431"),
            (format!("{GET}X: {}\r\n\r\n", long(60 << 10)), "200"),
            (format!("{GET}X: {}\r\n\r\n", long(66 << 10)), "431"),
            (format!("{GET}{}: a\r\n\r\n", long(66 << 10)), "431"),
            (
                format!("GET /{} HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n", long(60 << 10)),
                "200",
            ),
            (format!("GET /{} HTTP/1.1\r\nHost: h\r\n\r\n", long(70 << 10)), "431"),
            (format!("GET /{} HTTP/1.1\r\nHost: h\r\n\r\n", long(5 << 20)), "431"),
        ] {
            let (statuses, _) = target.statuses(request.as_bytes()).await;
            // What was not read resets the connection, and may take the answer along.
            let refused = statuses.is_empty() && status == "431" && request.len() > 66 << 10;
            assert!(refused || statuses == [status], "{} {statuses:?}", &request[..99]);
        }
        target.assert_well().await;
    }
}

#[tokio::test]
async fn absurd_values_of_a_client_are_its_own_business() {
    let absurd = [
        "Cache-Control: max-age=99999999999999999999999, max-age=-1, ,,=;\", no-cache=\"",
        "Cache-Control: min-fresh=18446744073709551615, max-stale=9223372036854775808",
        "Range: bytes=-,9-1,99999999999999999999999999-,-99999999999999999999999999",
        "Range: bytes=18446744073709551615-18446744073709551615",
        "Range: lines=\u{1}-2",
        "Forwarded: for=\"[::::\";;;=,,by=,for=\"\\\",for=_;proto=gopher;host=\"\"",
        "X-Forwarded-For: ,,, 999.1.1.1, [::1, ::ffff:999.0.0.1, 1.1.1.1:99999",
        "If-None-Match: \"a, W/\"b\", *, \"",
        "If-Modified-Since: Thu, 99 Foo 99999999999 25:61:61 GMT",
        "Accept-Encoding: gzip;q=999, ;q=, *;q=-1, br;q=0.00000000000000000000000000001",
        "Accept-Language: \u{7f}\u{80}",
        "TE: trailers;q=x, ,,",
        "Connection: ,,;=, \"close\"",
        "Max-Forwards: 99999999999999999999999999",
        "Expect: the worst",
        "Upgrade: , /, h2c/\u{e9}",
        "Via: ,,,",
        "Cookie: =;=;\"",
    ];
    for target in Target::both().await {
        for field in absurd {
            for method in ["GET", "OPTIONS"] {
                let request = format!(
                    "{method} / HTTP/1.1\r\nHost: h\r\nConnection: close\r\n{field}\r\n\r\n"
                );
                let (statuses, _) = target.statuses(request.as_bytes()).await;
                assert!(statuses == ["200"] || statuses == ["400"], "{field}\n{statuses:?}");
            }
        }
        target.assert_well().await;
    }
}

#[tokio::test]
async fn absurd_values_of_an_origin_are_passed_on() {
    const ABSURD: &str = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\
        Cache-Control: max-age=99999999999999999999999, s-maxage=-1, ,,=;\", private=\"\r\n\
        Age: -1\r\nAge: 99999999999999999999\r\nDate: tomorrow\r\nExpires: 0\r\n\
        Last-Modified: Thu, 99 Foo 99999999999 25:61:61 GMT\r\nETag: W/\"a\r\nVary: ,*,\"\r\n\
        Content-Range: bytes 9-1/0\r\nCDN-Cache-Control: max-age=;;\r\n\
        Cache-Status: ;;\r\nLocation: ::::\r\nConnection: ,,\r\n\r\nok";
    for flags in [&[][..], &["--bare"], &["--cache-rfc", "--server-timing"]] {
        let target = Target::start(flags, ABSURD).await;
        for _ in 0..2 {
            let (statuses, _) = target.statuses(format!("{GET}\r\n").as_bytes()).await;
            assert_eq!(statuses, ["200"]);
        }
        target.assert_well().await;
    }
}

#[tokio::test]
async fn a_client_that_dawdles_is_hung_up_on() {
    let preface = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0";
    for flags in [&["--idle-timeout", "100"][..], &["--idle-timeout", "100", "--bare"]] {
        let target = Target::start(flags, OK).await;
        for begun in ["", "G", "PRI * HT", "GET / HTTP/1.1\r\nHost", preface] {
            let mut client = target.gateway.connect().await;
            client.send(begun).await;
            let said = client.rest().await;
            assert!(!said.contains("HTTP/1.1 200"), "{begun}\n{said}");
        }
        let mut client = target.gateway.connect().await;
        client.send("GET / HTTP/1.1\r\nHost: h\r\n\r\nGET / HT").await;
        assert!(client.rest().await.ends_with("\r\n\r\nok"));
        assert_eq!(target.origin.take().len(), 1);
        target.assert_well().await;
    }
}

#[tokio::test]
async fn a_client_that_waits_for_an_answer_does_not_dawdle() {
    let request = "GET / HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n";
    let mut exchange = Exchange::start(request, &["--idle-timeout", "50"]).await;
    for _ in 0..3 {
        assert_eq!(exchange.gateway.connect().await.rest().await, "");
    }
    exchange.origin.send("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\no").await;
    for _ in 0..3 {
        assert_eq!(exchange.gateway.connect().await.rest().await, "");
    }
    exchange.origin.send("k").await;
    assert!(exchange.client.rest().await.ends_with("\r\n\r\nok"));
}
