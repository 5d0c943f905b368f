//! Many who want the same at once, which takes its time to come.

use std::net::SocketAddr;
use std::sync::Arc;

use tokio::sync::mpsc::{self, UnboundedSender};
use tower_edge_tests::{Connection, Origin, soon};

use crate::{before, many};

const LENGTH: usize = 10 << 20;
const FIRST: usize = 100_000;
const HEAD: &str = "HTTP/1.1 200 OK\r\nContent-Length: 10485760\r\n\
    Cache-Control: max-age=3600\r\nConnection: close\r\n\r\n";

/// Asks, tells when the first bytes are there, and compares all of them.
async fn client(address: SocketAddr, page: Arc<[u8]>, begun: UnboundedSender<()>) {
    let mut client = Connection::to(address).await;
    client.send("GET /large HTTP/1.1\r\nHost: h\r\n\r\n").await;
    let head = client.until("\r\n\r\n").await;
    assert!(head.starts_with("HTTP/1.1 200 OK\r\n"), "{head}");
    let (mut at, mut buffer) = (0, vec![0; 64 << 10]);
    while at < page.len() {
        let read = client.some(&mut buffer).await;
        assert!(page[at..].starts_with(&buffer[..read]));
        if at == 0 {
            begun.send(()).unwrap();
        }
        at += read;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_crowd_reads_one_response_while_it_comes() {
    const FOREVER: &str = "3600000";
    let origin = Origin::start().await;
    let flags = ["--cache-memory", "128MiB", "--idle-timeout", FOREVER, "--timeout", FOREVER];
    let gateway = before(&origin, &flags).await;
    let idle = gateway.peak_mib();
    let page: Arc<[u8]> = (0..LENGTH as u32).map(|at| (at % 251) as u8).collect();
    let (begun, mut begins) = mpsc::unbounded_channel();
    let ask = |_| tokio::spawn(client(gateway.address(), page.clone(), begun.clone()));
    let clients: Vec<_> = (0..many::count(300)).map(ask).collect();

    let (_, mut asked) = origin.asked().await;
    asked.send(HEAD).await;
    asked.push(&page[..FIRST]).await;
    for _ in &clients {
        soon(begins.recv()).await.unwrap();
    }
    for piece in page[FIRST..].chunks(FIRST) {
        asked.push(piece).await;
    }
    let count = clients.len() as u64;
    for client in clients {
        client.await.unwrap();
    }
    // One copy, and what each connection has on its way.
    let most = idle + 2 * (LENGTH as u64 >> 20) + 8 + count * 64 / 1024;
    println!("{count} clients: {} MiB, of {idle}", gateway.peak_mib());
    assert!(gateway.peak_mib() < most, "{} MiB", gateway.peak_mib());
    // Nobody has asked the origin since: the next to come is for another page.
    let mut other = gateway.connect().await;
    other.send("GET /other HTTP/1.1\r\nHost: h\r\n\r\n").await;
    let (head, _) = origin.asked().await;
    assert!(head.starts_with("GET /other "), "{head}");
}
