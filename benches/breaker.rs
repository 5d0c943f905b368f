//! The part of `overhead` that is about circuit breakers.
//!
//! - `breaker_closed`: as shipped, the body read to its end;
//! - `breaker_slow_call_timing`: calls are timed, for a rate of slow ones;
//! - `breaker_open`: an open circuit refuses;
//! - `breaker_per_key_1000`: a circuit for each of a thousand keys, in turn;
//! - `breaker_two_threads`: closed, while another thread does the same.
//!
//! failsafe and recloser have no layer: they stand in the plainest service that
//! can be made of them, which judges the head.

use std::convert::Infallible;
use std::num::NonZeroU32;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use axum::body::Body;
use bytes::Bytes;
use failsafe::CircuitBreaker;
use http::{HeaderMap, Request, Response, StatusCode};
use http_body_util::Full;
use recloser::Recloser;
use tower::{Layer, Service};
use tower_edge::breaker::{BreakerLayer, Trip, Window};
use tower_edge::core::{Classify, Key, Outcome, RequestHead, ResponseHead, Verdict};
use tower_edge_benches::{Answer, Bench, Beside, Calls, Reply, Requests, Scenario, Upstream};
use tower_resilience_circuitbreaker::CircuitBreakerLayer;

/// Adds the cases.
pub(crate) fn add(bench: &mut Bench, get: &Requests, called: Reply, upstream: Upstream) {
    let closed = Scenario::new("breaker_closed", get.clone(), upstream);
    bench.calls(&closed, "bare", called, |upstream| upstream);
    bench.calls(&closed, "tower-edge", called, |upstream| BreakerLayer::new().layer(upstream));
    bench.calls(&closed, "tower-resilience", called, resilience);
    bench.calls(&closed, "failsafe", called, failsafe);
    bench.calls(&closed, "recloser", called, recloser);

    let timed = Scenario::new("breaker_slow_call_timing", get.clone(), upstream);
    bench.calls(&timed, "bare", called, |upstream| upstream);
    bench.calls(&timed, "tower-edge", called, |upstream| timing().layer(upstream));
    bench.calls(&timed, "tower-resilience", called, resilience_timing);

    let open = Scenario::new("breaker_open", get.clone(), upstream);
    let refused = |bytes| Reply::new(StatusCode::SERVICE_UNAVAILABLE, bytes).without_upstream();
    bench.calls(&open, "tower-edge", refused(PROBLEM), |upstream| opening().layer(upstream));
    bench.calls(&open, "tower-resilience", refused(0), resilience_opening);

    let keys = Scenario::new("breaker_per_key_1000", get.clone(), upstream);
    bench.calls(&keys, "bare", called, |upstream| upstream);
    bench.calls(&keys, "tower-edge", called, |upstream| by_key().layer(upstream));

    beside(bench, "bare", get, called, move || upstream);
    beside(bench, "tower-edge", get, called, move || BreakerLayer::new().layer(upstream));
    beside(bench, "tower-resilience", get, called, move || resilience(upstream));
    beside(bench, "failsafe", get, called, move || failsafe(upstream));
    beside(bench, "recloser", get, called, move || recloser(upstream));
}

fn timing() -> BreakerLayer {
    let window = Window::time(Duration::from_secs(10));
    BreakerLayer::new().trip_on([Trip::failure_rate(0.5, window), Trip::slow_rate(0.5, window)])
}

/// Opens at its first call, for hours.
fn opening() -> BreakerLayer {
    struct Bad;
    impl Classify for Bad {
        fn head(&self, _: &ResponseHead<'_>) -> Verdict {
            Verdict::Settled(Outcome::Failure)
        }

        fn trailers(&self, _: Option<&HeaderMap>) -> Outcome {
            Outcome::Failure
        }
    }
    let layer = BreakerLayer::new().trip_on([Trip::consecutive(NonZeroU32::MIN)]);
    layer.open_for(24 * HOUR, 24 * HOUR).seed(1).classify(Bad)
}

fn by_key() -> BreakerLayer {
    let next = AtomicU64::new(0);
    let key = move |_: &RequestHead<'_>| {
        let number = next.fetch_add(1, Ordering::Relaxed) % 1_000;
        Some(Key::new(number.to_be_bytes()))
    };
    BreakerLayer::new().keyed_by(key, NonZeroU32::new(1_000).expect("not zero"))
}

fn resilience(upstream: Upstream) -> impl Breaking {
    let layer = CircuitBreakerLayer::builder().build().expect("the defaults are in order");
    Answering(layer.layer(upstream))
}

fn resilience_timing(upstream: Upstream) -> impl Breaking {
    let layer = CircuitBreakerLayer::builder().slow_call_rate_threshold(0.5);
    let layer = layer.slow_call_duration_threshold(Duration::from_secs(1));
    Answering(layer.build().expect("these settings are in order").layer(upstream))
}

