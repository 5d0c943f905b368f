use std::task::{Context, Poll};

use bytes::Bytes;
use http::{Method, Request, Response};
use http_body::Body;
use tower_service::Service;

use crate::etag::{EtagBody, EtagFuture};
use crate::policy::conditions_of;

/// The service that [`EtagLayer`](crate::EtagLayer) makes.
#[derive(Clone, Debug)]
pub struct EtagService<S> {
    inner: S,
    max_body: u64,
}

impl<S> EtagService<S> {
    pub(crate) fn new(inner: S, max_body: u64) -> Self {
        Self { inner, max_body }
    }
}

impl<S, ReqBody, ResBody> Service<Request<ReqBody>> for EtagService<S>
where
    S: Service<Request<ReqBody>, Response = Response<ResBody>>,
    ResBody: Body<Data = Bytes> + Unpin,
{
    type Response = Response<EtagBody<ResBody>>;
    type Error = S::Error;
    type Future = EtagFuture<S::Future>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: Request<ReqBody>) -> Self::Future {
        let get = request.method() == Method::GET;
        let conditions = get.then(|| conditions_of(request.headers()));
        EtagFuture::new(self.inner.call(request), conditions, self.max_body)
    }
}
