use std::convert::Infallible;
use std::error::Error;
use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::pin::pin;
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response};
use hyper::body::{Body, Incoming};
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::conn::auto;
use tokio::net::{TcpListener, TcpStream};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;
use tower::Service;

use crate::connection::{self, Link};
use crate::flags::Misuse;
use crate::pace::{self, PacedExecutor};

/// How long a server waits for its clients.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Patience {
    /// A connection without a request in flight, silent or in the middle of a
    /// head, for at least this long and at most twice as long.
    pub(crate) idle: Duration,
    /// Requests in flight after the stop.
    pub(crate) grace: Duration,
}

/// Listens at the `address` of `flag`; also gives the address with its real port.
pub(crate) async fn listen(
    flag: &str,
    address: SocketAddr,
) -> Result<(TcpListener, SocketAddr), Misuse> {
    let bound = async {
        let listener = TcpListener::bind(address).await?;
        let address = listener.local_addr()?;
        Ok((listener, address))
    };
    bound.await.map_err(|error: io::Error| {
        let free = SocketAddr::new(address.ip(), 0);
        Misuse::new(flag, address, format!("{error}; {free} is any free port"))
    })
}

/// Serves HTTP/1.1 and HTTP/2 without TLS until `stop`, then finishes what is in
/// flight.
///
/// For a moment after the stop it goes on as before, except that it closes each
/// connection behind its next answer: a client that has just sent a request
/// gets one.
pub(crate) async fn serve<S, B>(
    listener: TcpListener,
    service: S,
    stop: impl Future<Output = ()>,
    patience: Patience,
) where
    S: Service<Request<Incoming>, Response = Response<B>, Error = Infallible, Future: Send>,
    S: Clone + Send + 'static,
    B: Body<Data = Bytes> + Send + 'static,
    B::Error: Into<Box<dyn Error + Send + Sync>>,
{
    let server = protocols(patience.idle);
    let (stopping, stopped) = watch::channel(false);
    let mut end = pin!(async {
        stop.await;
        stopping.send_replace(true);
        tokio::time::sleep(connection::LINGER).await;
    });
    loop {
        let (stream, peer) = tokio::select! {
            accepted = accept(&listener) => accepted,
            () = &mut end => break,
        };
        let link = Link::new(stopped.clone(), patience.idle);
        let service = connection::service(service.clone(), peer, link.clone());
        let connection = server.serve_connection_with_upgrades(TokioIo::new(stream), service);
        let driven = connection::drive(connection.into_owned(), link);
        tokio::spawn(pace::unless_untaken(patience.idle, driven));
    }
    drop((listener, stopped));
    let _ = tokio::time::timeout(patience.grace, stopping.closed()).await;
}

/// Ends at the first SIGINT or SIGTERM; the second one ends the process.
pub(crate) fn stop_signal() -> io::Result<impl Future<Output = ()>> {
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut terminate = signal(SignalKind::terminate())?;
    let mut next = async move || {
        tokio::select! { _ = interrupt.recv() => {}, _ = terminate.recv() => {} }
    };
    Ok(async move {
        next().await;
        tokio::spawn(async move {
            next().await;
            std::process::exit(1)
        });
    })
}

/// Both protocols, with the bounds that hold off who wants too much.
fn protocols(idle: Duration) -> auto::Builder<PacedExecutor> {
    let mut server = auto::Builder::new(PacedExecutor(idle));
    let mut http1 = server.http1();
    http1.timer(TokioTimer::new()).header_read_timeout(idle);
    http1.max_buf_size(MAX_HEAD).max_headers(MAX_FIELDS);
    let mut http2 = server.http2();
    http2.timer(TokioTimer::new()).max_header_list_size(MAX_HEAD as u32);
    http2.max_concurrent_streams(MAX_STREAMS).enable_connect_protocol();
    http2.keep_alive_interval(idle).keep_alive_timeout(idle);
    server
}

/// The next connection. Without a free file descriptor there is none until one
/// is closed.
async fn accept(listener: &TcpListener) -> (TcpStream, SocketAddr) {
    loop {
        match listener.accept().await {
            Ok((stream, peer)) => {
                let _ = stream.set_nodelay(true);
                return (stream, peer);
            }
            Err(_) => tokio::time::sleep(Duration::from_millis(10)).await,
        }
    }
}

/// Of a request, in bytes; more is answered 431.
const MAX_HEAD: usize = 64 << 10;
/// Lines of fields in HTTP/1.1; more are answered 431.
const MAX_FIELDS: usize = 100;
const MAX_STREAMS: u32 = 200;
