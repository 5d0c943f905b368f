use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::header::{CONTENT_LENGTH, CONTENT_LOCATION, ETAG, LAST_MODIFIED, LOCATION, RANGE};
use http::{HeaderMap, Method, Response, StatusCode};
use http_body::Body;
use tower_edge_core::{Event, Expected, Refusal, ReplyBody, ResponseHead, Step, Trace};

use crate::body::CacheBody;
use crate::entry::Entry;
use crate::fill::{Draft, Fill};
use crate::policy::{
    self, Candidate, Exchange, RequestDirectives, Selection, Unstorable, identified,
    may_replace_error, same_origin, storable, stored_fields, updated_fields,
};
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
    /// It may be stored, or say something about what is stored.
    Fetch(Box<Fetch>),
}

/// A GET or HEAD on its way upstream.
#[derive(Debug)]
pub(crate) struct Fetch {
    pub(crate) key: ResourceKey,
    pub(crate) ticket: Ticket,
    pub(crate) head_only: bool,
    /// The fields as the client sent them.
    pub(crate) request: HeaderMap,
    /// What the request selected, and may not be served as it is.
    pub(crate) selected: Option<Arc<Entry>>,
    /// What the origin is asked to validate.
    pub(crate) nominated: Vec<Arc<Entry>>,
    pub(crate) default_ttl: Option<Duration>,
    pub(crate) forward: Forward,
    pub(crate) requested: Instant,
}

impl Flight {
    /// Turns a request into a validation of what is stored, where that can be.
    pub(crate) fn prepare(&mut self, request: &mut HeaderMap) {
        if let Self::Fetch(fetch) = self
            && let nominated = fetch.nominated.iter().map(|entry| entry.received())
            && !policy::validate(request, nominated.collect::<Vec<_>>().iter())
        {
            fetch.nominated.clear();
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
        match self {
            Self::Pass(forward) => passed(shared, Status::Forwarded(forward), response),
            Self::Unsafe(key) => {
                invalidate(shared, &key, &ResponseHead::new(&response));
                passed(shared, Status::Forwarded(Forward::Method), response)
            }
            Self::Fetch(fetch) => fetch.land(shared, response),
        }
    }

    /// Ends the flight without a response; gives a stale one where that is
    /// permitted.
    pub(crate) fn fail<B>(&self, shared: &Shared) -> Option<Response<CacheBody<B>>>
    where
        B: Body<Data = Bytes>,
    {
        match self {
            Self::Fetch(fetch) => fetch.replace(shared, shared.clock.now(), None),
            _ => None,
        }
    }
}

impl Fetch {
    fn land<B>(
        self: Box<Self>,
        shared: &Arc<Shared>,
        response: Response<B>,
    ) -> Response<CacheBody<B>>
    where
        B: Body<Data = Bytes>,
    {
        let responded = shared.clock.now();
        Trace::with(|trace| {
            let elapsed = responded.saturating_duration_since(self.requested);
            trace.push(Step::new("cache", elapsed).note(self.forward.word()));
        });
        if is_trouble(&ResponseHead::new(&response))
            && let Some(stale) = self.replace(shared, responded, Some(response.status()))
        {
            return stale;
        }
        let exchange = Exchange { requested: self.requested, responded, wall: shared.clock.wall() };
        let forward = self.forward;
        if self.head_only {
            self.compare(shared, &response, &exchange);
            return passed(shared, Status::Forwarded(forward), response);
        }
        if response.status() == StatusCode::NOT_MODIFIED && !self.nominated.is_empty() {
            return self.freshen(shared, response.headers(), &exchange);
        }
        match self.fill(shared, &response, &exchange) {
            Some((fill, expected)) => {
                let mut response = response.map(|body| CacheBody::filling(body, fill, expected));
                shared.tell_of(Status::Stored(forward), response.headers_mut());
                response
            }
            None => passed(shared, Status::Forwarded(forward), response),
        }
    }

    /// A stale answer in place of a failed origin's.
    fn replace<B>(
        &self,
        shared: &Shared,
        now: Instant,
        failed: Option<StatusCode>,
    ) -> Option<Response<CacheBody<B>>>
    where
        B: Body<Data = Bytes>,
    {
        let stored = self.selected.as_ref()?;
        let wishes = RequestDirectives::of(&self.request);
        may_replace_error(&shared.rules, &wishes, &stored.kept, now).then(|| {
            let age = stored.kept.freshness.age(now);
            let mut answer = stored.answer(&self.request, self.head_only, age);
            shared.tell_of(Status::StaleOnError(failed), answer.headers_mut());
            answer.map(CacheBody::own)
        })
    }

    /// Answers with what is stored, updated from a 304 (RFC 9111 §4.3.4).
    fn freshen<B>(
        &self,
        shared: &Shared,
        update: &HeaderMap,
        exchange: &Exchange,
    ) -> Response<CacheBody<B>>
    where
        B: Body<Data = Bytes>,
    {
        let asked: Vec<_> = self.nominated.iter().map(|entry| entry.received()).collect();
        let Some(stored) = identified(update, asked.iter()).map(|at| &self.nominated[at]) else {
            // The origin speaks of a representation that we did not ask about:
            // nothing is validated.
            shared.store.invalidate(&self.key);
            let failed = Some(StatusCode::NOT_MODIFIED);
            return self.replace(shared, exchange.responded, failed).unwrap_or_else(|| {
                let mut answer = not_validated();
                shared.tell_of(Status::Forwarded(self.forward), answer.headers_mut());
                answer.map(CacheBody::own)
            });
        };
        let fresh = self.update(shared, stored, update, exchange);
        let age = fresh.kept.freshness.age(exchange.responded);
        let mut answer = fresh.answer(&self.request, false, age);
        shared.tell_of(Status::Validated(self.forward), answer.headers_mut());
        answer.map(CacheBody::own)
    }

