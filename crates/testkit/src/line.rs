//! A connection that is not to be relied upon.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

/// Stands between clients and a server, and passes on what they say, but for what
/// it is told to do to the answers, or to hold back of what is asked.
#[derive(Debug)]
pub struct Line {
    address: SocketAddr,
    fault: Arc<Mutex<Fault>>,
    cuts: watch::Sender<u64>,
    /// The number of the last connection whose questions are held back.
    held: watch::Sender<u64>,
    /// How many there were.
    connections: Arc<AtomicU64>,
}

/// What becomes of answers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Fault {
    /// They are passed on.
    #[default]
    None,
    /// Each part comes so much later.
    Late(Duration),
    /// They are swallowed.
    Silent,
    /// The connection ends in the middle of them.
    Torn,
    /// One byte of each so many is another one.
    Garbled(usize),
}

impl Line {
    /// A line to a server.
    ///
    /// # Panics
    ///
    /// If there is no free port.
    pub async fn to(server: SocketAddr) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("there is a free port");
        let address = listener.local_addr().expect("it is bound");
        let (fault, cuts) = (Arc::<Mutex<Fault>>::default(), watch::Sender::new(0));
        let (held, connections) = (watch::Sender::new(0), Arc::<AtomicU64>::default());
        let (shared, ends, holds) = (fault.clone(), cuts.subscribe(), held.subscribe());
        let count = connections.clone();
        tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                let (fault, mut ends, holds) = (shared.clone(), ends.clone(), holds.clone());
                let number = count.fetch_add(1, Ordering::SeqCst) + 1;
                ends.mark_unchanged();
                tokio::spawn(async move {
                    let Ok(server) = TcpStream::connect(server).await else { return };
                    let (from_client, to_client) = client.into_split();
                    let (from_server, to_server) = server.into_split();
                    tokio::select! {
                        () = pass(from_client, to_server, number, holds) => {}
                        () = spoil(from_server, to_client, &fault) => {}
                        _ = ends.changed() => {}
                    }
                });
            }
        });
        Self { address, fault, cuts, held, connections }
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Does this to answers from now on.
    pub fn set(&self, fault: Fault) {
        *self.fault.lock().unwrap_or_else(PoisonError::into_inner) = fault;
    }

    /// Holds back what is asked over the connections that there are.
    pub fn hold(&self) {
        self.held.send_replace(self.connections.load(Ordering::SeqCst));
    }

    /// Passes on what was held back.
    pub fn release(&self) {
        self.held.send_replace(0);
    }

    /// Ends all connections there are.
    pub fn cut(&self) {
        self.cuts.send_modify(|cuts| *cuts += 1);
    }
}

async fn pass(
    mut from: OwnedReadHalf,
    mut to: OwnedWriteHalf,
    number: u64,
    mut holds: watch::Receiver<u64>,
) {
    let mut buffer = vec![0; 16 << 10];
    while holds.wait_for(|held| number > *held).await.is_ok() {
        let read = tokio::select! {
            read = from.read(&mut buffer) => read,
            _ = holds.changed() => continue,
        };
        let Ok(read @ 1..) = read else { return };
        if to.write_all(&buffer[..read]).await.is_err() {
            return;
        }
    }
}

async fn spoil(mut from: OwnedReadHalf, mut to: OwnedWriteHalf, fault: &Mutex<Fault>) {
    let (mut buffer, mut passed) = (vec![0; 16 << 10], 0_usize);
    while let Ok(read @ 1..) = from.read(&mut buffer).await {
        let answer = &mut buffer[..read];
        let fault = *fault.lock().unwrap_or_else(PoisonError::into_inner);
        match fault {
            Fault::None => {}
            Fault::Late(time) => tokio::time::sleep(time).await,
            Fault::Silent => continue,
            Fault::Torn => {
                drop(to.write_all(&answer[..read / 2]).await);
                return;
            }
            Fault::Garbled(step) => {
                for at in (0..read).filter(|at| (passed + at) % step == step - 1) {
                    answer[at] ^= 1 << (at % 8);
                }
            }
        }
        passed += read;
        if to.write_all(answer).await.is_err() {
            return;
        }
    }
}
