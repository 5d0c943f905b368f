use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

/// An origin that answers every request with the same text, and remembers them.
///
/// It reads HTTP/1.1 in the plainest way there is: whatever follows a request
/// on its connection is the next one.
#[derive(Debug)]
pub struct Recorder {
    address: SocketAddr,
    requests: Arc<Mutex<Vec<String>>>,
}

impl Recorder {
    /// Listens on a free port, and answers with `answer`.
    pub async fn start(answer: &'static str) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let requests = Arc::<Mutex<Vec<String>>>::default();
        let seen = requests.clone();
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(record(stream, seen.clone(), answer));
            }
        });
        Self { address, requests }
    }

    /// Where it listens, as a URL without path.
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// The requests so far, each with its body; forgets them.
    pub fn take(&self) -> Vec<String> {
        std::mem::take(&mut self.requests.lock().unwrap())
    }
}

async fn record(mut stream: TcpStream, seen: Arc<Mutex<Vec<String>>>, answer: &str) {
    let mut read = Vec::new();
    loop {
        while let Some(end) = end_of_request(&read) {
            let request = read.drain(..end).collect::<Vec<u8>>();
            seen.lock().unwrap().push(String::from_utf8_lossy(&request).into_owned());
            let _ = stream.write_all(answer.as_bytes()).await;
        }
        match stream.read_buf(&mut read).await {
            Ok(0) | Err(_) => return,
            Ok(_) => {}
        }
    }
}

fn end_of_request(read: &[u8]) -> Option<usize> {
    let end_of = |from: usize, end: &[u8]| {
        let at = read[from..].windows(end.len()).position(|window| window == end)?;
        Some(from + at + end.len())
    };
    let head = end_of(0, b"\r\n\r\n")?;
    let lines = String::from_utf8_lossy(&read[..head]).to_ascii_lowercase();
    let field = |name: &str| lines.lines().find_map(|line| line.strip_prefix(name));
    if field("transfer-encoding: ").is_some() {
        return match read[head..].starts_with(b"0\r\n\r\n") {
            true => Some(head + 5),
            false => end_of(head, b"\r\n0\r\n\r\n"),
        };
    }
    let length: usize = field("content-length: ").map_or(0, |length| length.parse().unwrap());
    (read.len() >= head + length).then_some(head + length)
}
