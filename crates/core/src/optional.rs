use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use http::Response;
use pin_project::pin_project;
use tower_layer::Layer;
use tower_service::Service;

use crate::EitherBody;

/// A layer that may be left out at run time.
///
/// Unlike `tower::util::option_layer` it lets the layer change the type of the
/// response body: the body becomes an [`EitherBody`].
#[derive(Clone, Copy, Debug)]
#[must_use]
pub struct Optional<L>(Option<L>);

impl<L> From<L> for Optional<L> {
    fn from(layer: L) -> Self {
        Self(Some(layer))
    }
}

impl<L> From<Option<L>> for Optional<L> {
    fn from(layer: Option<L>) -> Self {
        Self(layer)
    }
}

impl<L: Layer<S>, S> Layer<S> for Optional<L> {
    type Service = OptionalService<L::Service, S>;

    fn layer(&self, inner: S) -> Self::Service {
        OptionalService(match &self.0 {
            Some(layer) => Either::With(layer.layer(inner)),
            None => Either::Without(inner),
        })
    }
}

/// The service that [`Optional`] makes.
#[derive(Clone, Debug)]
pub struct OptionalService<A, B>(Either<A, B>);

impl<A, B, Request, BodyA, BodyB> Service<Request> for OptionalService<A, B>
where
    A: Service<Request, Response = Response<BodyA>>,
    B: Service<Request, Response = Response<BodyB>, Error = A::Error>,
{
    type Response = Response<EitherBody<BodyA, BodyB>>;
    type Error = A::Error;
    type Future = OptionalFuture<A::Future, B::Future>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        match &mut self.0 {
            Either::With(service) => service.poll_ready(cx),
            Either::Without(service) => service.poll_ready(cx),
        }
    }

    fn call(&mut self, request: Request) -> Self::Future {
        OptionalFuture(match &mut self.0 {
            Either::With(service) => Either::With(service.call(request)),
            Either::Without(service) => Either::Without(service.call(request)),
        })
    }
}

/// The future of [`OptionalService`]; dropping it drops the one it holds.
#[pin_project]
#[derive(Debug)]
pub struct OptionalFuture<A, B>(#[pin] Either<A, B>);

impl<A, B, BodyA, BodyB, E> Future for OptionalFuture<A, B>
where
    A: Future<Output = Result<Response<BodyA>, E>>,
    B: Future<Output = Result<Response<BodyB>, E>>,
{
    type Output = Result<Response<EitherBody<BodyA, BodyB>>, E>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        Poll::Ready(match self.project().0.project() {
            EitherProj::With(future) => ready!(future.poll(cx)).map(|r| r.map(EitherBody::with)),
            EitherProj::Without(future) => {
                ready!(future.poll(cx)).map(|r| r.map(EitherBody::without))
            }
        })
    }
}

#[pin_project(project = EitherProj)]
#[derive(Clone, Debug)]
enum Either<A, B> {
    With(#[pin] A),
    Without(#[pin] B),
}
