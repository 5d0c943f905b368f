use std::error::Error;
use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, ready};

use http::{Request, Response, request};
use http_body::Body;
use tower_edge_core::{BoxError, RequestHead};
use tower_service::Service;

use crate::gate::lock;
use crate::{Answer, Gate, MockBody, Received};

/// A service that plays a script and notes what is done to it.
///
/// A clone is ready only when it was itself polled ready, and only for one
/// call; a call without that is noted as misuse and answered all the same.
///
/// ```
/// use http::Request;
/// use tower::ServiceExt;
/// use tower_edge_testkit::{Answer, MockBody, Upstream};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() {
/// let (upstream, handle) = Upstream::new(|number, head| match head.uri().path() {
///     "/slow" => Answer::never(),
///     _ => Answer::ok(MockBody::new().data(format!("call {number}"))),
/// });
/// let response = upstream.oneshot(Request::new(MockBody::new())).await.unwrap();
/// assert_eq!((handle.calls(), handle.in_flight()), (1, 1));
/// drop(response);
/// assert_eq!((handle.misuses(), handle.in_flight()), (0, 0));
/// # }
/// ```
pub struct Upstream {
    shared: Arc<Shared>,
    ready: bool,
}

impl Upstream {
    /// Answers each call as `script` says, which is given the number of the
    /// call, from 0, and its head.
    pub fn new<F>(script: F) -> (Self, UpstreamHandle)
    where
        F: FnMut(u64, &RequestHead<'_>) -> Answer + Send + 'static,
    {
        let shared = Arc::new(Shared {
            script: Mutex::new(Box::new(script)),
            readiness: Gate::opened(),
            notes: Mutex::default(),
        });
        (Self { shared: shared.clone(), ready: false }, UpstreamHandle { shared })
    }
}

/// Leaves the readiness behind, as a clone of a service does, and is counted.
impl Clone for Upstream {
    fn clone(&self) -> Self {
        lock(&self.shared.notes).clones += 1;
        Self { shared: self.shared.clone(), ready: false }
    }
}

impl fmt::Debug for Upstream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Upstream").field("ready", &self.ready).finish_non_exhaustive()
    }
}

impl<B> Service<Request<B>> for Upstream
where
    B: Body + Send + 'static,
    B::Data: Send,
    B::Error: Into<BoxError>,
{
    type Response = Response<MockBody>;
    type Error = UpstreamError;
    type Future = UpstreamFuture;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), UpstreamError>> {
        ready!(self.shared.readiness.poll_pass(cx));
        if let Some(error) = lock(&self.shared.notes).unready {
            return Poll::Ready(Err(error));
        }
        self.ready = true;
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<B>) -> UpstreamFuture {
        let number = self.shared.note_call(std::mem::take(&mut self.ready));
        let flight = Flight::new(&self.shared);
        let answer = (lock(&self.shared.script))(number, &RequestHead::new(&request));
        let (head, body) = request.into_parts();
        lock(&self.shared.notes).requests.push(head);
        Box::pin(async move {
            if answer.reads {
                let received = Received::from(body).await;
                lock(&flight.0.notes).received.push(received);
            }
            let response = answer.play().await?;
            Ok(response.map(|body| body.in_flight(flight)))
        })
    }
}

/// The future of [`Upstream`].
pub type UpstreamFuture =
    Pin<Box<dyn Future<Output = Result<Response<MockBody>, UpstreamError>> + Send>>;

/// Tells what was done to an [`Upstream`] and its clones, and steers them.
#[derive(Clone)]
pub struct UpstreamHandle {
    shared: Arc<Shared>,
}

impl UpstreamHandle {
    /// How many calls were made.
    pub fn calls(&self) -> u64 {
        lock(&self.shared.notes).calls
    }

    /// How many calls are under way: from `call` until the end of the body.
    pub fn in_flight(&self) -> usize {
        lock(&self.shared.notes).in_flight
    }

    /// How many calls were made on a clone that had not been polled ready.
    pub fn misuses(&self) -> usize {
        lock(&self.shared.notes).misuses
    }

    /// How many clones were made.
    pub fn clones(&self) -> usize {
        lock(&self.shared.notes).clones
    }

    /// The heads of the requests, in the order of the calls.
    pub fn requests(&self) -> Vec<request::Parts> {
        lock(&self.shared.notes).requests.clone()
    }

    /// The request bodies that were read ([`Answer::reading`]), in the order in
    /// which they ended.
    pub fn received(&self) -> Vec<Received> {
        lock(&self.shared.notes).received.clone()
    }

    /// `poll_ready` is pending while this gate is closed; it is open at first.
    pub fn readiness(&self) -> &Gate {
        &self.shared.readiness
    }

    /// Makes `poll_ready` fail from now on.
    pub fn fail_readiness(&self, error: UpstreamError) {
        lock(&self.shared.notes).unready = Some(error);
    }
}

impl fmt::Debug for UpstreamHandle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("UpstreamHandle").field(&*lock(&self.shared.notes)).finish()
    }
}

/// The error of an [`Upstream`]; two are equal when their texts are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct UpstreamError(&'static str);

impl UpstreamError {
    /// An error with this text.
    pub const fn new(text: &'static str) -> Self {
        Self(text)
    }
}

impl fmt::Display for UpstreamError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0)
    }
}

impl Error for UpstreamError {}

/// One call under way; counted until it is dropped.
pub(crate) struct Flight(Arc<Shared>);

impl Flight {
    fn new(shared: &Arc<Shared>) -> Self {
        lock(&shared.notes).in_flight += 1;
        Self(shared.clone())
    }
}

impl fmt::Debug for Flight {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Flight")
    }
}

impl Drop for Flight {
    fn drop(&mut self) {
        lock(&self.0.notes).in_flight -= 1;
    }
}

struct Shared {
    script: Mutex<Box<Script>>,
    readiness: Gate,
    notes: Mutex<Notes>,
}

impl Shared {
    fn note_call(&self, ready: bool) -> u64 {
        let mut notes = lock(&self.notes);
        notes.misuses += usize::from(!ready);
        notes.calls += 1;
        notes.calls - 1
    }
}

type Script = dyn FnMut(u64, &RequestHead<'_>) -> Answer + Send;

#[derive(Debug, Default)]
struct Notes {
    calls: u64,
    in_flight: usize,
    misuses: usize,
    clones: usize,
    unready: Option<UpstreamError>,
    requests: Vec<request::Parts>,
    received: Vec<Received>,
}
