use std::future::Future;
use std::net::SocketAddr;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::is_long;

/// One end of a connection, as text.
#[derive(Debug)]
pub struct Connection(TcpStream);

impl Connection {
    /// Connects to `address`.
    pub async fn to(address: SocketAddr) -> Self {
        Self(soon(TcpStream::connect(address)).await.unwrap())
    }

    /// Sends `bytes`, as far as the other side reads them.
    pub async fn push(&mut self, bytes: &[u8]) {
        let _ = soon(self.0.write_all(bytes)).await;
    }

    /// Sends `text`.
    pub async fn send(&mut self, text: &str) {
        soon(self.0.write_all(text.as_bytes())).await.unwrap();
    }

    /// Reads up to and with `end`.
    pub async fn until(&mut self, end: &str) -> String {
        let mut read = Vec::new();
        while !read.ends_with(end.as_bytes()) {
            let byte = soon(self.0.read_u8()).await;
            read.push(byte.unwrap_or_else(|_| panic!("{}", String::from_utf8_lossy(&read))));
        }
        String::from_utf8(read).unwrap()
    }

    /// Reads what there is into `buffer`, at least a byte; how many bytes that were.
    pub async fn some(&mut self, buffer: &mut [u8]) -> usize {
        let read = soon(self.0.read(buffer)).await.unwrap();
        assert_ne!(read, 0, "the other side has closed");
        read
    }

    /// Reads until the other side closes, in whatever way.
    pub async fn rest(mut self) -> String {
        let mut read = Vec::new();
        let _ = soon(self.0.read_to_end(&mut read)).await;
        String::from_utf8_lossy(&read).into_owned()
    }

    /// Reads until the other side closes; how many bytes that were.
    pub async fn count(mut self) -> usize {
        let (mut count, mut buffer) = (0, vec![0; 64 << 10]);
        loop {
            match soon(self.0.read(&mut buffer)).await.unwrap() {
                0 => return count,
                bytes => count += bytes,
            }
        }
    }
}

impl From<TcpStream> for Connection {
    fn from(stream: TcpStream) -> Self {
        Self(stream)
    }
}

/// What `future` gives; fails when that takes absurdly long.
pub async fn soon<F: Future>(future: F) -> F::Output {
    let deadline = if is_long() { 10 * DEADLINE } else { DEADLINE };
    tokio::time::timeout(deadline, future).await.expect("this does not take so long")
}

/// Those who share the machine with thousands of others wait longer.
const DEADLINE: Duration = Duration::from_secs(60);
