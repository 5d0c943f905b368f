use std::fmt;
use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::sync::{self, Arc};
use std::task::Poll;
use std::time::{Duration, Instant};

use http::uri::{Authority, Scheme};
use http::{Request, Response, Uri, Version};
use hyper::body::Incoming;
use hyper::client::conn::http2::{self, SendRequest};
use hyper::ext::Protocol;
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use tokio::net::TcpStream;
use tokio::sync::Mutex;
use tower_edge::core::{BoxError, Clock};

use crate::trailers::Onward;
use crate::upload::Upload;

/// A body on its way to the origin.
pub(crate) type Outgoing = Upload<Onward<Incoming>>;

/// The origin, and the connections to it that are kept.
#[derive(Clone, Debug)]
pub(crate) struct Origin {
    authority: Authority,
    connections: Connections,
}

impl Origin {
    /// Speaks HTTP/1.1 to it, over as many connections as requests are in flight.
    pub(crate) fn http1(authority: Authority) -> Self {
        let mut connector = HttpConnector::new();
        connector.set_nodelay(true);
        let client = Client::builder(TokioExecutor::new())
            .pool_timer(TokioTimer::new())
            .pool_idle_timeout(IDLE)
            .build(connector);
        Self { authority, connections: Connections::Http1(Arc::new(client)) }
    }

    /// Speaks HTTP/2 to it, from the first byte and over one connection.
    pub(crate) fn http2(authority: Authority) -> Self {
        Self { authority, connections: Connections::Http2(Arc::default()) }
    }

    /// What it is spoken to in.
    pub(crate) fn version(&self) -> Version {
        match self.connections {
            Connections::Http1(_) => Version::HTTP_11,
            Connections::Http2(_) => Version::HTTP_2,
        }
    }

    /// What it answers to a request whose target names path and query.
    ///
    /// In HTTP/2 the target names as well whom the client asked for: there the
    /// authority takes the place of `Host`.
    pub(crate) async fn send(
        &self,
        mut request: Request<Outgoing>,
    ) -> Result<Response<Incoming>, Fault> {
        match &self.connections {
            Connections::Http1(client) => {
                *request.uri_mut() = self.uri(request.uri());
                let answer = client.request(request).await;
                answer.map_err(|error| match error.is_connect() {
                    true => Fault::Unreachable(error.into()),
                    false => Fault::Broken(error.into()),
                })
            }
            Connections::Http2(kept) => {
                let mut connection = self.connected(kept).await?;
                if request.extensions().get::<Protocol>().is_some() && !connection.tunnels().await {
                    return Err(Fault::NoTunnel);
                }
                match connection.requests.try_send_request(request).await {
                    Ok(response) => Ok(response),
                    Err(mut error) => match error.take_message() {
                        // The connection ended before it took the request.
                        Some(request) => {
                            let mut connection = self.connected(kept).await?;
                            connection.requests.send_request(request).await.map_err(Fault::broken)
                        }
                        None => Err(Fault::broken(error.into_error())),
                    },
                }
            }
        }
    }

    /// The connection that is kept, or else a new one.
    async fn connected(&self, kept: &Mutex<Option<Http2>>) -> Result<Http2, Fault> {
        let mut kept = kept.lock().await;
        if let Some(connection) = kept.as_ref().filter(|kept| !kept.requests.is_closed()) {
            return Ok(connection.clone());
        }
        let unreachable = |error: std::io::Error| Fault::Unreachable(error.into());
        let port = self.authority.port_u16().unwrap_or(80);
        let host = self.authority.host().trim_matches(['[', ']']);
        let stream = TcpStream::connect((host, port)).await.map_err(unreachable)?;
        stream.set_nodelay(true).map_err(unreachable)?;
        let connection = Http2::on(stream).await.map_err(Fault::broken)?;
        Ok(kept.insert(connection).clone())
    }

    fn uri(&self, target: &Uri) -> Uri {
        let mut parts = target.clone().into_parts();
        parts.scheme = Some(Scheme::HTTP);
        parts.authority = Some(self.authority.clone());
        Uri::from_parts(parts).unwrap_or_else(|_| target.clone())
    }
}

/// Why the origin did not answer.
#[derive(Debug)]
pub(crate) enum Fault {
    /// There was not even a connection.
    Unreachable(BoxError),
    /// There was no answer, or none that could be read.
    Broken(BoxError),
    /// It does not offer tunnels over HTTP/2.
    NoTunnel,
}

impl Fault {
    fn broken(cause: hyper::Error) -> Self {
        Self::Broken(cause.into())
    }

    /// All that is known about it, for the log.
    pub(crate) fn causes(&self) -> String {
        match self {
            Self::Unreachable(cause) | Self::Broken(cause) => causes(&**cause),
            Self::NoTunnel => "it has not enabled extended CONNECT".into(),
        }
    }
}

#[derive(Clone, Debug)]
enum Connections {
    Http1(Arc<Client<HttpConnector, Outgoing>>),
    Http2(Arc<Mutex<Option<Http2>>>),
}

#[derive(Clone)]
struct Http2 {
    requests: SendRequest<Outgoing>,
    /// What drives it; none when it has ended, so that nothing waits for it.
    driver: Arc<sync::Mutex<Option<Driver>>>,
    /// When it has surely said what it allows.
    settled: Instant,
}

impl Http2 {
    async fn on(stream: TcpStream) -> Result<Self, hyper::Error> {
        let mut builder = http2::Builder::new(TokioExecutor::new());
        builder.timer(TokioTimer::new());
        let (requests, driver) = builder.handshake(TokioIo::new(stream)).await?;
        let driver = Arc::new(sync::Mutex::new(Some(driver)));
        let driven = driver.clone();
        tokio::spawn(poll_fn(move |cx| {
            let mut driver = unpoisoned(&driven);
            let ended = driver.as_mut().map_or(Poll::Ready(Ok(())), |it| Pin::new(it).poll(cx));
            if ended.is_ready() {
                *driver = None;
            }
            ended
        }));
        Ok(Self { requests, driver, settled: Clock::system().now() + SETTLING })
    }

    /// Whether there may be tunnels. The client must not ask for one before the
    /// server has said so (RFC 8441 §3), which it does in its first frame; hyper
    /// does not tell when that is there.
    async fn tunnels(&self) -> bool {
        let clock = Clock::system();
        loop {
            let allowed = unpoisoned(&self.driver)
                .as_ref()
                .is_some_and(|driver| driver.is_extended_connect_protocol_enabled());
            if allowed || clock.now() > self.settled {
                return allowed;
            }
            tokio::time::sleep(SETTLING / 100).await;
        }
    }
}

impl fmt::Debug for Http2 {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Http2").field("requests", &self.requests).finish_non_exhaustive()
    }
}

type Driver = http2::Connection<TokioIo<TcpStream>, Outgoing, TokioExecutor>;

/// A panic of another task is no reason to panic here.
fn unpoisoned<T>(driver: &sync::Mutex<T>) -> sync::MutexGuard<'_, T> {
    driver.lock().unwrap_or_else(sync::PoisonError::into_inner)
}

fn causes(error: &dyn std::error::Error) -> String {
    let causes = std::iter::successors(Some(error), |error| error.source());
    causes.map(ToString::to_string).collect::<Vec<_>>().join(": ")
}

/// Some servers close idle connections after 5 s: a request must not meet that.
const IDLE: Duration = Duration::from_secs(4);
const SETTLING: Duration = Duration::from_secs(1);
