use std::sync::Arc;
use std::time::Duration;

use http::uri::{Authority, Scheme};
use http::{Request, Response, Uri};
use hyper::body::Incoming;
use hyper::client::conn::http2::{self, SendRequest};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use tokio::net::TcpStream;
use tokio::sync::Mutex;
use tower_edge::core::{BoxError, TapBody};

use crate::upload::Upload;

/// A body on its way to the origin.
pub(crate) type Outgoing = TapBody<Incoming, Upload>;

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

    /// Whether it is spoken to in HTTP/2.
    pub(crate) fn is_http2(&self) -> bool {
        matches!(self.connections, Connections::Http2(_))
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
                answer
                    .map_err(|error| Fault { unreachable: error.is_connect(), cause: error.into() })
            }
            Connections::Http2(kept) => {
                let mut connection = self.connected(kept).await?;
                match connection.try_send_request(request).await {
                    Ok(response) => Ok(response),
                    Err(mut error) => match error.take_message() {
                        // The connection ended before it took the request.
                        Some(request) => {
                            let mut connection = self.connected(kept).await?;
                            connection.send_request(request).await.map_err(Fault::later)
                        }
                        None => Err(Fault::later(error.into_error())),
                    },
                }
            }
        }
    }

    /// The connection that is kept, or else a new one.
    async fn connected(
        &self,
        kept: &Mutex<Option<SendRequest<Outgoing>>>,
    ) -> Result<SendRequest<Outgoing>, Fault> {
        let mut kept = kept.lock().await;
        if let Some(connection) = kept.as_ref().filter(|connection| !connection.is_closed()) {
            return Ok(connection.clone());
        }
        let unreachable = |error: std::io::Error| Fault { unreachable: true, cause: error.into() };
        let port = self.authority.port_u16().unwrap_or(80);
        let host = self.authority.host().trim_matches(['[', ']']);
        let stream = TcpStream::connect((host, port)).await.map_err(unreachable)?;
        stream.set_nodelay(true).map_err(unreachable)?;
        let (connection, driver) = http2::Builder::new(TokioExecutor::new())
            .timer(TokioTimer::new())
            .handshake(TokioIo::new(stream))
            .await
            .map_err(Fault::later)?;
        tokio::spawn(driver);
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
pub(crate) struct Fault {
    /// Whether there was not even a connection.
    pub(crate) unreachable: bool,
    cause: BoxError,
}

impl Fault {
    fn later(cause: hyper::Error) -> Self {
        Self { unreachable: false, cause: cause.into() }
    }

    /// All that is known about it, for the log.
    pub(crate) fn causes(&self) -> String {
        causes(&*self.cause)
    }
}

#[derive(Clone, Debug)]
enum Connections {
    Http1(Arc<Client<HttpConnector, Outgoing>>),
    Http2(Arc<Mutex<Option<SendRequest<Outgoing>>>>),
}

fn causes(error: &dyn std::error::Error) -> String {
    let causes = std::iter::successors(Some(error), |error| error.source());
    causes.map(ToString::to_string).collect::<Vec<_>>().join(": ")
}

/// Some servers close idle connections after 5 s: a request must not meet that.
const IDLE: Duration = Duration::from_secs(4);
