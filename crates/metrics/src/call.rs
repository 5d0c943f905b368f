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

/// A request in flight, from the call to the end of its response's body.
///
/// One value all the way, moved once, from the future into the body. Whoever
/// holds it may drop it at any moment: then the request was abandoned.
#[derive(Debug)]
pub(crate) struct Call {
    settings: Arc<Settings>,
    /// When it was called, in nanoseconds since the start.
    began: u64,
    request_bytes: Known,
    response_bytes: u64,
    /// There with the head, and taken at the end.
    judge: Option<Judge>,
    traced: Option<Box<Traced>>,
    route: RouteId,
    /// Known with the head.
    series: SeriesId,
    protocol: Protocol,
    detail: Detail,
    /// Whether the facade's gauge has it.
    counted: bool,
    /// The first byte came before the last one, and was counted.
    first_byte: bool,
    ended: bool,
}

/// What only those have who are told times, or may be logged.
#[derive(Debug, Default)]
struct Traced {
    trace: Trace,
    /// Whether the client is told the times.
    times: bool,
    /// In nanoseconds since the call.
    first_byte: Option<u64>,
}

impl Call {
    pub(crate) fn begin<B: Body>(settings: &Arc<Settings>, request: &mut Request<B>) -> Self {
        let now = Trace::nanos(&settings.watch);
        let times = settings.times(request.headers_mut());
        let bytes = request.body().size_hint().exact();
        Self::new(settings, now, &RequestHead::new(request), bytes, times)
    }

    fn new(
        settings: &Arc<Settings>,
        began: u64,
        head: &RequestHead<'_>,
        request_bytes: Option<u64>,
        times: bool,
    ) -> Self {
        let protocol = Protocol::of(head);
        let route = settings.route(head);
        let traced = || Box::new(Traced { times, ..Traced::default() });
        Self {
            began,
            request_bytes: Known::from(request_bytes),
            response_bytes: 0,
            judge: None,
            traced: (times || settings.slow_log.is_on()).then(traced),
            route,
            series: SeriesId::OVERFLOW,
            protocol,
            detail: Detail::default(),
            counted: settings.records.begin(protocol),
            first_byte: false,
            ended: false,
            settings: settings.clone(),
        }
    }

    /// The request's trace, if it has one: the service is called and polled inside
    /// of it.
    pub(crate) fn trace(&mut self) -> Option<&mut Trace> {
        self.traced.as_mut().map(|traced| &mut traced.trace)
    }

    /// The same, and when it was called.
    pub(crate) fn trace_called(&mut self) -> Option<(&mut Trace, Instant)> {
        let traced = self.traced.as_mut()?;
        Some((&mut traced.trace, self.settings.watch.at(self.began)))
    }

    /// Takes note of the head; gives the length that the body is expected to have.
    pub(crate) fn answered<B: Body>(&mut self, response: &mut Response<B>) -> Expected {
        let size = response.body().size_hint();
        let expected = self.head(&ResponseHead::new(response), &size);
        if self.traced.as_ref().is_some_and(|traced| traced.times) {
            self.tell_times(response);
        }
        expected
    }

    /// The part of it that is the same for all bodies.
    fn head(&mut self, head: &ResponseHead<'_>, size: &SizeHint) -> Expected {
        // A judge that panics leaves a request that was abandoned.
        let judge = Judge::new(&self.settings.classify, head);
        self.detail = Detail::of(self.protocol, head);
        self.series = self.find(Labels {
            protocol: self.protocol,
            status: Some(registered(head.status())),
            route: self.known_route(),
            long_lived: self.detail.long_lived,
        });
        self.judge = Some(judge);
        Expected::of(self.protocol.method().unwrap_or(&Method::GET), head, size)
    }

    /// Takes note of the first byte, if it was not the last one as well: then the
    /// clock is read once for both.
    pub(crate) fn goes_on(&mut self) {
        if !self.first_byte {
            self.first_byte = true;
            let (now, nanos) = self.time();
            self.settings.records.series(self.series).first_byte(slot(now), nanos);
            self.traced.iter_mut().for_each(|traced| traced.first_byte = Some(nanos));
        }
    }

    /// Ends without a response, by an error of the service.
    pub(crate) fn failed(&mut self) {
        self.end_without_response(|_| Outcome::Failure);
    }

