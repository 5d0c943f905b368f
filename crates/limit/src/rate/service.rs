use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http::{Request, Response};
use http_body::Body;
use tokio::time::Sleep;
use tower_edge_core::RequestHead;
use tower_service::Service;

use super::after::After;
use super::asking::Asking;
use super::body::RateLimitBody;
use super::charges::Costs;
use super::future::RateLimitFuture;
use super::queued::Queued;
use super::shared::{Admission, Shared};
use super::turn::Turn;

/// The service that [`RateLimitLayer`](crate::RateLimitLayer) makes.
///
/// It is ready when the inner service is, and charges nothing before `call`. Who
/// has to wait there is called on by a clone of the inner service, so that nobody
/// who waits keeps what an inner service may reserve.
pub struct RateLimit<S> {
    inner: S,
    shared: Arc<Shared>,
    /// Until there may be a permit again, where readiness says so.
    pressure: Option<Pin<Box<Sleep>>>,
}

impl<S> RateLimit<S> {
    pub(super) fn new(inner: S, shared: Arc<Shared>) -> Self {
        Self { inner, shared, pressure: None }
    }

    /// Ready when the limits that everybody shares have a permit.
    fn poll_pressure(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        while let Some(wait) = self.shared.pressure() {
            let due = self.shared.instant(self.shared.now().saturating_add(wait)).into();
            let make = || Box::pin(tokio::time::sleep_until(due));
            let sleep = self.pressure.get_or_insert_with(make);
            sleep.as_mut().reset(due);
            ready!(sleep.as_mut().poll(cx));
        }
        Poll::Ready(())
    }
}

/// The clone has not been found ready, and sets a timer of its own.
impl<S: Clone> Clone for RateLimit<S> {
    fn clone(&self) -> Self {
        Self::new(self.inner.clone(), self.shared.clone())
    }
}

impl<S, ReqBody, ResBody> Service<Request<ReqBody>> for RateLimit<S>
where
    S: Service<Request<ReqBody>, Response = Response<ResBody>> + Clone,
    ResBody: Body<Data = Bytes>,
{
    type Response = Response<RateLimitBody<ResBody>>;
    type Error = S::Error;
    type Future = RateLimitFuture<S, Request<ReqBody>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        if self.shared.backpressure {
            ready!(self.poll_pressure(cx));
        }
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: Request<ReqBody>) -> Self::Future {
        let shared = &self.shared;
        let head = RequestHead::new(&request);
        let nanos = shared.called();
        let mut costs = Costs::NONE;
        let refused = match shared.cost(&head, &mut costs) {
            Ok(()) => match shared.admit(&costs, nanos) {
                Admission::Admit => {
                    let after = After::new(shared, request.method(), &costs, nanos);
                    return RateLimitFuture::calling(self.inner.call(request), after);
                }
                Admission::Wait => {
                    let turn = Turn::Queued(Queued::new(shared.clone(), costs, nanos));
                    return RateLimitFuture::waiting(turn, self.inner.clone(), request);
                }
                Admission::Ask => {
                    let turn = Turn::Asking(Asking::new(shared, &head, costs, nanos));
                    return RateLimitFuture::waiting(turn, self.inner.clone(), request);
                }
                Admission::Refuse(denied) => shared.refuse(&head, Some(&costs), denied, nanos),
            },
            Err(refused) => shared.refuse(&head, None, refused.into(), nanos),
        };
        match refused {
            Some(response) => RateLimitFuture::answer(response),
            None => RateLimitFuture::calling(self.inner.call(request), After::Nothing),
        }
    }
}

impl<S: fmt::Debug> fmt::Debug for RateLimit<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RateLimit").field("inner", &self.inner).finish_non_exhaustive()
    }
}
