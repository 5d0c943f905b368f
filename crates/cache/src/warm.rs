use std::future::poll_fn;
use std::num::NonZeroUsize;
use std::pin::pin;

use bytes::Buf;
use http::{Request, Response};
use http_body::Body;
use tokio::task::{JoinError, JoinSet};
use tower::util::Oneshot;
use tower_service::Service;

use crate::handle::CacheHandle;

/// How far a [`CacheHandle::warm`] has come.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Warmed {
    /// Responses that came whole.
    pub succeeded: u64,
    /// Calls and bodies that failed, and responses of 4xx and 5xx.
    pub failed: u64,
    /// Bytes of all those bodies.
    pub bytes: u64,
}

impl CacheHandle {
    /// Sends requests through a service of this cache and reads the responses, so
    /// that they are stored, where that is permitted, before somebody asks.
    ///
    /// Up to `at_once` are on their way together, each in a task; the next request
    /// is taken when one has ended, and `progress` told then. What is fresh in the
    /// cache costs no call. Dropping the future drops what is on its way.
    ///
    /// # Panics
    ///
    /// Outside a tokio runtime.
    ///
    /// ```
    /// # use {bytes::Bytes, http::{Request, Response}, http_body_util::Full, std::convert::Infallible};
    /// use std::num::NonZeroUsize;
    /// use tower::{Layer, service_fn};
    /// use tower_edge_cache::CacheLayer;
    ///
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() {
    /// # let origin = service_fn(async |_: Request<Full<Bytes>>| Ok::<_, Infallible>(Response::new(Full::new(Bytes::from_static(b"hello")))));
    /// let cache = CacheLayer::new(256 << 20).default_ttl(std::time::Duration::from_secs(60));
    /// let urls = ["http://shop.example/", "http://shop.example/cart"];
    /// let requests = urls.map(|url| Request::get(url).body(Full::default()).expect("valid"));
    /// let at_once = NonZeroUsize::new(8).expect("not zero");
    /// let warmed = cache.handle().warm(cache.layer(origin), requests, at_once, |_| {}).await;
    /// assert_eq!((warmed.succeeded, cache.handle().stats().entries), (2, 2));
    /// # }
    /// ```
    pub async fn warm<S, ReqBody, ResBody>(
        &self,
        service: S,
        requests: impl IntoIterator<Item = Request<ReqBody>>,
        at_once: NonZeroUsize,
        mut progress: impl FnMut(&Warmed),
    ) -> Warmed
    where
        S: Service<Request<ReqBody>, Response = Response<ResBody>> + Clone + Send + 'static,
        S::Future: Send,
        ReqBody: Send + 'static,
        ResBody: Body + Send + 'static,
    {
        let (mut warmed, mut calls) = (Warmed::default(), JoinSet::new());
        for request in requests {
            if calls.len() >= at_once.get()
                && let Some(ended) = calls.join_next().await
            {
                warmed.count(ended);
                progress(&warmed);
            }
            calls.spawn(fetched(service.clone(), request));
        }
        while let Some(ended) = calls.join_next().await {
            warmed.count(ended);
            progress(&warmed);
        }
        warmed
    }
}

impl Warmed {
    fn count(&mut self, ended: Result<(u64, bool), JoinError>) {
        let (bytes, whole) = ended.unwrap_or((0, false));
        self.bytes += bytes;
        self.succeeded += u64::from(whole);
        self.failed += u64::from(!whole);
    }
}

/// How much came of a response, and whether it came whole.
async fn fetched<S, ReqBody, ResBody>(service: S, request: Request<ReqBody>) -> (u64, bool)
where
    S: Service<Request<ReqBody>, Response = Response<ResBody>>,
    ResBody: Body,
{
    let Ok(response) = Oneshot::new(service, request).await else { return (0, false) };
    let status = response.status();
    let (mut body, mut bytes) = (pin!(response.into_body()), 0);
    while let Some(frame) = poll_fn(|cx| body.as_mut().poll_frame(cx)).await {
        match frame {
            Ok(frame) => bytes += frame.data_ref().map_or(0, |data| data.remaining() as u64),
            Err(_) => return (bytes, false),
        }
    }
    (bytes, !status.is_client_error() && !status.is_server_error())
}
