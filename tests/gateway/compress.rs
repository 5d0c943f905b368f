//! What the gateway encodes, decoded by programs that are not ours.

use tower_edge_tests::{Origin, Recorder, is_hit, run};

use crate::{before, gateway};

/// An origin whose only page has a thousand lines, and the page.
async fn page(fields: &str) -> (Recorder, String) {
    let page: String = (0..1_000).map(|line| format!("line {} of a page\n", line % 83)).collect();
    let head = format!("HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\n{fields}Content-Length: ");
    let answer = format!("{head}{}\r\n\r\n{page}", page.len());
    (Recorder::start(answer.leak()).await, page)
}

#[tokio::test]
async fn curl_gets_the_same_page_in_any_coding() {
    let (origin, page) = page("Cache-Control: max-age=60\r\nETag: \"v1\"\r\n").await;
    let gateway = gateway(&["--origin", &origin.url()]).await;
    let url = gateway.url("/");
    for protocol in ["--http1.1", "--http2-prior-knowledge"] {
        for (coding, level) in [("gzip", 6), ("deflate", 6), ("br", 5), ("zstd", 3)] {
            let get = format!("curl {protocol} {url} -H 'Accept-Encoding: {coding}'");
            assert!(run(&format!("{get} --compressed")).await == page, "{coding}");
            let head = run(&format!("{get} -o /dev/null -D -")).await.to_ascii_lowercase();
            assert!(head.contains(&format!("\r\ncontent-encoding: {coding}\r\n")), "{head}");
            // Weak if the body came after its head.
            assert!(head.contains(&format!("\"v1+{coding}{level}\"\r\n")), "{head}");
            assert!(head.contains("\r\nvary: accept-encoding\r\n"), "{head}");
            assert!(is_hit(&head), "{head}");
            let known = format!("{get} -H 'If-None-Match: \"v1+{coding}{level}\"'");
            let status = run(&format!("{known} -o /dev/null -w '%{{http_code}}'")).await;
            assert_eq!(status, "304");
        }
        assert!(run(&format!("curl {protocol} {url}")).await == page);
    }
    assert_eq!(origin.take().len(), 5, "one for each coding, and one for the page as it is");
}

#[tokio::test]
async fn python_reads_what_zlib_calls_zlib() {
    let (origin, page) = page("Cache-Control: no-store\r\n").await;
    let gateway = gateway(&["--origin", &origin.url()]).await;
    for (coding, window) in [("gzip", 31), ("deflate", 15)] {
        let get = format!("curl {} -H 'Accept-Encoding: {coding}'", gateway.url("/"));
        let inflate = "import sys, zlib; sys.stdout.buffer.write(zlib.decompress(";
        let inflate = format!("{inflate}sys.stdin.buffer.read(), {window}))");
        let read = tower_edge_tests::shell(&format!("{get} -sS | python3 -c '{inflate}'")).await;
        assert!(read.stdout == page.as_bytes(), "{coding}: {read:?}");
    }
}

#[tokio::test]
async fn without_compression_nothing_is_encoded() {
    let (origin, page) = page("").await;
    for flag in ["--no-compress", "--bare"] {
        let gateway = gateway(&["--origin", &origin.url(), flag]).await;
        let get = format!("curl -i {} -H 'Accept-Encoding: gzip, br'", gateway.url("/"));
        let said = run(&get).await;
        assert!(said.ends_with(&page) && !said.contains("vary"), "{said}");
    }
}

#[tokio::test]
async fn an_event_arrives_encoded_before_the_next_one_is_sent() {
    let origin = Origin::start().await;
    let gateway = before(&origin, &[]).await;
    let mut client = gateway.connect().await;
    client.send("GET / HTTP/1.1\r\nHost: h\r\nAccept-Encoding: gzip\r\n\r\n").await;
    let (_, mut asked) = origin.asked().await;
    let head = "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nConnection: close\r\n\r\n";
    asked.send(head).await;
    asked.send("data: one\n\n").await;
    let head = client.until("\r\n\r\n").await;
    assert!(head.contains("content-encoding: gzip\r\n"), "{head}");
    // The length of the first chunk.
    assert!(client.until("\r\n").await.trim().len() <= 2);
    asked.send("data: two\n\n").await;
    assert!(client.some(&mut [0; 64]).await > 0);
}
