//! A cache on disk: what is there after the gateway has ended, in whatever way.

use std::io;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use axum::Router;
use axum::http::Uri;
use axum::http::header::CACHE_CONTROL;
use axum::response::IntoResponse;
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tower_edge_tests::{Program, is_hit, is_long};

use crate::flags::refused;
use crate::gateway;

/// An origin whose pages are all different, and how often it was asked.
async fn pages() -> (String, Arc<AtomicU64>) {
    let asked = Arc::new(AtomicU64::new(0));
    let count = asked.clone();
    let page = async move |uri: Uri| {
        count.fetch_add(1, Ordering::SeqCst);
        ([(CACHE_CONTROL, "max-age=3600")], page(uri.path())).into_response()
    };
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    tokio::spawn(async move { axum::serve(listener, Router::new().fallback(page)).await });
    (url, asked)
}

/// The page of a path, some kilobytes of it.
fn page(path: &str) -> String {
    path.repeat(2_000)
}

async fn on(disk: &Path, origin: &str) -> Program {
    let disk = disk.to_str().unwrap();
    gateway(&["--origin", origin, "--cache-disk", disk, "--cache-memory", "1MiB"]).await
}

/// Asks for a page, if there is anybody, and compares it; whether it was a hit.
async fn ask(gateway: &Program, path: &str) -> bool {
    let request = format!("GET {path} HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n");
    let answer = gateway.exchange(&request).await;
    let (_, body) = answer.split_once("\r\n\r\n").unwrap();
    assert!(body == page(path), "{path}: {} bytes, {answer:.300}", body.len());
    is_hit(&answer)
}

#[tokio::test]
async fn what_was_stored_is_there_after_a_restart() {
    let (folder, (origin, asked)) = (TempDir::new().unwrap(), pages().await);
    let disk = folder.path().join("cache.db");
    let first = on(&disk, &origin).await;
    for path in ["/a", "/b", "/c"] {
        assert!(!ask(&first, path).await);
    }
    assert_eq!(first.stop().await, "");
    let second = on(&disk, &origin).await;
    for path in ["/a", "/b", "/c"] {
        assert!(ask(&second, path).await);
    }
    assert_eq!(asked.load(Ordering::SeqCst), 3);
    assert_eq!(second.stop().await, "");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_gateway_that_is_killed_while_it_writes_leaves_nothing_torn() {
    let (folder, (origin, asked)) = (TempDir::new().unwrap(), pages().await);
    let disk = folder.path().join("cache.db");
    let rounds = if is_long() { 50 } else { 5 };
    let mut hits = 0;
    for round in 0..rounds {
        let mut gateway = on(&disk, &origin).await;
        // What the one before has left.
        for number in 0..CHECKED {
            hits += u32::from(ask(&gateway, &format!("/{round}/{number}")).await);
        }
        let (address, next) = (gateway.address(), round + 1);
        let client = |client| async move {
            for number in 0.. {
                let path = format!("/{next}/{}", CLIENTS * number + client);
                let request = format!("GET {path} HTTP/1.1\r\nHost: h\r\n\r\n");
                if attempt(address, &request).await.is_err() {
                    return;
                }
            }
        };
        let clients: JoinSet<_> = (0..CLIENTS).map(client).collect();
        // At another moment of its writing each time.
        let before = asked.load(Ordering::SeqCst);
        while asked.load(Ordering::SeqCst) < before + 50 + 13 * round {
            tokio::task::yield_now().await;
        }
        gateway.signal("KILL").await;
        assert!(!gateway.exit().await.success());
        clients.join_all().await;
    }
    assert!(hits > 0, "nothing was kept");
}

/// Asks somebody who may be gone, and reads what comes.
async fn attempt(address: SocketAddr, request: &str) -> io::Result<()> {
    let mut stream = TcpStream::connect(address).await?;
    stream.write_all(request.as_bytes()).await?;
    match stream.read(&mut [0; 1_024]).await? {
        0 => Err(io::ErrorKind::UnexpectedEof.into()),
        _ => Ok(()),
    }
}

const CHECKED: u64 = 40;
const CLIENTS: u64 = 4;

#[tokio::test]
async fn a_file_that_cannot_be_used_is_refused_or_set_aside() {
    let (folder, (origin, _)) = (TempDir::new().unwrap(), pages().await);
    let disk = folder.path().join("cache.db");
    std::fs::write(&disk, "these are no records, though there are many of them").unwrap();
    let first = on(&disk, &origin).await;
    let error = refused(&["--listen", "127.0.0.1:0", "--cache-disk", disk.to_str().unwrap()]).await;
    assert_eq!(error.lines().count(), 1, "{error}");
    assert!(error.contains("'--cache-disk'") && error.contains("name another file"), "{error}");
    assert!(!ask(&first, "/a").await && ask(&first, "/a").await);
    let said = first.stop().await;
    assert!(said.contains("is now") && said.contains("cache.db.aside-1"), "{said}");
    let error = refused(&["--listen", "127.0.0.1:0", "--cache-disk", "/nowhere/cache.db"]).await;
    assert!(error.contains("'--cache-disk'") && error.contains("No such file"), "{error}");
}