    #[cold]
    fn tell_times<B>(&mut self, response: &mut Response<B>) {
        self.goes_on();
        let value = self.traced.as_ref().and_then(|traced| {
            let elapsed = Duration::from_nanos(traced.first_byte.unwrap_or(0));
            server_timing::value(&traced.trace, elapsed)
        });
        if let Some(value) = value {
            // A head with no room for another field goes without it.
            let _ = response.headers_mut().try_append(SERVER_TIMING, value);
        }
    }

    #[cold]
    #[inline(never)]
    fn end_without_response(&mut self, outcome: impl FnOnce(Duration) -> Outcome) {
        self.ended = true;
        let (now, nanos) = self.time();
        let outcome = outcome(Duration::from_nanos(nanos));
        let (protocol, route) = (self.protocol, self.known_route());
        self.series = self.find(Labels { protocol, status: None, route, long_lived: false });
        let sample = Sample {
            nanos,
            at_once: false,
            cache: None,
            request_bytes: self.request_bytes.get(),
            response_bytes: None,
        };
        self.count(now, outcome, &Ended { ending: Ending::of(outcome, None), sample });
    }

    /// Ends with the response; the same for all kinds of data.
    fn end_response(&mut self, end: &End<'_>) {
        self.ended = true;
        let Some(judge) = self.judge.take() else { return };
        let (now, nanos) = self.time();
        let elapsed = Duration::from_nanos(nanos);
        let outcome = judge.end(&self.settings.classify, end, elapsed);
        let outcome = outcome.slow_if(self.settings.slow_after.is_some_and(|slow| elapsed > slow));
        let sample = Sample {
            nanos,
            at_once: !self.first_byte,
            cache: self.detail.cache,
            request_bytes: self.request_bytes.get(),
            response_bytes: Some(self.response_bytes),
        };
        self.count(
            now,
            outcome,
            &Ended { ending: Ending::of(outcome, self.detail.refused), sample },
        );
    }

    /// Counts the end of the request, at the time `now`.
    fn count(&self, now: u64, outcome: Outcome, ended: &Ended) {
        let series = self.settings.records.series(self.series);
        if self.settings.slow_log.is_on() && !series.is_long_lived() {
            self.log_if_slow(series, now, outcome, ended);
        }
        series.end(slot(now), ended);
    }

    #[cold]
    fn log_if_slow(&self, series: &Series, now: u64, outcome: Outcome, ended: &Ended) {
        let log = &self.settings.slow_log;
        let elapsed = Duration::from_nanos(ended.sample.nanos);
        let p99 = log.times_p99.and_then(|_| series.p99());
        if log.is_slow(elapsed, p99) {
            let first_byte = self.traced.as_ref().and_then(|traced| traced.first_byte);
            let first_byte = first_byte.or(ended.sample.at_once.then_some(ended.sample.nanos));
            let first_byte = first_byte.map(Duration::from_nanos);
            let trace = self.traced.as_ref().map(|traced| &traced.trace);
            let slow = Slow { series, outcome, elapsed, first_byte, trace };
            log.tell(&slow, Duration::from_nanos(now));
        }
    }

    /// The time by now: in nanoseconds since the start, and since the call.
    fn time(&self) -> (u64, u64) {
        let now = self.settings.watch.nanos();
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
    fn known_route(&self) -> RouteId {
        if self.route != RouteId::NONE {
            return self.route;
        }
        let number = |route: &Route| self.settings.records.route(route.as_str());
        let noted = match &self.traced {
            Some(traced) => traced.trace.route().map(number),
            None => Trace::with(|trace| trace.route().map(number)).flatten(),
        };
        noted.unwrap_or(RouteId::NONE)
    }
}

impl<D: Buf> Tap<D> for Call {
    fn data(&mut self, data: &D) {
        self.response_bytes += data.remaining() as u64;
    }

    fn end(&mut self, end: End<'_>) {
        self.end_response(&end);
    }
}

/// The one place where a request leaves flight, whatever panics before.
impl Drop for Call {
    fn drop(&mut self) {
        self.settings.records.end(self.protocol, self.counted);
        if !self.ended {
            self.end_without_response(|elapsed| Outcome::Abandoned { elapsed });
        }
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
