use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Buf;
use http::{HeaderName, Method, Request, Response};
use http_body::{Body, SizeHint};
use tower_edge_core::{
    End, Event, Expected, Judge, Outcome, RequestHead, ResponseHead, Route, Tap, Trace,
};

use crate::detail::Detail;
use crate::ending::Ending;
use crate::intervals::slot;
use crate::labels::{Labels, Protocol, RouteId, registered};
use crate::layer::Settings;
use crate::records::SeriesId;
use crate::series::{Ended, Series};
use crate::server_timing;
use crate::slow::Slow;
use crate::tally::Sample;

/// A request in flight, from the call to the head of the response.
///
/// Whoever holds it may drop it at any moment: then the request was abandoned.
#[derive(Debug)]
pub(crate) struct Call {
    /// Taken when the head is there, or the service failed.
    waiting: Option<Waiting>,
}

impl Call {
    pub(crate) fn begin<B: Body>(settings: &Arc<Settings>, request: &mut Request<B>) -> Self {
        let now = Trace::read(&settings.clock);
        let times = settings.times(request.headers_mut());
        let bytes = request.body().size_hint().exact();
        Self {
            waiting: Some(Waiting::new(settings, now, &RequestHead::new(request), bytes, times)),
        }
    }

    /// The request's trace, if it has one, and when it was called: the service is
    /// called and polled inside of it.
    pub(crate) fn trace(&mut self) -> Option<(&mut Trace, Instant)> {
        let Waiting { trace, flight, .. } = self.waiting.as_mut()?;
        let trace = trace.as_mut()?;
        Some((trace, flight.settings.records.at(flight.began)))
    }

    /// Takes note of the head, to go on in the body.
    pub(crate) fn answered<B: Body>(
        &mut self,
        response: &mut Response<B>,
    ) -> Option<(Reading, Expected)> {
        let times = self.waiting.as_ref()?.times;
        let size = response.body().size_hint();
        let (mut reading, expected) = self.head(&ResponseHead::new(response), &size)?;
        if times {
            reading.goes_on();
            reading.tell_times(response);
        }
        Some((reading, expected))
    }

    /// The part of it that is the same for all bodies.
    fn head(&mut self, head: &ResponseHead<'_>, size: &SizeHint) -> Option<(Reading, Expected)> {
        // A judge that panics leaves a request that was abandoned.
        let judge = self.waiting.as_ref()?.judge(head);
        self.waiting.take().map(|waiting| waiting.answered(head, size, judge))
    }

    /// Ends without a response, by an error of the service.
    pub(crate) fn failed(&mut self) {
        if let Some(waiting) = self.waiting.take() {
            waiting.end(|_| Outcome::Failure);
        }
    }
}

impl Drop for Call {
    fn drop(&mut self) {
        if let Some(waiting) = self.waiting.take() {
            waiting.end(|elapsed| Outcome::Abandoned { elapsed });
        }
    }
}

/// The one place where a request leaves flight, whatever panics before.
#[derive(Debug)]
struct Flight {
    settings: Arc<Settings>,
    /// When it was called, in nanoseconds since the first request.
    began: u64,
    protocol: Protocol,
    /// Whether the facade's gauge has it.
    counted: bool,
}

impl Flight {
    /// The time by now: in nanoseconds since the first request, and since the call.
    fn time(&self) -> (u64, u64) {
        let now = self.settings.records.nanos(self.settings.clock.now());
        (now, now.saturating_sub(self.began))
    }

    fn find(&self, labels: Labels) -> SeriesId {
        let records = &self.settings.records;
        let id = records.find(labels);
        if records.overflows_first(id) {
            self.settings.tell(&Event::SeriesLimitReached { limit: records.max_series() });
        }
        id
    }

    /// The route that the request came with, or that a router noted since.
    fn route(&self, known: RouteId, trace: Option<&Trace>) -> RouteId {
        if known != RouteId::NONE {
            return known;
        }
        let number = |route: &Route| self.settings.records.route(route.as_str());
        let noted = match trace {
            Some(trace) => trace.route().map(number),
            None => Trace::with(|trace| trace.route().map(number)).flatten(),
        };
        noted.unwrap_or(RouteId::NONE)
    }

    /// Counts the end of the request, at the time `now`.
    fn end<'a>(&self, id: SeriesId, now: u64, ended: &Ended, told: impl FnOnce() -> Told<'a>) {
        let series = self.settings.records.series(id);
        if self.settings.slow_log.is_on() && !series.is_long_lived() {
            self.log_if_slow(series, now, ended, &told());
        }
        series.end(slot(now), ended);
    }

    #[cold]
    fn log_if_slow(&self, series: &Series, now: u64, ended: &Ended, told: &Told<'_>) {
        let log = &self.settings.slow_log;
        let elapsed = Duration::from_nanos(ended.sample.nanos);
        let p99 = log.times_p99.and_then(|_| series.p99());
        if log.is_slow(elapsed, p99) {
            let Told { outcome, first_byte, trace } = *told;
            let slow = Slow { series, outcome, elapsed, first_byte, trace };
            log.tell(&slow, Duration::from_nanos(now));
        }
    }
}

impl Drop for Flight {
    fn drop(&mut self) {
        self.settings.records.end(self.protocol, self.counted);
    }
}

/// What only the log of slow requests asks for.
struct Told<'a> {
    outcome: Outcome,
    first_byte: Option<Duration>,
    trace: Option<&'a Trace>,
}

