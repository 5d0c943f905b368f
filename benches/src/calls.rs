use std::fmt::Debug;
use std::future::poll_fn;
use std::hint::black_box;
use std::pin::pin;

use axum::body::Body;
use bytes::Buf;
use http::{Request, Response, StatusCode};
use tower_service::Service;

use crate::stage::Executor;
use crate::{Requests, Stage, Upstream, Work};

/// Calls a service: readiness, head and the whole body.
#[derive(Debug)]
pub struct Calls<S> {
    service: S,
    requests: Requests,
    expected: Reply,
    waiting: Vec<Request<Body>>,
}

impl<S> Calls<S> {
    /// Sends `requests` to `service`, which is expected to reply so once it is
    /// warm.
    pub fn new(service: S, requests: Requests, expected: Reply) -> Self {
        Self { service, requests, expected, waiting: Vec::with_capacity(CHUNK) }
    }
}

impl<S, B> Work for Calls<S>
where
    S: Service<Request<Body>, Response = Response<B>>,
    S::Error: Debug,
    B: http_body::Body,
    B::Error: Debug,
{
    fn prove(&mut self, stage: &mut Stage) {
        for warm in [false, true] {
            let (request, before) = (self.requests.next(), Upstream::calls());
            let mut reply = None;
            stage.measure(1, |executor| reply = Some(send(executor, &mut self.service, request)));
            let (status, bytes) = reply.expect("a measurement runs its work");
            let calls = Upstream::calls() - before;
            if warm {
                let bytes = self.expected.bytes.map(|_| bytes);
                assert_eq!(Reply { status, bytes, calls }, self.expected, "not this scenario");
            }
        }
    }

    fn run(&mut self, times: u64, stage: &mut Stage) {
        for chunk in chunks(times) {
            self.waiting.extend((0..chunk).map(|_| self.requests.next()));
            stage.measure(chunk, |executor| {
                for request in self.waiting.drain(..) {
                    black_box(send(executor, &mut self.service, request));
                }
            });
        }
    }
}

/// What a scenario expects of each request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Reply {
    status: StatusCode,
    /// None where any number will do.
    bytes: Option<usize>,
    calls: u64,
}

impl Reply {
    /// A status and so many bytes, for one call of the upstream.
    pub const fn new(status: StatusCode, bytes: usize) -> Self {
        Self { status, bytes: Some(bytes), calls: 1 }
    }

    /// A status and any number of bytes, for one call of the upstream.
    pub const fn of_any_size(status: StatusCode) -> Self {
        Self { status, bytes: None, calls: 1 }
    }

    /// The same without calling the upstream.
    #[must_use]
    pub const fn without_upstream(self) -> Self {
        Self { calls: 0, ..self }
    }
}

/// Splits `times` into what is prepared and measured at once: enough that
/// reading the clock costs little, few enough to stay in the nearest cache.
pub(crate) fn chunks(times: u64) -> impl Iterator<Item = u64> {
    let chunk = CHUNK as u64;
    let rest = times % chunk;
    let whole = (0..times / chunk).map(move |_| chunk);
    whole.chain((rest > 0).then_some(rest))
}

fn send<S, B>(
    executor: &Executor<'_>,
    service: &mut S,
    request: Request<Body>,
) -> (StatusCode, usize)
where
    S: Service<Request<Body>, Response = Response<B>>,
    S::Error: Debug,
    B: http_body::Body,
    B::Error: Debug,
{
    executor.block_on(async {
        poll_fn(|cx| service.poll_ready(cx)).await.expect("no service of a bench fails");
        let response = service.call(request).await.expect("no service of a bench fails");
        let status = response.status();
        let mut body = pin!(response.into_body());
        let mut bytes = 0;
        while let Some(frame) = poll_fn(|cx| body.as_mut().poll_frame(cx)).await {
            let frame = frame.expect("no body of a bench breaks off");
            bytes += frame.data_ref().map_or(0, Buf::remaining);
        }
        (status, bytes)
    })
}

pub(crate) const CHUNK: usize = 32;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::meter::Meter;

    const URI: &str = "http://bench.test/";

    fn ok(bytes: usize) -> Reply {
        Reply::new(StatusCode::OK, bytes)
    }

    #[test]
    fn each_request_is_sent_once() {
        let mut calls = Calls::new(Upstream::new(10), Requests::get(URI), ok(10));
        let mut stage = Stage::new();
        calls.prove(&mut stage);
        for times in [0, 1, 32, 100] {
            let before = Upstream::calls();
            stage.run(&mut calls, times, Meter::off());
            assert_eq!(Upstream::calls() - before, times);
        }
    }

    #[test]
    fn the_upstream_itself_allocates_its_fields_only() {
        let requests = || Requests::get(URI).field("accept", "*/*").distinct();
        let plain = Upstream::new(1_024);
        for (upstream, allocations) in [(plain, "0"), (plain.field(("a", "b")), "2")] {
            let mut calls = Calls::new(upstream, requests(), ok(1_024));
            let meter = Stage::new().run(&mut calls, 1_000, Meter::allocations());
            assert_eq!(meter.counts().allocations_each(), allocations);
            assert_eq!(meter.counts().times, 1_000);
        }
    }

    #[test]
    #[should_panic(expected = "not this scenario")]
    fn a_case_that_does_something_else_is_not_measured() {
        let reply = ok(10).without_upstream();
        Calls::new(Upstream::new(10), Requests::get(URI), reply).prove(&mut Stage::new());
    }
}
