use std::mem;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Buf;
use http::{HeaderName, Method, Request, Response, StatusCode};
use http_body::Body;
use tower_edge_core::{
    End, Event, Expected, Judge, Outcome, RequestHead, ResponseHead, Route, Tap, Trace,
};

use crate::detail::{Detail, is_long_lived};
use crate::intervals::slot;
use crate::labels::{Labels, Protocol, registered};
use crate::layer::Settings;
use crate::records::SeriesId;
use crate::series::Ended;
use crate::server_timing;
use crate::slow::Slow;

/// A request in flight: from the call to the end of the response's body.
///
/// Whoever holds it may drop it at any moment: then the request was abandoned.
#[derive(Debug)]
pub(crate) struct Call {
    settings: Arc<Settings>,
    start: Instant,
    /// The same, since the first request.
    began: Duration,
    protocol: Protocol,
    /// Whether the facade's gauge has it.
    counted: bool,
    /// Whether the client is told the times.
    times: bool,
    request_bytes: Option<u64>,
    response_bytes: u64,
    state: State,
}

impl Call {
    pub(crate) fn begin<B: Body>(settings: Arc<Settings>, request: &mut Request<B>) -> Self {
        let start = Trace::read(&settings.clock);
        let times = settings.times(request);
        let head = RequestHead::new(request);
        let trace = (times || settings.slow_log.is_on()).then(Box::default);
        let protocol = Protocol::of(&head);
        Self {
            start,
            began: settings.records.since_start(start),
            protocol,
            counted: settings.records.begin(protocol),
            times,
            request_bytes: request.body().size_hint().exact(),
            response_bytes: 0,
            state: State::Waiting { route: Route::of(&head), trace },
            settings,
        }
    }

    /// Calls the service, inside the request's trace if it has one.
    pub(crate) fn scope_call<R>(&mut self, f: impl FnOnce() -> R) -> R {
        match &mut self.state {
            State::Waiting { trace: Some(trace), .. } => trace.scope_call(self.start, f),
            _ => f(),
        }
    }

    /// Polls the service's future, inside the trace as well.
    pub(crate) fn scope<R>(&mut self, f: impl FnOnce() -> R) -> R {
        match &mut self.state {
            State::Waiting { trace: Some(trace), .. } => trace.scope(f),
            _ => f(),
        }
    }

    /// Takes note of the head, to go on in the body: a [`Tap`] of so many bytes.
    pub(crate) fn answered<B: Body>(&mut self, response: &mut Response<B>) -> Expected {
        let elapsed = self.elapsed();
        let head = ResponseHead::new(response);
        let method = self.protocol.method().unwrap_or(&Method::GET);
        let expected = Expected::of(method, &head, &response.body().size_hint());
        let mut judge = Judge::new(&*self.settings.classify, &head);
        if let Some(slow) = self.settings.slow_after {
            judge = judge.slow_after(slow);
        }
        let (detail, long_lived) = (Detail::of(&head), is_long_lived(self.protocol, &head));
        let (route, trace) = self.waited();
        let series = self.series(Some(registered(response.status())), route, long_lived);
        self.settings.records.series(series).head(self.slot(elapsed), elapsed);
        if self.times
            && let Some(value) =
                trace.as_ref().and_then(|trace| server_timing::value(trace, elapsed))
        {
            // A head with no room for another field goes without it.
            let _ = response.headers_mut().try_append(SERVER_TIMING, value);
        }
        let trace = trace.filter(|_| self.settings.slow_log.is_on());
        self.state = State::Answered { series, judge, detail, first_byte: elapsed, trace };
        expected
    }

    /// Ends without a response, by an error of the service.
    pub(crate) fn failed(&mut self) {
        let elapsed = self.elapsed();
        self.end_unanswered(Outcome::Failure, elapsed);
    }

    fn end_unanswered(&mut self, outcome: Outcome, elapsed: Duration) {
        let (route, trace) = self.waited();
        let series = self.series(None, route, false);
        let ended = self.ended(outcome, elapsed, Detail::default());
        self.record(series, &ended, None, trace.as_deref());
    }

    fn end_body(&mut self, end: &End<'_>) {
        if let State::Answered { series, judge, detail, first_byte, trace } =
            mem::replace(&mut self.state, State::Ended)
        {
            let elapsed = self.elapsed();
            let outcome = judge.end(&*self.settings.classify, end, elapsed);
            let ended = self.ended(outcome, elapsed, detail);
            self.record(series, &ended, Some(first_byte), trace.as_deref());
        }
    }

    fn record(
        &self,
        series: SeriesId,
        ended: &Ended,
        first_byte: Option<Duration>,
        trace: Option<&Trace>,
    ) {
        let series = self.settings.records.series(series);
        let log = &self.settings.slow_log;
        if !series.is_long_lived() && log.is_slow(ended.elapsed, series.p99()) {
            let slow = Slow { labels: series.labels(), ended, first_byte, trace };
            log.tell(&slow, self.began + ended.elapsed);
        }
        series.end(self.slot(ended.elapsed), ended);
    }

    fn ended(&self, outcome: Outcome, elapsed: Duration, detail: Detail) -> Ended {
        let Self { request_bytes, response_bytes, .. } = *self;
        Ended { outcome, elapsed, detail, request_bytes, response_bytes }
    }

    /// Leaves the waiting state, with the route that the request came with or
    /// that a router noted since.
    fn waited(&mut self) -> (Option<Route>, Option<Box<Trace>>) {
        let State::Waiting { route, trace } = mem::replace(&mut self.state, State::Ended) else {
            return (None, None);
        };
        let noted = |trace: &Trace| trace.route().cloned();
        let route = route.or_else(|| match &trace {
            Some(trace) => noted(trace),
            None => Trace::with(|trace| noted(trace)).flatten(),
        });
        (route, trace)
    }

    fn series(
        &self,
        status: Option<StatusCode>,
        route: Option<Route>,
        long_lived: bool,
    ) -> SeriesId {
        let records = &self.settings.records;
        let id = records.find(Labels { protocol: self.protocol, status, route, long_lived });
        if records.overflows_first(id) {
            self.settings.tell(&Event::SeriesLimitReached { limit: records.max_series() });
        }
        id
    }

    fn slot(&self, elapsed: Duration) -> u64 {
        slot(self.began + elapsed)
    }

    fn elapsed(&self) -> Duration {
        self.settings.clock.since(self.start)
    }
}

impl<D: Buf> Tap<D> for Call {
    fn data(&mut self, data: &D) {
        self.response_bytes += data.remaining() as u64;
    }

    fn end(&mut self, end: End<'_>) {
        self.end_body(&end);
    }
}

/// The one place where a request leaves flight, whatever panics before.
impl Drop for Call {
    fn drop(&mut self) {
        if matches!(self.state, State::Waiting { .. }) {
            let elapsed = self.elapsed();
            self.end_unanswered(Outcome::Abandoned { elapsed }, elapsed);
        }
        self.settings.records.end(self.protocol, self.counted);
    }
}

#[derive(Debug)]
enum State {
    Waiting {
        route: Option<Route>,
        trace: Option<Box<Trace>>,
    },
    Answered {
        series: SeriesId,
        judge: Judge,
        detail: Detail,
        first_byte: Duration,
        trace: Option<Box<Trace>>,
    },
    Ended,
}

const SERVER_TIMING: HeaderName = HeaderName::from_static("server-timing");
