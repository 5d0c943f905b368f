use std::fmt::Display;
use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::task::Poll;
use std::time::Duration;

use http::{Request, Response};
use tower_edge_core::RequestHead;
use tower_service::Service;

use super::{Lawful, LawfulService, Subject};
use crate::{Answer, MockBody, Received, Upstream, UpstreamError, UpstreamHandle};

/// One subject over one upstream, held to one law.
pub(super) struct Trial<L: Lawful> {
    pub(super) law: &'static str,
    pub(super) subject: Subject<L>,
    pub(super) service: L::Service,
    pub(super) upstream: UpstreamHandle,
    inner: Upstream,
}

pub(super) type Reply<L> =
    Response<<<L as tower_layer::Layer<Upstream>>::Service as LawfulService>::Body>;

impl<L: Lawful> Trial<L> {
    pub(super) fn new<F>(law: &'static str, subject: Subject<L>, script: F) -> Self
    where
        F: FnMut(u64, &RequestHead<'_>) -> Answer + Send + 'static,
    {
        let (inner, upstream) = Upstream::new(script);
        let service = subject.layer.layer(inner.clone());
        Self { law, subject, service, upstream, inner }
    }

    /// Services from two calls of `layer()`.
    pub(super) fn services(&self) -> (L::Service, L::Service) {
        let layer = || self.subject.layer.layer(self.inner.clone());
        (layer(), layer())
    }

    /// Breaks the law unless `holds`.
    #[track_caller]
    pub(super) fn check(&self, holds: bool, otherwise: impl Display) {
        assert!(holds, "law {}: {otherwise}", self.law);
    }

    /// Polls `service` ready and calls it.
    pub(super) async fn try_call(
        &self,
        service: &mut L::Service,
        request: Request<MockBody>,
    ) -> Result<Reply<L>, UpstreamError> {
        let shown = format!("{} {}", request.method(), request.uri());
        self.within(&shown, async {
            poll_fn(|cx| service.poll_ready(cx)).await?;
            service.call(request).await
        })
        .await
    }

    /// As [`try_call`](Self::try_call); an error breaks the law.
    pub(super) async fn call_on(
        &self,
        service: &mut L::Service,
        request: Request<MockBody>,
    ) -> Reply<L> {
        match self.try_call(service, request).await {
            Ok(response) => response,
            Err(error) => panic!("law {}: error instead of a response: {error}", self.law),
        }
    }

    /// Calls the first service.
    pub(super) async fn call(&self, request: Request<MockBody>) -> Reply<L> {
        self.call_on(&mut self.service.clone(), request).await
    }

    /// Reads the body of `response`.
    pub(super) async fn read(&self, response: Reply<L>) -> Received {
        self.within("the body", Received::from(response.into_body())).await
    }

    /// Calls the first service and reads the body.
    pub(super) async fn fetch(&self, request: Request<MockBody>) -> Received {
        let response = self.call(request).await;
        self.read(response).await
    }

    /// Whatever takes an hour of paused time will never come.
    pub(super) async fn within<F: Future>(&self, what: &str, future: F) -> F::Output {
        let limit = Duration::from_secs(3_600);
        match tokio::time::timeout(limit, future).await {
            Ok(output) => output,
            Err(_) => panic!("law {}: {what} hangs", self.law),
        }
    }

    /// Breaks the law if anything of the calls so far is left.
    pub(super) async fn check_nothing_is_left(&self, after: impl Display) {
        settle().await;
        let in_flight = self.upstream.in_flight();
        self.check(in_flight == 0, format_args!("{in_flight} in flight upstream {after}"));
        for (name, read) in &self.subject.gauges {
            let left = read();
            self.check(left == 0, format_args!("`{name}` is {left} {after}"));
        }
        let misuses = self.upstream.misuses();
        self.check(misuses == 0, format_args!("{misuses} calls without readiness {after}"));
    }
}

/// Lets spawned tasks run until they wait for something.
pub(super) async fn settle() {
    for _ in 0..64 {
        tokio::task::yield_now().await;
    }
}

/// Polls `future` once.
pub(super) async fn poll_once<F: Future + ?Sized>(mut future: Pin<&mut F>) -> Poll<F::Output> {
    poll_fn(|cx| Poll::Ready(future.as_mut().poll(cx))).await
}
