use std::sync::Arc;
use std::task::{Context, Poll};

use http::{Request, Response};
use http_body::Body;
use tower_edge_core::Trace;
use tower_service::Service;

use crate::call::Call;
use crate::layer::Settings;
use crate::{LatencyBody, ResponseFuture};

/// The service that [`LatencyLayer`](crate::LatencyLayer) makes.
#[derive(Clone, Debug)]
pub struct LatencyService<S> {
    inner: S,
    settings: Arc<Settings>,
}

impl<S> LatencyService<S> {
    pub(crate) fn new(inner: S, settings: Arc<Settings>) -> Self {
        Self { inner, settings }
    }
}

impl<S, ReqB, ResB> Service<Request<ReqB>> for LatencyService<S>
where
    S: Service<Request<ReqB>, Response = Response<ResB>>,
    ReqB: Body,
    ResB: Body,
{
    type Response = Response<LatencyBody<ResB>>;
    type Error = S::Error;
    type Future = ResponseFuture<S::Future>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, mut request: Request<ReqB>) -> Self::Future {
        let mut call = Call::begin(&self.settings, &mut request);
        let inner = Trace::scope_call(call.trace_called(), || self.inner.call(request));
        ResponseFuture::new(inner, call)
    }
}
