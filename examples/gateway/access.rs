use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Instant;

use bytes::Bytes;
use http::{Request, Response, StatusCode};
use hyper::body::Body;
use tower::{Layer, Service};
use tower_edge::core::{
    Cidr, ClientIp, Clock, End, Expected, RequestHead, ResponseHead, Tap, TapBody,
};

/// Writes a line into the log for each request, when all is over.
#[derive(Clone, Debug)]
pub(crate) struct AccessLayer {
    client: ClientIp,
}

impl AccessLayer {
    /// Names the client that these proxies tell of.
    pub(crate) fn trusting(proxies: &[Cidr]) -> Self {
        Self { client: ClientIp::trusting(proxies.iter().copied()) }
    }
}

impl<S> Layer<S> for AccessLayer {
    type Service = Access<S>;

    fn layer(&self, inner: S) -> Access<S> {
        Access { inner, client: self.client.clone() }
    }
}

/// The service that [`AccessLayer`] makes.
#[derive(Clone, Debug)]
pub(crate) struct Access<S> {
    inner: S,
    client: ClientIp,
}

impl<S, A, B> Service<Request<A>> for Access<S>
where
    S: Service<Request<A>, Response = Response<B>, Future: Send + 'static>,
    B: Body<Data = Bytes>,
{
    type Response = Response<TapBody<B, Line>>;
    type Error = S::Error;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, S::Error>> + Send>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: Request<A>) -> Self::Future {
        let mut line = Line::begin(&RequestHead::new(&request), &self.client);
        let method = request.method().clone();
        let answer = self.inner.call(request);
        Box::pin(async move {
            let response = answer.await?;
            line.status = Some(response.status());
            let size = response.body().size_hint();
            let expected = Expected::of(&method, &ResponseHead::new(&response), &size);
            Ok(response.map(|body| TapBody::new(body, line, expected)))
        })
    }
}

/// What there is to say about a request; said when it is dropped.
#[derive(Debug)]
pub(crate) struct Line {
    clock: Clock,
    begun: Instant,
    client: String,
    request: String,
    status: Option<StatusCode>,
    bytes: u64,
    end: &'static str,
}

impl Line {
    fn begin(head: &RequestHead<'_>, client: &ClientIp) -> Self {
        let clock = Clock::system();
        Self {
            begun: clock.now(),
            clock,
            client: client.address(head).map(|address| address.to_string()).unwrap_or_default(),
            request: format!("{} {} {:?}", head.method(), head.target(), head.version()),
            status: None,
            bytes: 0,
            end: "abandoned",
        }
    }
}

impl Tap<Bytes> for Line {
    fn data(&mut self, data: &Bytes) {
        self.bytes += data.len() as u64;
    }

    fn end(&mut self, end: End<'_>) {
        self.end = match end {
            End::Complete(_) => "complete",
            End::Failed => "broken",
            End::Dropped => "abandoned",
        };
    }
}

impl Drop for Line {
    fn drop(&mut self) {
        tracing::info!(
            target: TARGET,
            client = self.client,
            request = self.request,
            status = self.status.map_or(0, |status| status.as_u16()),
            bytes = self.bytes,
            ms = self.clock.since(self.begun).as_secs_f64() * 1e3,
            end = self.end,
        );
    }
}

/// By what name the log knows these lines.
pub(crate) const TARGET: &str = "access";
