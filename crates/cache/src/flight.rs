use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::header::RANGE;
use http::{HeaderMap, Response, StatusCode};
use http_body::Body;
use tower_edge_core::{BoxError, ReplyBody, ResponseHead, Step, Trace};

use crate::answer::Form;
use crate::body::CacheBody;
use crate::entry::Entry;
use crate::epochs::Ticket;
use crate::filling::{Filling, Pump};
use crate::intent::Intent;
use crate::landing::{Failure, Landed, Lead};
use crate::mark::Mark;
use crate::policy::{
    self, Candidate, Exchange, Kept, RequestFields, is_reusable, may_replace_error,
};
use crate::resource::ResourceKey;
use crate::shared::Shared;
use crate::status::{Forward, Status};
use crate::tier::Hold;

/// A request on its way upstream, and what its response will mean to the store.
#[derive(Debug)]
pub(crate) enum Flight {
    /// Nothing.
    Pass(Forward),
    /// What is stored for its target is no longer true if it succeeds.
    Unsafe(Intent),
    /// It may be stored, or say something about what is stored.
    Fetch(Box<Fetch>),
}

/// A GET or HEAD on its way upstream, or a POST that has come back to be stored.
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
    /// There if others may wait for what comes back.
    pub(crate) lead: Option<Lead>,
    /// There if other nodes leave it to this one; given back when all is stored.
    pub(crate) hold: Option<Hold>,
}

impl Flight {
    /// Turns a request into a validation of what is stored, where that can be, and
    /// into one for all who wait.
    pub(crate) fn prepare(&mut self, request: &mut HeaderMap) {
        let Self::Fetch(fetch) = self else { return };
        let nominated: Vec<_> = fetch.nominated.iter().map(|entry| entry.received()).collect();
        if !policy::validate(request, nominated.iter()) {
            fetch.nominated.clear();
        }
        if fetch.nominated.is_empty() && fetch.lead.is_some() {
            policy::ask_anyhow(request);
        }
    }

    /// Whether it asks for the whole, not for ranges.
    pub(crate) fn is_for_all(&self) -> bool {
        !matches!(self, Self::Fetch(fetch) if fetch.request.contains_key(RANGE))
    }

    /// Whether no other node is at it; from now on none will be.
    pub(crate) async fn is_ours(&mut self, shared: &Shared) -> bool {
        let Self::Fetch(fetch) = self else { return true };
        match shared.store.behind() {
            Some(behind) if behind.is_live() && fetch.hold.is_none() => {
                let lease = shared.lease(behind, &fetch.key).await;
                let is_taken = matches!(lease, Ok(None));
                fetch.hold = lease.ok().flatten();
                !is_taken
            }
            _ => true,
        }
    }

    /// Ends the flight with the head of its response.
    pub(crate) fn land<B>(
        self,
        shared: &Arc<Shared>,
        response: Response<B>,
    ) -> Response<CacheBody<B>>
    where
        B: Body<Data = Bytes, Error: Into<BoxError>> + Send + 'static,
    {
        match self {
            Self::Pass(forward) => passed(shared, Status::Forwarded(forward), response),
            Self::Unsafe(intent) => intent.land(shared, response),
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
            Self::Fetch(fetch) => {
                fetch.tell(Landed::Failed(Failure::silent()));
                fetch.replace(shared, shared.clock.now(), None)
            }
            _ => None,
        }
    }

    /// Whether others may wait for what comes back.
    pub(crate) fn leads(&self) -> bool {
        matches!(self, Self::Fetch(fetch) if fetch.lead.is_some())
    }