fn resilience_opening(upstream: Upstream) -> impl Breaking {
    let layer = CircuitBreakerLayer::builder().minimum_number_of_calls(1).sliding_window_size(1);
    let bad = |_: &Result<Response<Full<Bytes>>, Infallible>| true;
    let layer = layer.wait_duration_in_open(24 * HOUR).failure_classifier(bad);
    Answering(layer.build().expect("these settings are in order").layer(upstream))
}

fn failsafe(upstream: Upstream) -> impl Breaking {
    let (window, backoff) = (Duration::from_secs(10), failsafe::backoff::constant(HOUR));
    let policy = failsafe::failure_policy::success_rate_over_time_window(0.5, 20, window, backoff);
    let breaker = failsafe::Config::new().failure_policy(policy).build();
    Guarded { upstream, guard: move |call: &mut dyn FnMut() -> Ended| breaker.call(call).is_ok() }
}

fn recloser(upstream: Upstream) -> impl Breaking {
    let breaker = Arc::new(Recloser::default());
    Guarded { upstream, guard: move |call: &mut dyn FnMut() -> Ended| breaker.call(call).is_ok() }
}

/// What all cases are that there are peers for.
trait Breaking:
    Service<Request<Body>, Response = Response<Full<Bytes>>, Error = Infallible, Future: Send>
    + Clone
    + Send
    + 'static
{
}

impl<S> Breaking for S where
    S: Service<Request<Body>, Response = Response<Full<Bytes>>, Error = Infallible, Future: Send>
        + Clone
        + Send
        + 'static
{
}

type Ended = Result<(), ()>;

/// A service around whatever runs calls and judges them.
#[derive(Clone)]
struct Guarded<G> {
    upstream: Upstream,
    guard: G,
}

impl<G> Service<Request<Body>> for Guarded<G>
where
    G: Fn(&mut dyn FnMut() -> Ended) -> bool + Clone + Unpin,
{
    type Response = Response<Full<Bytes>>;
    type Error = Infallible;
    type Future = GuardedFuture<G>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<Body>) -> GuardedFuture<G> {
        GuardedFuture { inner: self.upstream.call(request), guard: self.guard.clone() }
    }
}

struct GuardedFuture<G> {
    inner: Answer,
    guard: G,
}

impl<G> Future for GuardedFuture<G>
where
    G: Fn(&mut dyn FnMut() -> Ended) -> bool + Unpin,
{
    type Output = Result<Response<Full<Bytes>>, Infallible>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let Self { inner, guard } = self.get_mut();
        let mut answer = None;
        guard(&mut || {
            let Poll::Ready(Ok(response)) = Pin::new(&mut *inner).poll(cx) else { return Err(()) };
            let good = !response.status().is_server_error();
            answer = Some(response);
            good.then_some(()).ok_or(())
        });
        Poll::Ready(Ok(answer.unwrap_or_else(unavailable)))
    }
}

/// Makes a response of the error of a breaker that refuses.
#[derive(Clone)]
struct Answering<S>(S);

impl<S> Service<Request<Body>> for Answering<S>
where
    S: Service<Request<Body>, Response = Response<Full<Bytes>>, Future: Unpin>,
{
    type Response = Response<Full<Bytes>>;
    type Error = Infallible;
    type Future = AnsweringFuture<S::Future>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        self.0.poll_ready(cx).map(|_| Ok(()))
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        AnsweringFuture(self.0.call(request))
    }
}

struct AnsweringFuture<F>(F);

impl<F, E> Future for AnsweringFuture<F>
where
    F: Future<Output = Result<Response<Full<Bytes>>, E>> + Unpin,
{
    type Output = Result<Response<Full<Bytes>>, Infallible>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let answer = ready!(Pin::new(&mut self.0).poll(cx));
        Poll::Ready(Ok(answer.unwrap_or_else(|_| unavailable())))
    }
}

fn unavailable() -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::default());
    *response.status_mut() = StatusCode::SERVICE_UNAVAILABLE;
    response
}

/// Adds a case of `breaker_two_threads`.
fn beside<S, B>(
    bench: &mut Bench,
    implementation: &'static str,
    get: &Requests,
    called: Reply,
    service: impl Fn() -> S + 'static,
) where
    S: Service<Request<Body>, Response = Response<B>, Error = Infallible> + Clone + Send + 'static,
    B: http_body::Body<Error = Infallible> + 'static,
{
    let get = get.clone();
    bench.case("breaker_two_threads", implementation, move || {
        let service = service();
        let calls = |service| Calls::new(service, get.clone(), called);
        Beside::new(calls(service.clone()), calls(service))
    });
}

const HOUR: Duration = Duration::from_secs(3_600);
/// The length of the JSON that says why.
const PROBLEM: usize = 78;