    /// Stores a response with newer fields (RFC 9111 §3.2); removes it where they
    /// take back the leave to store it.
    fn update(
        &self,
        shared: &Shared,
        stored: &Arc<Entry>,
        update: &HeaderMap,
        exchange: &Exchange,
    ) -> Arc<Entry> {
        let mut fields = updated_fields(&stored.received(), update, exchange.wall);
        let judged = storable(&shared.rules, &self.candidate(stored.status, &fields, exchange));
        let selection = Selection::of(&self.request, &fields);
        match (judged, selection) {
            (Ok((kept, excluded)), Some(selection)) => {
                excluded.iter().for_each(|name| drop(fields.remove(name)));
                let fresh = Arc::new(stored.freshened(&fields, selection, kept));
                shared.store.insert(&self.key, self.ticket, fresh.clone());
                fresh
            }
            // This request is not to leave anything behind; others may.
            (
                Err(Unstorable::Authorization | Unstorable::Unwanted | Unstorable::MethodOverride),
                _,
            ) => stored.clone(),
            _ => {
                shared.store.invalidate(&self.key);
                stored.clone()
            }
        }
    }

    /// Updates what is stored from a HEAD, or removes it (RFC 9111 §4.3.5).
    fn compare<B>(&self, shared: &Shared, response: &Response<B>, exchange: &Exchange) {
        let Some(stored) = self.selected.as_ref().filter(|_| response.status() == StatusCode::OK)
        else {
            return;
        };
        let update = response.headers();
        let validators = [ETAG, LAST_MODIFIED, CONTENT_LENGTH];
        let same = validators.iter().all(|name| {
            update.get(name).is_none_or(|value| stored.fields.get(name) == Some(value))
        });
        match same {
            true => drop(self.update(shared, stored, update, exchange)),
            false => drop(shared.store.invalidate(&self.key)),
        }
    }

    /// Starts to store a response, where that is permitted and it may fit.
    fn fill<B: Body>(
        self,
        shared: &Arc<Shared>,
        response: &Response<B>,
        exchange: &Exchange,
    ) -> Option<(Fill, Expected)> {
        let status = response.status();
        // What an origin says of a range need not hold for the whole.
        let ranged = self.nominated.is_empty() && self.request.contains_key(RANGE);
        if ranged && status != StatusCode::OK {
            return None;
        }
        let candidate = self.candidate(status, response.headers(), exchange);
        let (kept, excluded) = storable(&shared.rules, &candidate).ok()?;
        let fields = stored_fields(response.headers(), &excluded, exchange.wall);
        let selection = Selection::of(&self.request, &fields)?;
        let head = ResponseHead::new(response);
        let expected = Expected::of(&Method::GET, &head, &response.body().size_hint());
        if expected.bytes().is_some_and(|bytes| bytes > shared.max_entry) {
            shared.tell(&Event::CacheNotStored { why: "too large" });
            return None;
        }
        let Self { key, ticket, .. } = self;
        let draft = Draft { key, ticket, status, fields, selection, kept, expected };
        Some((Fill::new(shared.clone(), draft), expected))
    }

    fn candidate<'a>(
        &'a self,
        status: StatusCode,
        headers: &'a HeaderMap,
        exchange: &Exchange,
    ) -> Candidate<'a> {
        let Self { request, default_ttl, .. } = self;
        Candidate { request, default_ttl: *default_ttl, status, headers, exchange: *exchange }
    }
}

/// A response that the store has nothing to do with.
fn passed<B>(shared: &Shared, status: Status, response: Response<B>) -> Response<CacheBody<B>>
where
    B: Body<Data = Bytes>,
{
    let mut response = response.map(CacheBody::passed);
    shared.tell_of(status, response.headers_mut());
    response
}

/// What is left to say when the origin validates what it was not asked about,
/// and nothing stored may go out without validation.
fn not_validated<B>() -> Response<ReplyBody<B>> {
    let mut response = Response::new(ReplyBody::empty());
    *response.status_mut() = StatusCode::BAD_GATEWAY;
    response
}

/// The answers that a stale response may replace (RFC 5861 §4), and refusals of
/// the layers inside.
fn is_trouble(response: &ResponseHead<'_>) -> bool {
    matches!(response.status().as_u16(), 500 | 502 | 503 | 504)
        || response.extensions().get::<Refusal>().is_some()
}

/// Removes what an unsafe request that succeeded has made untrue: its target,
/// and what its response names of the same origin (RFC 9111 §4.4).
fn invalidate(shared: &Shared, key: &ResourceKey, response: &ResponseHead<'_>) {
    if !response.status().is_success() && !response.status().is_redirection() {
        return;
    }
    let named = [LOCATION, CONTENT_LOCATION].into_iter().filter_map(|name| {
        let reference = response.headers().get(name)?.to_str().ok()?;
        ResourceKey::new(same_origin(&key.target(), reference)?)
    });
    for key in [key.clone()].into_iter().chain(named) {
        if shared.store.invalidate(&key) {
            shared.tell(&Event::CacheInvalidated);
        }
    }
}
