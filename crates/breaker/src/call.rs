use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::header::CONTENT_TYPE;
use http::{HeaderMap, Method, Response, StatusCode};
use http_body::{Body, SizeHint};
use tower_edge_core::{End, Expected, Judge, Outcome, ResponseHead, Tap, Trace};

use crate::circuit::Ticket;
use crate::ending::Ended;
use crate::hanging::Begun;
use crate::retry_after::retry_after;
use crate::shared::Shared;
use crate::wait::Wait;
use crate::window::Mark;

/// A call that counts, from its admission to the end of the response's body.
///
/// One value all the way, moved once, from the future into the body. Whoever
/// holds it may drop it at any moment: then the call was abandoned.
#[derive(Debug)]
pub(crate) struct Call {
    shared: Arc<Shared>,
    cell: u32,
    ticket: Ticket,
    begun: Option<Begun>,
    wait: Wait,
    /// There with the head, and taken at the end.
    judge: Option<Judge>,
    /// In milliseconds; none if it is the greatest number.
    retry_after: u32,
    method: Kind,
    /// Silence is in order: the response lasts as long as somebody listens.
    endless: bool,
    /// The service was asked in vain at least once.
    pended: bool,
    /// It has been counted.
    ended: bool,
}

impl Call {
    #[inline]
    pub(crate) fn new(shared: Arc<Shared>, cell: u32, ticket: Ticket, method: &Method) -> Self {
        Self {
            shared,
            cell,
            ticket,
            begun: None,
            wait: Wait::default(),
            judge: None,
            retry_after: u32::MAX,
            method: Kind::of(method),
            endless: false,
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

    /// Takes note of the head, where there is a call; gives the length that the body
    /// is expected to have.
    pub(crate) fn answered<B: Body>(call: Option<&mut Self>, response: &Response<B>) -> Expected {
        let Some(call) = call else { return Expected::UNKNOWN };
        call.head(&ResponseHead::new(response), &response.body().size_hint())
    }

    #[inline(always)]
    fn head(&mut self, head: &ResponseHead<'_>, size: &SizeHint) -> Expected {
        self.given();
        let expected = Expected::of(self.method.method(), head, size);
        self.endless = self.method == Kind::Connect
            || head.status() == StatusCode::SWITCHING_PROTOCOLS
            || !head.headers().is_empty() && is_endless(head.headers());
        let judge = Judge::new(&self.shared.classify, head);
        if !head.status().is_success() || self.endless {
            self.note_retry_after(head.headers());
        }
        self.judge = Some(judge);
        expected
    }

    /// Ends without a response, by an error of the service.
    pub(crate) fn failed(&mut self) {
        self.finish(Outcome::Failure);
    }

    /// Whether a success says no more than that it was one, and about when.
    fn is_plain(&self) -> bool {
        !self.ticket.probe && !self.wait.is_on() && self.wait.total(0) < self.shared.slow_after
    }

    #[inline(never)]
    fn note_retry_after(&mut self, fields: &HeaderMap) {
        let wanted = retry_after(fields, || self.shared.clock.wall());
        let millis = wanted.and_then(|wanted| u32::try_from(wanted.as_millis()).ok());
        self.retry_after = millis.unwrap_or(self.retry_after);
    }

    #[inline]
    fn given(&mut self) {
        self.wait.end(|| self.shared.now());
    }

    /// How long whoever leaves now has been waiting.
    fn patience(&self) -> Duration {
        let waits = self.pended && self.wait.is_on();
        Duration::from_nanos(if waits { self.wait.current(self.shared.now()) } else { 0 })
    }

    /// Ends in this way.
    #[inline]
    pub(crate) fn end_with(&mut self, outcome: Outcome) {
        if outcome == Outcome::Success && self.is_plain() {
            self.finish_plainly();
        } else {
            self.finish(outcome);
        }
    }

    #[cold]
    fn abandon(&mut self) {
        let elapsed = self.patience();
        self.finish(Outcome::Abandoned { elapsed });
    }

    /// Counts the end of most calls.
    #[inline]
    fn finish_plainly(&mut self) {
        self.ended = true;
        let good = Mark { failure: false, slow: false };
        let circuit = self.shared.table.circuit_at(self.cell);
        circuit.record(self.ticket, good, self.shared.about_now());
    }

    #[inline(never)]
    fn finish(&mut self, outcome: Outcome) {
        self.ended = true;
        let (shared, circuit) = (&self.shared, self.shared.table.circuit_at(self.cell));
        let now = shared.now();
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
        let retry_after = Some(self.retry_after).filter(|millis| *millis < u32::MAX);
        let retry_after = retry_after.map(|millis| Duration::from_millis(millis.into()));
        let (rules, ended) = (shared.rules(), Ended { mark, retry_after });
        if let Some(change) = circuit.end(self.ticket, &ended, now, &shared.env(&rules)) {
            shared.tell(self.cell, change);
        }
    }
}

impl Tap<Bytes> for Call {
    #[inline]
    fn data(&mut self, _: &Bytes) {
        self.given();
    }

    fn pending(&mut self) {
        if !self.endless {
            Call::pending(self);
        }
    }

    fn end(&mut self, end: End<'_>) {
        let Some(judge) = self.judge.take() else { return };
        let elapsed = match end {
            End::Dropped => self.patience(),
            _ => {
                self.given();
                Duration::ZERO
            }
        };
        let outcome = judge.end(&self.shared.classify, &end, elapsed);
        if let End::Complete(Some(trailers)) = end {
            self.note_retry_after(trailers);
        }
        self.end_with(outcome);
    }
}

/// The one place where a call leaves flight, whatever panics before.
impl Drop for Call {
    #[inline]
    fn drop(&mut self) {
        if !self.ended {
            self.abandon();
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

/// Whether a body is a stream of events, or of messages of gRPC: silence is in order.
fn is_endless(fields: &HeaderMap) -> bool {
    let media_type = || fields.get(CONTENT_TYPE)?.to_str().ok();
    let starts = |media_type: &str| {
        let is = |of: &str| {
            media_type.get(..of.len()).is_some_and(|start| start.eq_ignore_ascii_case(of))
        };
        ENDLESS.into_iter().any(is)
    };
    media_type().is_some_and(starts)
}

const ENDLESS: [&str; 3] = ["text/event-stream", "multipart/x-mixed-replace", "application/grpc"];
