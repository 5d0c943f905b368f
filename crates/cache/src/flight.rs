use std::sync::Arc;
use std::time::Instant;

use bytes::Bytes;
use http::header::{ETAG, HeaderValue};
use http::{HeaderMap, Method, Response, StatusCode};
use http_body::Body;
use tower_edge_core::{Event, Expected, ReplyBody, ResponseHead, Step, Trace};

use crate::body::CacheBody;
use crate::entry::Entry;
use crate::fill::{Draft, Fill};
use crate::policy::{self, Exchange, Selection, storable, stored_fields, updated_fields};
use crate::shared::Shared;
use crate::status::{Forward, Status};
use crate::store::{ResourceKey, Ticket};

/// A request on its way upstream, and what its response will mean to the store.
#[derive(Debug)]
pub(crate) enum Flight {
    /// Nothing.
    Pass(Forward),
    /// What is stored for this resource is no longer true if it succeeds.
    Unsafe(Box<ResourceKey>),
    /// It may be stored, or say that what is stored is still good.
    Fetch(Box<Fetch>),
}

/// A GET on its way upstream.
#[derive(Debug)]
pub(crate) struct Fetch {
    pub(crate) key: ResourceKey,
    pub(crate) ticket: Ticket,
    /// The fields as the client sent them.
    pub(crate) request: HeaderMap,
    /// What the request selected, and may not be served as it is.
    pub(crate) stored: Option<Arc<Entry>>,
    pub(crate) forward: Forward,
    pub(crate) requested: Instant,
}

impl Flight {
    /// Turns a request into a validation of what is stored, where that can be.
    pub(crate) fn prepare(&mut self, request: &mut HeaderMap) {
        if let Self::Fetch(fetch) = self
            && let Some(stored) = &fetch.stored
            && !policy::validate(request, &stored.fields)
        {
            fetch.stored = None;
        }
    }

    /// Ends the flight with the head of its response.
    pub(crate) fn land<B>(
        self,
        shared: &Arc<Shared>,
        response: Response<B>,
    ) -> Response<CacheBody<B>>
    where
        B: Body<Data = Bytes>,
    {
        let (status, mut response) = match self {
            Self::Pass(forward) => (Status::Forwarded(forward), response.map(CacheBody::passed)),
            Self::Unsafe(key) => {
                // RFC 9111 §4.4: an error changed nothing, as far as we know.
                let done = response.status().is_success() || response.status().is_redirection();
                if done && shared.store.invalidate(&key) {
                    shared.tell(&Event::CacheInvalidated);
                }
                (Status::Forwarded(Forward::Method), response.map(CacheBody::passed))
            }
            Self::Fetch(fetch) => return fetch.land(shared, response),
        };
        shared.note(status);
        status.add_to(response.headers_mut());
        response
    }
}

impl Fetch {
    fn land<B>(
        mut self: Box<Self>,
        shared: &Arc<Shared>,
        response: Response<B>,
    ) -> Response<CacheBody<B>>
    where
        B: Body<Data = Bytes>,
    {
        let exchange = Exchange {
            requested: self.requested,
            responded: shared.clock.now(),
            wall: shared.clock.wall(),
        };
        let forward = self.forward;
        let stored = self.stored.take().filter(|_| response.status() == StatusCode::NOT_MODIFIED);
        let (status, response) = match stored {
            Some(stored) => {
                let status = Status::Validated(forward);
                let answer = self.freshen(shared, &stored, response.headers(), &exchange, status);
                (status, answer.map(CacheBody::own))
            }
            None => {
                let (status, mut response) = match self.fill(shared, &response, &exchange) {
                    Some((fill, expected)) => {
                        let filling = |body| CacheBody::filling(body, fill, expected);
                        (Status::Stored(forward), response.map(filling))
                    }
                    None => (Status::Forwarded(forward), response.map(CacheBody::passed)),
                };
                status.add_to(response.headers_mut());
                (status, response)
            }
        };
        shared.note(status);
        Trace::with(|trace| {
            let elapsed = exchange.responded.saturating_duration_since(exchange.requested);
            trace.push(Step::new("cache", elapsed).note(status.word()));
        });
        response
    }

    /// Answers with what is stored, updated from a 304 (RFC 9111 §4.3.4).
    fn freshen<B>(
        self,
        shared: &Arc<Shared>,
        stored: &Arc<Entry>,
        update: &HeaderMap,
        exchange: &Exchange,
        status: Status,
    ) -> Response<ReplyBody<B>> {
        let fields = updated_fields(&stored.received(), update, exchange.wall);
        let same = is_of(update, stored);
        let kept = storable(&self.request, stored.status, &fields, exchange).ok();
        let selection = Selection::of(&self.request, &fields);
        let fresh = match (same, kept, selection) {
            (true, Some(kept), Some(selection)) => {
                let entry = Arc::new(stored.freshened(&fields, selection, kept));
                shared.store.insert(&self.key, self.ticket, entry.clone());
                entry
            }
            // The origin takes back its leave to store, or speaks of another
            // representation than we asked about.
            _ => {
                shared.store.invalidate(&self.key);
                stored.clone()
            }
        };
        let age = fresh.kept.freshness.age(exchange.responded);
        fresh.answer(&self.request, false, age, status)
    }

    /// Starts to store a response, where that is permitted and it may fit.
    fn fill<B: Body>(
        self,
        shared: &Arc<Shared>,
        response: &Response<B>,
        exchange: &Exchange,
    ) -> Option<(Fill, Expected)> {
        let kept = storable(&self.request, response.status(), response.headers(), exchange).ok()?;
        let fields = stored_fields(response.headers(), exchange.wall);
        let selection = Selection::of(&self.request, &fields)?;
        let head = ResponseHead::new(response);
        let expected = Expected::of(&Method::GET, &head, &response.body().size_hint());
        if expected.bytes().is_some_and(|bytes| bytes > shared.max_entry) {
            shared.tell(&Event::CacheNotStored { why: "too large" });
            return None;
        }
        let (key, ticket, status) = (self.key, self.ticket, response.status());
        let draft = Draft { key, ticket, status, fields, selection, kept, expected };
        let fill = Fill::new(shared.clone(), draft);
        Some((fill, expected))
    }
}

/// Whether a 304 speaks of this response: its strong validator, if it has one,
/// is the stored one (RFC 9111 §4.3.4).
fn is_of(update: &HeaderMap, stored: &Entry) -> bool {
    let is_strong = |etag: &&HeaderValue| !etag.as_bytes().starts_with(b"W/");
    match update.get(ETAG).filter(is_strong) {
        Some(etag) => stored.fields.get(ETAG) == Some(etag),
        None => true,
    }
}
