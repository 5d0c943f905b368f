use std::convert::Infallible;
use std::error::Error;
use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use http::header::{CONNECTION, UPGRADE};
use http::uri::Scheme;
use http::{HeaderValue, Method, Request, Response, Version};
use hyper::body::{Body, Incoming};
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use hyper_util::server::conn::auto::UpgradeableConnection;
use tokio::net::TcpStream;
use tokio::sync::watch;
use tower::{Service, ServiceExt};
use tower_edge::core::{End, Expected, PeerAddr, Tap, TapBody};

use crate::pace::{Paced, PacedExecutor};

/// What happens on one connection.
#[derive(Clone, Debug, Default)]
pub(crate) struct Activity {
    counts: Arc<Counts>,
}

impl Activity {
    fn begin(&self, version: Version) -> InFlight {
        self.counts.begun.fetch_add(1, Ordering::Relaxed);
        if version == Version::HTTP_2 {
            self.counts.http2.store(true, Ordering::Relaxed);
        }
        InFlight(self.counts.clone())
    }

    fn begun(&self) -> u64 {
        self.counts.begun.load(Ordering::Relaxed)
    }

    fn is_idle(&self) -> bool {
        self.counts.ended.load(Ordering::Relaxed) == self.begun()
    }

    fn is_http2(&self) -> bool {
        self.counts.http2.load(Ordering::Relaxed)
    }
}

/// A request in flight, up to the end of the body of its answer.
#[derive(Debug)]
pub(crate) struct InFlight(Arc<Counts>);

impl Tap<Bytes> for InFlight {
    fn data(&mut self, _: &Bytes) {}

    fn end(&mut self, _: End<'_>) {}
}

impl Drop for InFlight {
    fn drop(&mut self) {
        self.0.ended.fetch_add(1, Ordering::Relaxed);
    }
}

/// What a tunnel has to know of the connection that its client is on.
#[derive(Clone, Debug)]
pub(crate) struct Link {
    activity: Activity,
    stopped: watch::Receiver<bool>,
    patience: Duration,
}

impl Link {
    /// A new connection to a server that says when it has `stopped`.
    pub(crate) fn new(stopped: watch::Receiver<bool>, patience: Duration) -> Self {
        Self { activity: Activity::default(), stopped, patience }
    }

    /// How long the client may take nothing.
    pub(crate) fn patience(&self) -> Duration {
        self.patience
    }

    /// Ends when the server stops, which does not wait for tunnels: a WebSocket
    /// has no end of its own. Until it is dropped, the connection is not idle.
    pub(crate) async fn stopped(mut self) {
        let _in_flight = self.activity.begin(Version::HTTP_11);
        let _ = self.stopped.wait_for(|stopped| *stopped).await;
    }
}

/// What hyper calls for the requests of one connection.
///
/// Each gets the [`PeerAddr`] of the connection, and its true scheme: clients
/// may claim another one.
pub(crate) fn service<S, B>(
    service: S,
    peer: SocketAddr,
    link: Link,
) -> impl hyper::service::Service<
    Request<Incoming>,
    Response = Response<TapBody<Paced<B>, InFlight>>,
    Error = Infallible,
    Future: Send + 'static,
> + Send
+ 'static
where
    S: Service<Request<Incoming>, Response = Response<B>, Error = Infallible, Future: Send>,
    S: Clone + Send + 'static,
    B: Body<Data = Bytes> + Send + 'static,
{
    service_fn(move |mut request: Request<Incoming>| {
        let version = request.version();
        let in_flight = link.activity.begin(version);
        request.extensions_mut().insert(PeerAddr(peer));
        request.extensions_mut().insert(Scheme::HTTP);
        if request.method() == Method::CONNECT || request.headers().contains_key(UPGRADE) {
            request.extensions_mut().insert(link.clone());
        }
        let answer = service.clone().oneshot(request);
        let stopped = link.stopped.clone();
        async move {
            let mut response = answer.await?;
            if version <= Version::HTTP_11 && *stopped.borrow() {
                let close = HeaderValue::from_static("close");
                response.headers_mut().entry(CONNECTION).or_insert(close);
            }
            let expected = Expected::by_size(&response.body().size_hint());
            Ok(response.map(|body| TapBody::new(Paced::new(body), in_flight, expected)))
        }
    })
}

/// Runs a connection until it ends, is idle for too long, or the server stops.
pub(crate) async fn drive<S, B>(connection: Connection<S>, link: Link)
where
    S: hyper::service::Service<Request<Incoming>, Response = Response<B>, Error = Infallible>,
    S::Future: Send + 'static,
    B: Body<Data = Bytes> + Send + 'static,
    B::Error: Into<Box<dyn Error + Send + Sync>>,
{
    let Link { activity, mut stopped, patience } = link;
    let mut connection = pin!(connection);
    let linger = async {
        let _ = stopped.wait_for(|stopped| *stopped).await;
        if !activity.is_http2() {
            tokio::time::sleep(LINGER).await;
        }
    };
    let mut linger = pin!(linger);
    let (mut closing, mut begun) = (false, 0);
    let mut idle = pin!(tokio::time::sleep(patience));
    loop {
        tokio::select! {
            biased;
            _ = connection.as_mut() => return,
            () = &mut linger, if !closing => {}
            () = &mut idle => {
                idle.set(tokio::time::sleep(patience));
                let before = std::mem::replace(&mut begun, activity.begun());
                match activity.is_idle() && before == begun {
                    // It was asked to close, and does not.
                    true if closing => return,
                    true => {}
                    false => continue,
                }
            }
        }
        closing = true;
        connection.as_mut().graceful_shutdown();
    }
}

/// A connection of either protocol.
pub(crate) type Connection<S> =
    UpgradeableConnection<'static, TokioIo<TcpStream>, S, PacedExecutor>;

#[derive(Debug, Default)]
pub(crate) struct Counts {
    begun: AtomicU64,
    ended: AtomicU64,
    http2: AtomicBool,
}

/// A connection of HTTP/1.1 that is closed while a request is on its way loses
/// it; HTTP/2 tells the client which requests were not seen.
pub(crate) const LINGER: Duration = Duration::from_millis(100);
