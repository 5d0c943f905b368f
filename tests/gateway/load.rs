use tower_edge_tests::{is_long, shell};

use crate::gateway;

#[tokio::test]
async fn every_request_under_load_is_answered() {
    let requests = if is_long() { 1_000_000 } else { 1_000 };
    for flags in [&[][..], &["--bare"]] {
        let gateway = gateway(flags).await;
        for protocol in ["-m 50", "--h1"] {
            for path in ["/json", "/etag", "/flaky", "/large"] {
                let requests = if path == "/large" { requests / 50 } else { requests };
                let load = format!("h2load -n {requests} -c 20 {protocol} {}", gateway.url(path));
                let said = String::from_utf8(shell(&load).await.stdout).unwrap();
                // A third of the flaky answers are meant to fail.
                let succeeded = match path {
                    "/flaky" => requests - requests / 3,
                    _ => requests,
                };
                let counts = format!("{requests} done, {succeeded} succeeded, ");
                assert!(said.contains(&counts), "{load}\n{said}");
                assert!(said.contains(" 0 errored, 0 timeout"), "{load}\n{said}");
            }
        }
        assert_eq!(gateway.stop().await, "");
    }
}
