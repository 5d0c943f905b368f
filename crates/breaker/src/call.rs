use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::header::CONTENT_TYPE;
use http::{HeaderMap, Method, Response, StatusCode};
use http_body::Body;
use tower_edge_core::{End, Expected, Judge, Outcome, ResponseHead, Tap, Trace};

use crate::BreakerBody;
use crate::circuit::Ticket;
use crate::ending::Ended;
use crate::hanging::Begun;
use crate::retry_after::retry_after;
use crate::shared::Shared;
use crate::wait::Wait;
use crate::window::Mark;

/// A call that counts, from its admission to the end of the response's body.
///
/// Whoever holds it may drop it at any moment: then the call was abandoned.
#[derive(Debug)]
pub(crate) struct Call {
    shared: Arc<Shared>,
    cell: u32,
    ticket: Ticket,
    begun: Option<Begun>,
    method: Kind,
    wait: Wait,
    /// The service was asked in vain at least once.
    pended: bool,
    /// It has been counted.
    ended: bool,
}

/// A call whose response has a head and not yet an end.
#[derive(Debug)]
pub(crate) struct Answered {
    call: Call,
    judge: Option<Judge>,
    /// Silence is in order: the response lasts as long as somebody listens.
    endless: bool,
    /// In milliseconds.
    retry_after: Option<u32>,
}

impl Call {
    #[inline]
    pub(crate) fn new(shared: Arc<Shared>, cell: u32, ticket: Ticket, method: &Method) -> Self {
        Self {
            shared,
            cell,
            ticket,
            begun: None,
            method: Kind::of(method),
            wait: Wait::default(),
            pended: false,
            ended: false,
        }
    }

    /// Times the call from now on; false if the circuit opens at that, because too
    /// many calls in flight are slow.
    pub(crate) fn begin(&mut self) -> bool {
        let now = self.shared.nanos(Trace::read(&self.shared.clock));
        self.wait.begin(|| now);
        let circuit = self.shared.table.circuit_at(self.cell);
        let Some((begun, first)) = circuit.begin(self.ticket, now) else { return true };
        self.begun = Some(begun);
        if !first {
            return true;
        }
        let rules = self.shared.rules();
        let Some(change) = circuit.look(self.ticket, now, &self.shared.env(&rules)) else {
            return true;
        };
        self.shared.tell(self.cell, change);
        false
    }

    /// Takes note that the service has nothing to give for now.
    pub(crate) fn pending(&mut self) {
        self.wait.begin(|| self.shared.now());
        self.pended = true;
    }

    /// Takes note of the head, to go on in the body.
    pub(crate) fn answered<B>(mut self, response: Response<B>) -> Response<BreakerBody<B>>
    where
        B: Body<Data = Bytes>,
    {
        let head = ResponseHead::new(&response);
        self.given();
        let expected = Expected::of(self.method.method(), &head, &response.body().size_hint());
        let endless = self.method == Kind::Connect || is_endless(&head);
        let judge = Some(Judge::new(&self.shared.classify, &head));
        let mut answered = Answered { call: self, judge, endless, retry_after: None };
        if !head.status().is_success() || endless {
            answered.note_retry_after(head.headers());
        }
        response.map(|body| BreakerBody::watched(body, answered, expected))
    }

    /// Ends without a response, by an error of the service.
    pub(crate) fn failed(&mut self) {
        self.finish(Outcome::Failure, None);
    }

    /// Whether the end says no more than that it was good and about when.
    fn is_plain(&self, outcome: Outcome) -> bool {
        let waited = || self.wait.total(0) < self.shared.slow_after;
        outcome == Outcome::Success && !self.ticket.probe && !self.wait.is_on() && waited()
    }

    fn given(&mut self) {
        self.wait.end(|| self.shared.now());
    }

    /// How long whoever leaves now has been waiting.
    fn patience(&self) -> Duration {
        let waits = self.pended && self.wait.is_on();
        Duration::from_nanos(if waits { self.wait.current(self.shared.now()) } else { 0 })
    }

