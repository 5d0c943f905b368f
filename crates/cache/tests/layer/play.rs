//! A cache in front of a scripted origin, asked request by request.

use std::time::{Duration, SystemTime};

use http::{HeaderMap, Request, Response, StatusCode};
use tower::ServiceExt;
use tower_edge_cache::{CacheBody, CacheHandle, CacheLayer, CacheService};
use tower_edge_core::{Clock, RequestHead};
use tower_edge_testkit::{Answer, MockBody, Received, Upstream, UpstreamError, UpstreamHandle};
use tower_layer::Layer;

pub(crate) struct Play {
    service: CacheService<Upstream>,
    pub(crate) origin: UpstreamHandle,
    pub(crate) cache: CacheHandle,
}

/// What a client got.
#[derive(Debug)]
pub(crate) struct Got {
    pub(crate) status: StatusCode,
    pub(crate) fields: HeaderMap,
    pub(crate) body: Received,
}

impl Play {
    /// A cache of 1 MiB; the wall clock starts at [`START`].
    pub(crate) fn new<F>(script: F) -> Self
    where
        F: FnMut(u64, &RequestHead<'_>) -> Answer + Send + 'static,
    {
        Self::with(cache(), script)
    }

    pub(crate) fn with<F>(layer: CacheLayer, script: F) -> Self
    where
        F: FnMut(u64, &RequestHead<'_>) -> Answer + Send + 'static,
    {
        let (upstream, origin) = Upstream::new(script);
        Self { service: layer.layer(upstream), origin, cache: layer.handle() }
    }

    /// An origin that answers all requests alike.
    pub(crate) fn always(fields: &'static [(&str, &str)]) -> Self {
        Self::new(move |number, _| answer(200, fields, &format!("body {number}")))
    }

    /// The response, its body unread.
    pub(crate) async fn send(&self, request: Request<MockBody>) -> Response<CacheBody<MockBody>> {
        self.service.clone().oneshot(request).await.unwrap()
    }

    pub(crate) async fn ask(&self, request: Request<MockBody>) -> Got {
        Got::from(self.send(request).await).await
    }

    /// The same, where the origin may fail without a response.
    pub(crate) async fn try_get(&self) -> Result<Got, UpstreamError> {
        let response = self.service.clone().oneshot(request("GET", "/", &[])).await?;
        Ok(Got::from(response).await)
    }

    pub(crate) async fn get(&self, fields: &[(&str, &str)]) -> Got {
        self.ask(request("GET", "/", fields)).await
    }
}

impl Got {
    async fn from(response: Response<CacheBody<MockBody>>) -> Self {
        let (head, body) = response.into_parts();
        Self { status: head.status, fields: head.headers, body: Received::from(body).await }
    }

    pub(crate) fn text(&self) -> String {
        String::from_utf8(self.body.bytes().into()).unwrap()
    }

    pub(crate) fn field(&self, name: &str) -> &str {
        self.fields.get(name).map_or("", |value| value.to_str().unwrap())
    }

    /// What the cache says it did, without its name and the time that is left.
    pub(crate) fn did(&self) -> &str {
        let said = self.fields.get_all("cache-status").iter().next_back();
        let said = said.unwrap().to_str().unwrap().strip_prefix("tower-edge; ").unwrap();
        said.split("; ttl=").next().unwrap()
    }
}

pub(crate) fn answer(status: u16, fields: &[(&str, &str)], body: &str) -> Answer {
    let body =
        if body.is_empty() { MockBody::new() } else { MockBody::new().data(body.to_owned()) };
    respond(status, fields, body)
}

pub(crate) fn respond(status: u16, fields: &[(&str, &str)], body: MockBody) -> Answer {
    let mut response = Response::builder().status(status);
    for (name, value) in fields {
        response = response.header(*name, *value);
    }
    response.body(body).unwrap().into()
}

pub(crate) fn request(method: &str, target: &str, fields: &[(&str, &str)]) -> Request<MockBody> {
    let mut request = Request::builder().method(method).uri(target);
    if !fields.iter().any(|(name, _)| *name == "host") {
        request = request.header("host", "origin.example");
    }
    for (name, value) in fields {
        request = request.header(*name, *value);
    }
    request.body(MockBody::new()).unwrap()
}

/// A cache of 1 MiB; the wall clock starts at [`start`].
pub(crate) fn cache() -> CacheLayer {
    CacheLayer::new(1 << 20).clock(Clock::anchored(start()))
}

/// Lets the tasks run that a cache has spawned.
pub(crate) async fn tasks() {
    for _ in 0..10 {
        tokio::task::yield_now().await;
    }
}

/// Moves the clock.
pub(crate) async fn seconds(seconds: u64) {
    tokio::time::advance(Duration::from_secs(seconds)).await;
}

/// Sun, 06 Nov 1994 08:49:37 GMT.
pub(crate) fn start() -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_secs(784_111_777)
}
