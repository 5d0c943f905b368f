use std::net::SocketAddr;

use tokio::net::TcpListener;

use crate::{Connection, soon};

/// An origin that answers what the test tells it to.
#[derive(Debug)]
pub struct Origin(TcpListener);

impl Origin {
    /// Listens on a free port.
    pub async fn start() -> Self {
        Self(TcpListener::bind("127.0.0.1:0").await.unwrap())
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.0.local_addr().unwrap()
    }

    /// The same as a URL without path.
    pub fn url(&self) -> String {
        format!("http://{}", self.address())
    }

    /// The head of the first request on the next connection, and the connection.
    pub async fn asked(&self) -> (String, Connection) {
        let mut connection = Connection::from(soon(self.0.accept()).await.unwrap().0);
        (connection.until("\r\n\r\n").await, connection)
    }
}