    pub(crate) fn finish(&mut self, outcome: Outcome, retry_after: Option<u32>) {
        self.ended = true;
        let (shared, circuit) = (&self.shared, self.shared.table.circuit_at(self.cell));
        let now = if self.is_plain(outcome) { shared.about_now() } else { shared.now() };
        let slow = self.wait.total(now) >= shared.slow_after;
        let mark = match outcome {
            Outcome::Success => Mark { failure: false, slow },
            Outcome::Slow => Mark { failure: false, slow: true },
            Outcome::Failure => Mark { failure: true, slow },
            Outcome::Abandoned { elapsed } if elapsed.as_nanos() >= shared.slow_after.into() => {
                Mark { failure: true, slow: true }
            }
            _ => return circuit.give_back(self.ticket),
        };
        if !self.ticket.probe && !mark.failure && !mark.slow {
            circuit.record(self.ticket, mark, now);
            return;
        }
        let retry_after = retry_after.map(|millis| Duration::from_millis(millis.into()));
        let (rules, ended) = (shared.rules(), Ended { mark, retry_after });
        if let Some(change) = circuit.end(self.ticket, &ended, now, &shared.env(&rules)) {
            shared.tell(self.cell, change);
        }
    }
}

impl Answered {
    fn note_retry_after(&mut self, fields: &HeaderMap) {
        let wanted = retry_after(fields, || self.call.shared.clock.wall());
        let millis = wanted.and_then(|wanted| u32::try_from(wanted.as_millis()).ok());
        self.retry_after = millis.or(self.retry_after);
    }
}

impl Tap<Bytes> for Answered {
    fn data(&mut self, _: &Bytes) {
        self.call.given();
    }

    fn pending(&mut self) {
        if !self.endless {
            self.call.pending();
        }
    }

    fn end(&mut self, end: End<'_>) {
        let Some(judge) = self.judge.take() else { return };
        if let End::Complete(Some(trailers)) = end {
            self.note_retry_after(trailers);
        }
        let elapsed = match end {
            End::Dropped => self.call.patience(),
            _ => Duration::ZERO,
        };
        let outcome = judge.end(&self.call.shared.classify, &end, elapsed);
        self.call.finish(outcome, self.retry_after);
    }
}

/// The one place where a call leaves flight, whatever panics before.
impl Drop for Call {
    fn drop(&mut self) {
        if !self.ended {
            let elapsed = self.patience();
            self.finish(Outcome::Abandoned { elapsed }, None);
        }
        if let Some(begun) = self.begun {
            self.shared.table.circuit_at(self.cell).land(begun);
        }
    }
}

/// What a method says about the length of a response.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Head,
    Connect,
    Other,
}

impl Kind {
    fn of(method: &Method) -> Self {
        match *method {
            Method::HEAD => Self::Head,
            Method::CONNECT => Self::Connect,
            _ => Self::Other,
        }
    }

    fn method(self) -> &'static Method {
        match self {
            Self::Head => &Method::HEAD,
            Self::Connect => &Method::CONNECT,
            Self::Other => &Method::GET,
        }
    }
}

/// Whether silence in the body of a response is in order: an upgrade, a stream of
/// events, or of messages of gRPC.
fn is_endless(head: &ResponseHead<'_>) -> bool {
    let media_type = || head.headers().get(CONTENT_TYPE)?.to_str().ok();
    let starts = |media_type: &str| {
        let is = |of: &str| {
            media_type.get(..of.len()).is_some_and(|start| start.eq_ignore_ascii_case(of))
        };
        ENDLESS.into_iter().any(is)
    };
    head.status() == StatusCode::SWITCHING_PROTOCOLS || media_type().is_some_and(starts)
}

const ENDLESS: [&str; 3] = ["text/event-stream", "multipart/x-mixed-replace", "application/grpc"];