/// A request whose head is still to come.
#[derive(Debug)]
struct Waiting {
    flight: Flight,
    route: RouteId,
    request_bytes: Known,
    /// Whether the client is told the times.
    times: bool,
    trace: Option<Box<Trace>>,
}

impl Waiting {
    fn new(
        settings: &Arc<Settings>,
        now: Instant,
        head: &RequestHead<'_>,
        request_bytes: Option<u64>,
        times: bool,
    ) -> Self {
        let protocol = Protocol::of(head);
        let flight = Flight {
            began: settings.records.nanos(now),
            protocol,
            counted: settings.records.begin(protocol),
            settings: settings.clone(),
        };
        Self {
            flight,
            route: settings.route(head),
            request_bytes: Known::from(request_bytes),
            times,
            trace: (times || settings.slow_log.is_on()).then(Box::default),
        }
    }

    fn judge(&self, response: &ResponseHead<'_>) -> Judge {
        let settings = &self.flight.settings;
        let judge = Judge::new(&*settings.classify, response);
        match settings.slow_after {
            Some(slow) => judge.slow_after(slow),
            None => judge,
        }
    }

    fn answered(
        self,
        head: &ResponseHead<'_>,
        size: &SizeHint,
        judge: Judge,
    ) -> (Reading, Expected) {
        let Self { flight, route, request_bytes, trace, .. } = self;
        let method = flight.protocol.method().unwrap_or(&Method::GET);
        let expected = Expected::of(method, head, size);
        let detail = Detail::of(flight.protocol, head);
        let labels = Labels {
            protocol: flight.protocol,
            status: Some(registered(head.status())),
            route: flight.route(route, trace.as_deref()),
            long_lived: detail.long_lived,
        };
        let reading = Reading {
            series: flight.find(labels),
            detail,
            judge: Some(judge),
            request_bytes,
            response_bytes: 0,
            first_byte: Known::NOT,
            trace,
            flight,
        };
        (reading, expected)
    }

    /// Ends without a response.
    #[cold]
    #[inline(never)]
    fn end(self, outcome: impl FnOnce(Duration) -> Outcome) {
        let (now, nanos) = self.flight.time();
        let outcome = outcome(Duration::from_nanos(nanos));
        let trace = self.trace.as_deref();
        let (protocol, route) = (self.flight.protocol, self.flight.route(self.route, trace));
        let series = self.flight.find(Labels { protocol, status: None, route, long_lived: false });
        let sample = Sample {
            nanos,
            at_once: false,
            cache: None,
            request_bytes: self.request_bytes.get(),
            response_bytes: None,
        };
        let ended = Ended { ending: Ending::of(outcome, None), sample };
        self.flight.end(series, now, &ended, || Told { outcome, first_byte: None, trace });
    }
}

/// A request whose response is read: from its head to the end of its body.
#[derive(Debug)]
pub(crate) struct Reading {
    flight: Flight,
    series: SeriesId,
    /// Taken at the end.
    judge: Option<Judge>,
    detail: Detail,
    request_bytes: Known,
    response_bytes: u64,
    /// In nanoseconds since the call.
    first_byte: Known,
    trace: Option<Box<Trace>>,
}

impl Reading {
    /// Takes note of the first byte, if it was not the last one as well: then the
    /// clock is read once for both.
    pub(crate) fn goes_on(&mut self) {
        if self.first_byte == Known::NOT {
            let (now, nanos) = self.flight.time();
            self.flight.settings.records.series(self.series).first_byte(slot(now), nanos);
            self.first_byte = Known(nanos);
        }
    }

    fn tell_times<B>(&self, response: &mut Response<B>) {
        let elapsed = Duration::from_nanos(self.first_byte.get().unwrap_or(0));
        let value = self.trace.as_ref().and_then(|trace| server_timing::value(trace, elapsed));
        if let Some(value) = value {
            // A head with no room for another field goes without it.
            let _ = response.headers_mut().try_append(SERVER_TIMING, value);
        }
    }

    /// Takes note of the end; the same for all kinds of data.
    fn ended(&mut self, end: &End<'_>) {
        let Some(judge) = self.judge.take() else { return };
        let (now, nanos) = self.flight.time();
        let elapsed = Duration::from_nanos(nanos);
        let outcome = judge.end(&*self.flight.settings.classify, end, elapsed);
        let sample = Sample {
            nanos,
            at_once: self.first_byte == Known::NOT,
            cache: self.detail.cache,
            request_bytes: self.request_bytes.get(),
            response_bytes: Some(self.response_bytes),
        };
        let ended = Ended { ending: Ending::of(outcome, self.detail.refused), sample };
        self.flight.end(self.series, now, &ended, || Told {
            outcome,
            first_byte: Some(Duration::from_nanos(self.first_byte.get().unwrap_or(nanos))),
            trace: self.trace.as_deref(),
        });
    }
}

impl<D: Buf> Tap<D> for Reading {
    fn data(&mut self, data: &D) {
        self.response_bytes += data.remaining() as u64;
    }

    fn end(&mut self, end: End<'_>) {
        self.ended(&end);
    }
}

/// A number, where it is known, in a word: it is moved with each response.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Known(u64);

impl Known {
    const NOT: Self = Self(u64::MAX);

    fn from(number: Option<u64>) -> Self {
        number.map_or(Self::NOT, Self)
    }

    fn get(self) -> Option<u64> {
        (self != Self::NOT).then_some(self.0)
    }
}

const SERVER_TIMING: HeaderName = HeaderName::from_static("server-timing");
