//! The gateway example as a process of its own, between real connections.

#![allow(clippy::unwrap_used, reason = "a test may end where it fails")]

mod failures;
mod flags;
mod memory;
mod origins;
mod printed;
mod proxying;
mod shutdown;

use tower_edge_tests::{Origin, Program};

/// A gateway on a free port.
async fn gateway(flags: &[&str]) -> Program {
    let flags = [&["--listen", "127.0.0.1:0"], flags].concat();
    Program::start(env!("CARGO_BIN_EXE_gateway"), &flags).await
}

/// A gateway in front of `origin`.
async fn before(origin: &Origin, flags: &[&str]) -> Program {
    gateway(&[&["--origin", &origin.url()], flags].concat()).await
}
