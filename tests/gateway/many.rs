use std::fs;

use tower_edge_tests::{Connection, is_long};

use crate::gateway;

const GET: &str = "GET /json HTTP/1.1\r\nHost: h\r\n\r\n";

#[tokio::test]
async fn many_connections_are_kept_alive_at_once() {
    for flags in [&[][..], &["--bare"]] {
        // Nobody knows how long it takes to open them all.
        let gateway = gateway(&[&["--idle-timeout", "3600000"], flags].concat()).await;
        let mut clients = Vec::new();
        for _ in 0..count(500) {
            clients.push(gateway.connect().await);
            ask(clients.last_mut().unwrap()).await;
        }
        for client in &mut clients {
            ask(client).await;
        }
        let peak = gateway.peak_mib();
        assert!(peak < 32 + clients.len() as u64 / 20, "{peak} MiB");
        drop(clients);
        assert_eq!(gateway.stop().await, "");
    }
}

async fn ask(client: &mut Connection) {
    client.send(GET).await;
    assert!(client.until("\r\n\r\n{\"version\":1}\n").await.starts_with("HTTP/1.1 200 OK\r\n"));
}

/// How many; 10,000 in the long form.
pub(crate) fn count(few: usize) -> usize {
    match is_long() {
        true => {
            let limits = fs::read_to_string("/proc/self/limits").unwrap();
            let files = limits.lines().find(|line| line.starts_with("Max open files")).unwrap();
            let files: usize = files.split_whitespace().nth(3).unwrap().parse().unwrap();
            assert!(files > 10_100, "10,000 connections need more: ulimit -n 11000");
            10_000
        }
        false => few,
    }
}
