use tower_edge_tests::is_long;

use crate::gateway;

#[tokio::test]
async fn a_large_download_passes_in_constant_memory() {
    for flags in [&["--cache-memory", "16MiB"][..], &["--bare"]] {
        let gateway = gateway(flags).await;
        let mut client = gateway.connect().await;
        let path = format!("/large?mib={}", mib());
        client.send(&format!("GET {path} HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n")).await;
        assert_eq!(client.count().await >> 20, mib());
        assert!(gateway.peak_mib() < PEAK_MIB, "{} MiB", gateway.peak_mib());
    }
}

#[tokio::test]
async fn a_large_upload_passes_in_constant_memory() {
    for flags in [&["--cache-memory", "16MiB"][..], &["--bare"]] {
        let gateway = gateway(flags).await;
        let mut client = gateway.connect().await;
        let bytes = mib() << 20;
        client.send("POST /upload HTTP/1.1\r\nHost: h\r\nConnection: close\r\n").await;
        client.send(&format!("Content-Length: {bytes}\r\n\r\n")).await;
        let chunk = ".".repeat(64 << 10);
        for _ in 0..bytes / chunk.len() {
            client.send(&chunk).await;
        }
        let answer = client.rest().await;
        assert!(answer.ends_with(&format!("\r\n\r\n{bytes} bytes\n")), "{answer}");
        assert!(gateway.peak_mib() < PEAK_MIB, "{} MiB", gateway.peak_mib());
    }
}

/// How much is sent; 1 GiB in the long form.
fn mib() -> usize {
    match is_long() {
        true => 1024,
        false => 256,
    }
}

const PEAK_MIB: u64 = 64;
