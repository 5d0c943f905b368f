//! The gateway example as a process of its own, between real connections.

#![allow(clippy::unwrap_used, reason = "a test may end where it fails")]

mod breaker;
mod compress;
mod console;
mod crowd;
mod disk;
mod failures;
mod flags;
mod frames;
mod front;
mod grpc;
mod hostile;
mod interim;
mod load;
mod logs;
mod many;
mod memory;
mod nodes;
mod origins;
mod overload;
mod printed;
mod proxying;
mod rate;
mod redis;
mod shared_rate;
mod shutdown;
mod slow;
mod tonic;
mod websockets;

use bytes::Bytes;
use http_body_util::Empty;
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use tower_edge_tests::{Connection, Origin, Program};

/// A request on its way: the client has sent it, and the origin has its head.
struct Exchange {
    gateway: Program,
    client: Connection,
    head: String,
    origin: Connection,
}

impl Exchange {
    /// Sends `request` through a gateway with these flags.
    async fn start(request: &str, flags: &[&str]) -> Self {
        let listening = Origin::start().await;
        let gateway = before(&listening, flags).await;
        let mut client = gateway.connect().await;
        client.send(request).await;
        let (head, origin) = listening.asked().await;
        Self { gateway, client, head, origin }
    }
}

/// A gateway on free ports.
async fn gateway(flags: &[&str]) -> Program {
    let console = match flags.contains(&"--console") {
        true => &[][..],
        false => &["--console", "127.0.0.1:0"],
    };
    let flags = [&["--listen", "127.0.0.1:0"], console, flags].concat();
    Program::start(env!("CARGO_BIN_EXE_gateway"), &flags).await
}

/// A gateway in front of `origin`.
async fn before(origin: &Origin, flags: &[&str]) -> Program {
    gateway(&[&["--origin", &origin.url()], flags].concat()).await
}

/// A client that speaks HTTP/2 from the first byte.
fn http2() -> Client<HttpConnector, Empty<Bytes>> {
    Client::builder(TokioExecutor::new()).http2_only(true).build_http()
}