    /// Whether somebody waits for what comes back.
    pub(crate) fn is_followed(&self) -> bool {
        match self {
            Self::Fetch(fetch) => fetch.lead.as_ref().is_some_and(Lead::is_followed),
            _ => false,
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
        B: Body<Data = Bytes, Error: Into<BoxError>> + Send + 'static,
    {
        let responded = shared.clock.now();
        Trace::with(|trace| {
            let elapsed = responded.saturating_duration_since(self.requested);
            trace.push(Step::new("cache", elapsed).note(self.forward.word()));
        });
        if let Some(failure) = Failure::of(&ResponseHead::new(&response)) {
            if failure.is_shared() {
                self.tell(Landed::Failed(failure));
            }
            if let Some(stale) = self.replace(shared, responded, Some(response.status())) {
                return stale;
            }
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
        self.deliver(shared, response, &exchange)
    }

    /// Passes a response on, and stores it meanwhile where that is permitted.
    pub(crate) fn deliver<B>(
        self: Box<Self>,
        shared: &Arc<Shared>,
        response: Response<B>,
        exchange: &Exchange,
    ) -> Response<CacheBody<B>>
    where
        B: Body<Data = Bytes, Error: Into<BoxError>> + Send + 'static,
    {
        let forward = self.forward;
        match self.draft(shared, &response, exchange) {
            Ok(draft) => {
                draft.share(shared);
                let unmodified = draft.unmodified(&response);
                let filling = |body| Filling::new(Pump::new(body, shared, draft));
                let mut response = match unmodified {
                    Some(fields) => {
                        // It goes on by itself.
                        drop(filling(response.into_body()));
                        not_modified(fields)
                    }
                    None => response.map(|body| CacheBody::filling(filling(body))),
                };
                shared.tell_of(Status::Stored(forward), response.headers_mut());
                response
            }
            Err(fetch) => {
                fetch.of_no_use(shared, exchange.responded);
                passed(shared, Status::Forwarded(forward), response)
            }
        }
    }

    /// Tells those who wait what has come back; what was told first counts.
    pub(crate) fn tell(&self, landed: Landed) {
        if let Some(lead) = &self.lead {
            lead.land(landed);
        }
    }

    /// Shares a response with those who wait, if they may reuse it.
    pub(crate) fn share(&self, shared: &Shared, landed: Landed, kept: &Kept, now: Instant) {
        match is_reusable(kept, now) {
            true => {
                shared.loners.forget(&self.key);
                self.tell(landed);
            }
            false => self.of_no_use(shared, now),
        }
    }

    /// Sends those who wait their own way, and those who would wait soon.
    pub(crate) fn of_no_use(&self, shared: &Shared, now: Instant) {
        if let Some(lead) = &self.lead
            && lead.land(Landed::Useless)
        {
            shared.note_loner(&self.key, now);
        }
    }

    /// A stale answer in place of a failed origin's.
    pub(crate) fn replace<B>(
        &self,
        shared: &Shared,
        now: Instant,
        failed: Option<StatusCode>,
    ) -> Option<Response<CacheBody<B>>>
    where
        B: Body<Data = Bytes>,
    {
        let stored = self.selected.as_ref()?;
        // It may have been purged since it was looked up.
        let holds = shared.store.holds(self.ticket) && shared.is_believed(now);
        if !holds || shared.store.is_gone(&self.key, stored) {
            return None;
        }
        let (request, kept) = (RequestFields::of(&self.request), stored.kept(now));
        may_replace_error(&shared.rules, &request.directives(), &kept, now).then(|| {
            let age = kept.freshness.age(now);
            let mut answer = stored.response(Form::of(&request, self.head_only, stored), age);
            shared.tell_of(Status::StaleOnError(self.forward, failed), answer.headers_mut());
            answer
        })
    }

    /// What a response with these fields knows of purges.
    pub(crate) fn mark(&self, shared: &Shared, fields: &HeaderMap) -> Mark {
        Mark::new(self.ticket.purge, shared.tags(fields))
    }

    pub(crate) fn candidate<'a>(
        &'a self,
        status: StatusCode,
        headers: &'a HeaderMap,
        exchange: &Exchange,
    ) -> Candidate<'a> {
        let Self { request, default_ttl, .. } = self;
        Candidate { request, default_ttl: *default_ttl, status, headers, exchange: *exchange }
    }
}

/// The answer to a client that has what was fetched.
fn not_modified<B: Body<Data = Bytes>>(fields: HeaderMap) -> Response<CacheBody<B>> {
    let mut response = Response::new(CacheBody::own(ReplyBody::empty()));
    *response.status_mut() = StatusCode::NOT_MODIFIED;
    *response.headers_mut() = fields;
    response
}

/// A response that the store has nothing to do with.
pub(crate) fn passed<B>(
    shared: &Shared,
    status: Status,
    response: Response<B>,
) -> Response<CacheBody<B>>
where
    B: Body<Data = Bytes>,
{
    let mut response = response.map(CacheBody::passed);
    shared.tell_of(status, response.headers_mut());
    response
}
