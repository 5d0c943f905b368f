use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;
use http::{Request, Response};
use http_body::Body;
use tower_edge_core::RequestHead;
use tower_service::Service;

use crate::shared::{Decision, Shared};
use crate::{BreakerBody, ResponseFuture};

/// The service that [`BreakerLayer`](crate::BreakerLayer) makes.
///
/// It is ready when the inner service is, open or not: whether a request goes on
/// is decided when it is called, so that readiness costs no place of a probe. An
/// error of `poll_ready` is nobody's call and does not count.
#[derive(Clone, Debug)]
pub struct Breaker<S> {
    inner: S,
    shared: Arc<Shared>,
}

impl<S> Breaker<S> {
    pub(crate) fn new(inner: S, shared: Arc<Shared>) -> Self {
        Self { inner, shared }
    }
}

impl<S, ReqB, ResB> Service<Request<ReqB>> for Breaker<S>
where
    S: Service<Request<ReqB>, Response = Response<ResB>>,
    ResB: Body<Data = Bytes>,
{
    type Response = Response<BreakerBody<ResB>>;
    type Error = S::Error;
    type Future = ResponseFuture<S::Future>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: Request<ReqB>) -> Self::Future {
        let mut call = self.shared.admit_at_once(request.method());
        if call.is_none() {
            let head = RequestHead::new(&request);
            match self.shared.decide(&head) {
                Decision::Forward(decided) => call = decided,
                Decision::Refuse(refusal, key) => {
                    return ResponseFuture::refuse(self.shared.refuse(&head, &refusal, key));
                }
            }
        }
        ResponseFuture::forward(self.inner.call(request), call)
    }
}
