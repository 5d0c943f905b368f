use std::future::poll_fn;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::sync::atomic::{AtomicU16, Ordering};
use std::task::Poll;
use std::time::{Duration, SystemTime};

use http::{Request, Response};
use tower::{Layer, ServiceExt};
use tower_edge_breaker::{
    Breaker, BreakerBody, BreakerHandle, BreakerLayer, CircuitSnapshot, State,
};
use tower_edge_core::Clock;
use tower_edge_testkit::{Answer, Gate, MockBody, Received, Upstream, UpstreamHandle};

/// A breaker over an upstream that answers with the status that is set, and
/// under paths of its own with something else.
pub(crate) struct Play {
    pub(crate) service: Breaker<Upstream>,
    pub(crate) handle: BreakerHandle,
    pub(crate) upstream: UpstreamHandle,
    /// Held by `/hold`.
    pub(crate) gate: Gate,
    status: Arc<AtomicU16>,
}

pub(crate) type Reply = Response<BreakerBody<MockBody>>;

impl Play {
    /// Sets `layer` up, with a clock that follows the paused time, open for 10
    /// seconds to the nanosecond.
    pub(crate) fn new(layer: BreakerLayer) -> Self {
        let (status, gate) = (Arc::new(AtomicU16::new(200)), Gate::closed());
        let (set, held) = (status.clone(), gate.clone());
        let (upstream, calls) = Upstream::new(move |_, head| {
            let status = set.load(Ordering::Relaxed);
            let response = |body| Response::builder().status(status).body(body).unwrap();
            match head.uri().path() {
                "/never" => Answer::never(),
                "/hold" => Answer::from(response(MockBody::new())).hold(&held),
                "/stuck" => response(MockBody::new().data("a").never()).into(),
                "/broken" => response(MockBody::new().data("a").fail()).into(),
                path => {
                    let wanted: Option<u16> = path[1..].parse().ok();
                    let mut response = response(MockBody::new().data("ok"));
                    if let Some(wanted) = wanted {
                        *response.status_mut() = wanted.try_into().unwrap();
                    }
                    response.into()
                }
            }
        });
        let layer = layer.clock(Clock::anchored(SystemTime::UNIX_EPOCH));
        let handle = layer.handle();
        Self { service: layer.layer(upstream), handle, upstream: calls, gate, status }
    }

    /// What the upstream answers from now on.
    pub(crate) fn answer(&self, status: u16) {
        self.status.store(status, Ordering::Relaxed);
    }

    /// The future of a request.
    pub(crate) fn request(
        &self,
        path: &str,
    ) -> Pin<Box<dyn Future<Output = Reply> + Send + 'static>> {
        let (service, request) = (self.service.clone(), Request::get(path));
        let request = request.body(MockBody::new()).unwrap();
        Box::pin(async { service.oneshot(request).await.unwrap() })
    }

    /// Asks and reads to the end; gives the status.
    pub(crate) async fn get(&self, path: &str) -> u16 {
        let response = self.request(path).await;
        let status = response.status().as_u16();
        Received::from(response.into_body()).await;
        status
    }

    /// As [`get`](Self::get), so many times, for the statuses that are not those
    /// of the upstream.
    pub(crate) async fn gets(&self, path: &str, times: u32) -> u64 {
        let before = self.upstream.calls();
        for _ in 0..times {
            self.get(path).await;
        }
        self.upstream.calls() - before
    }

    /// Fails until the circuit is open.
    pub(crate) async fn trip(&self) {
        self.answer(500);
        for _ in 0..1_000 {
            if self.state() == State::Open {
                return;
            }
            self.get("/").await;
        }
        panic!("it stays {:?}", self.snapshot());
    }

    /// Goes on to the moment at which an open circuit probes.
    pub(crate) async fn until_due(&self) {
        let wait = self.snapshot().retry_in.unwrap();
        tokio::time::advance(wait).await;
    }

    pub(crate) fn snapshot(&self) -> CircuitSnapshot {
        self.handle.snapshot()
    }

    pub(crate) fn state(&self) -> State {
        self.snapshot().state
    }
}

/// Polls a future once.
pub(crate) async fn poll_once<F: Future + ?Sized>(mut future: Pin<&mut F>) -> Poll<F::Output> {
    poll_fn(|cx| Poll::Ready(future.as_mut().poll(cx))).await
}

/// Polls a future once, which is pending.
pub(crate) async fn is_pending<F: Future + Unpin>(future: &mut F) -> bool {
    poll_once(pin!(future)).await.is_pending()
}

/// Lets spawned tasks run until they wait for something.
pub(crate) async fn settle() {
    for _ in 0..32 {
        tokio::task::yield_now().await;
    }
}

pub(crate) const fn secs(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}
