//! Layers for the tests of the laws.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http::{Request, Response};
use http_body::{Body, Frame};
use pin_project::pin_project;
use tower::{Layer, Service};
use tower_edge_core::{End, Expected, ResponseHead, Tap, TapBody};
use tower_edge_testkit::{MockBody, MockBodyError, Upstream, UpstreamError};

/// A right one: counts calls, and those under way until the end of the body.
#[derive(Clone, Debug, Default)]
pub(crate) struct Watch {
    pub(crate) state: Arc<State>,
}

#[derive(Debug, Default)]
pub(crate) struct State {
    pub(crate) calls: AtomicU64,
    pub(crate) under_way: AtomicU64,
}

impl Watch {
    pub(crate) fn calls(&self) -> impl Fn() -> u64 + use<> {
        let state = self.state.clone();
        move || state.calls.load(Ordering::Relaxed)
    }

    pub(crate) fn under_way(&self) -> impl Fn() -> u64 + use<> {
        let state = self.state.clone();
        move || state.under_way.load(Ordering::Relaxed)
    }
}

impl<S> Layer<S> for Watch {
    type Service = WatchService<S>;

    fn layer(&self, inner: S) -> Self::Service {
        WatchService { inner, state: self.state.clone() }
    }
}

#[derive(Clone, Debug)]
pub(crate) struct WatchService<S> {
    pub(crate) inner: S,
    pub(crate) state: Arc<State>,
}

impl<S, A, B> Service<Request<A>> for WatchService<S>
where
    S: Service<Request<A>, Response = Response<B>>,
    B: Body,
{
    type Response = Response<TapBody<B, UnderWay>>;
    type Error = S::Error;
    type Future = WatchFuture<S::Future>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: Request<A>) -> Self::Future {
        self.state.calls.fetch_add(1, Ordering::Relaxed);
        let method = request.method().clone();
        let under_way = Some(UnderWay::new(&self.state));
        WatchFuture { inner: self.inner.call(request), method, under_way }
    }
}

#[pin_project]
#[derive(Debug)]
pub(crate) struct WatchFuture<F> {
    #[pin]
    inner: F,
    method: http::Method,
    under_way: Option<UnderWay>,
}

impl<F, B, E> Future for WatchFuture<F>
where
    F: Future<Output = Result<Response<B>, E>>,
    B: Body,
{
    type Output = Result<Response<TapBody<B, UnderWay>>, E>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.project();
        let response = ready!(this.inner.poll(cx))?;
        let under_way = this.under_way.take().expect("polled after completion");
        let head = ResponseHead::new(&response);
        let expected = Expected::of(this.method, &head, &response.body().size_hint());
        Poll::Ready(Ok(response.map(|body| TapBody::new(body, under_way, expected))))
    }
}

#[derive(Debug)]
pub(crate) struct UnderWay(Arc<State>);

impl UnderWay {
    pub(crate) fn new(state: &Arc<State>) -> Self {
        state.under_way.fetch_add(1, Ordering::Relaxed);
        Self(state.clone())
    }
}

impl<D> Tap<D> for UnderWay {
    fn data(&mut self, _: &D) {}

    fn end(&mut self, _: End<'_>) {}
}

impl Drop for UnderWay {
    fn drop(&mut self) {
        self.0.under_way.fetch_sub(1, Ordering::Relaxed);
    }
}

/// A layer that keeps the contract but for what `call` does.
pub(crate) fn calling<C, F, B>(call: C) -> impl Layer<Upstream, Service = Bent<C>>
where
    C: FnMut(&mut Upstream, Request<MockBody>) -> F + Clone,
    F: Future<Output = Result<Response<B>, UpstreamError>>,
{
    tower::layer::layer_fn(move |inner| Bent { inner, call: call.clone() })
}

/// A layer that keeps the contract but for what `answer` makes of the response.
pub(crate) fn answering<A, B>(answer: A) -> impl Layer<Upstream, Service: BentService<B>>
where
    A: Fn(Response<MockBody>) -> Response<B> + Clone + Send + 'static,
    B: 'static,
{
    calling(move |inner, request| {
        let (answer, response) = (answer.clone(), inner.call(request));
        async move { response.await.map(answer) }
    })
}

/// A layer that keeps the contract but for how it polls the upstream's body.
pub(crate) fn polling<P>(poll: P) -> impl Layer<Upstream, Service: BentService<BentBody<P>>>
where
    P: FnMut(Pin<&mut MockBody>, &mut Context<'_>) -> FramePoll + Clone + Send + 'static,
{
    answering(move |response| response.map(|body| BentBody { body, poll: poll.clone() }))
}

/// What [`answering`] and [`polling`] make.
pub(crate) trait BentService<B>:
    Service<Request<MockBody>, Response = Response<B>, Error = UpstreamError> + Clone + Send + 'static
{
}

impl<S, B> BentService<B> for S where
    S: Service<Request<MockBody>, Response = Response<B>, Error = UpstreamError>
        + Clone
        + Send
        + 'static
{
}

#[derive(Clone, Debug)]
pub(crate) struct Bent<C> {
    inner: Upstream,
    call: C,
}

impl<C, F, B> Service<Request<MockBody>> for Bent<C>
where
    C: FnMut(&mut Upstream, Request<MockBody>) -> F,
    F: Future<Output = Result<Response<B>, UpstreamError>>,
{
    type Response = Response<B>;
    type Error = UpstreamError;
    type Future = F;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), UpstreamError>> {
        Service::<Request<MockBody>>::poll_ready(&mut self.inner, cx)
    }

    fn call(&mut self, request: Request<MockBody>) -> F {
        (self.call)(&mut self.inner, request)
    }
}

#[derive(Debug)]
pub(crate) struct BentBody<P> {
    pub(crate) body: MockBody,
    pub(crate) poll: P,
}

pub(crate) type FramePoll = Poll<Option<Result<Frame<Bytes>, MockBodyError>>>;

impl<P> Unpin for BentBody<P> {}

/// Leaves `size_hint` out.
impl<P> Body for BentBody<P>
where
    P: FnMut(Pin<&mut MockBody>, &mut Context<'_>) -> FramePoll,
{
    type Data = Bytes;
    type Error = MockBodyError;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> FramePoll {
        let this = self.get_mut();
        (this.poll)(Pin::new(&mut this.body), cx)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }
}
