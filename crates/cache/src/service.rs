use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;
use http::{Request, Response};
use http_body::Body;
use tower::util::Oneshot;
use tower_edge_core::RequestHead;
use tower_service::Service;

use crate::body::CacheBody;
use crate::future::ResponseFuture;
use crate::lookup::Decision;
use crate::shared::Shared;

/// The service that [`CacheLayer`](crate::CacheLayer) makes.
///
/// It is always ready: a hit needs nothing of the inner service, so it does not
/// wait for it. A request that goes upstream waits for a clone of its own. What
/// is sent between threads is what a refresh in the background needs.
#[derive(Clone, Debug)]
pub struct CacheService<S> {
    inner: S,
    shared: Arc<Shared>,
}

impl<S> CacheService<S> {
    pub(crate) fn new(inner: S, shared: Arc<Shared>) -> Self {
        Self { inner, shared }
    }
}

impl<S, ReqBody, ResBody> Service<Request<ReqBody>> for CacheService<S>
where
    S: Service<Request<ReqBody>, Response = Response<ResBody>> + Clone + Send + 'static,
    S::Future: Send,
    ReqBody: Body + Send + 'static,
    ResBody: Body<Data = Bytes> + Send,
{
    type Response = Response<CacheBody<ResBody>>;
    type Error = S::Error;
    type Future = ResponseFuture<S, Request<ReqBody>, ResBody>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, mut request: Request<ReqBody>) -> Self::Future {
        let has_body = !request.body().is_end_stream();
        match self.shared.decide(&RequestHead::new(&request), has_body) {
            Decision::Answer(response) => ResponseFuture::answer(response),
            Decision::AnswerAndRefresh(response, refresh) => {
                refresh.start(self.inner.clone(), request, self.shared.clone());
                ResponseFuture::answer(response)
            }
            Decision::Forward(mut flight) => {
                flight.prepare(request.headers_mut());
                let call = Oneshot::new(self.inner.clone(), request);
                ResponseFuture::forward(call, flight, self.shared.clone())
            }
        }
    }
}
