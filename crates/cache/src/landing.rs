use std::sync::Arc;

use ahash::RandomState;
use bytes::Bytes;
use http::header::RETRY_AFTER;
use http::{HeaderValue, Response, StatusCode};
use http_body::Body;
use tower_edge_core::{Problem, Reason, Refusal, ReplyBody, RequestHead, ResponseHead};

use crate::answer::Form;
use crate::body::CacheBody;
use crate::draft::Arrival;
use crate::entry::Entry;
use crate::epochs::Ticket;
use crate::flight::Fetch;
use crate::flights;
use crate::policy::{Kept, RequestFields, Reuse, Selection, reuse};
use crate::resource::ResourceKey;
use crate::shared::Shared;
use crate::status::Status;

/// What requests have to have in common so that one goes upstream for all.
///
/// An invalidation changes the ticket: who comes after it does not follow a
/// request that was sent before it.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct FlightKey {
    pub(crate) resource: ResourceKey,
    pub(crate) ticket: Ticket,
    /// A digest of what tells the variants of the resource apart, where that is
    /// known.
    pub(crate) variant: u64,
}

pub(crate) type Flights = flights::Flights<FlightKey, Landed, RandomState>;
pub(crate) type Join = flights::Join<FlightKey, Landed, RandomState>;
pub(crate) type Lead = flights::Lead<FlightKey, Landed, RandomState>;
pub(crate) type Follow = flights::Follow<Landed>;

/// What came back of a request, for those who wait for it.
#[derive(Clone, Debug)]
pub(crate) enum Landed {
    /// A response that is being stored.
    Arriving(Arc<Arrival>),
    /// A response that is stored, and was validated.
    Stored(Arc<Entry>),
    /// The origin failed.
    Failed(Failure),
    /// Nothing that is for others.
    Useless,
}

/// What becomes of a request that has waited.
pub(crate) enum Sequel<B: Body<Data = Bytes>> {
    Answer(Response<CacheBody<B>>),
    /// It goes upstream by itself, and nobody waits for it.
    Alone,
    /// It looks for those who select the same variant, by this digest.
    Regroup(u64),
}

/// A failure that is shared, so that not everybody tries in vain.
#[derive(Clone, Debug)]
pub(crate) struct Failure {
    status: StatusCode,
    refusal: Option<Refusal>,
    retry_after: Option<HeaderValue>,
}

impl Failure {
    /// The failure that a response tells of: one that a stale response may replace
    /// (RFC 5861 §4), or a refusal of a layer inside.
    pub(crate) fn of(response: &ResponseHead<'_>) -> Option<Self> {
        let (status, refusal) = (response.status(), response.extensions().get::<Refusal>());
        let trouble = matches!(status.as_u16(), 500 | 502 | 503 | 504);
        (trouble || refusal.is_some()).then(|| Self {
            status,
            refusal: refusal.copied(),
            retry_after: response.headers().get(RETRY_AFTER).cloned(),
        })
    }

    /// Whether it is everybody's: a quota is that of one client.
    pub(crate) fn is_shared(&self) -> bool {
        self.refusal.is_none_or(|refusal| refusal.reason() != Reason::RateLimited)
    }

    /// There was no response.
    pub(crate) const fn silent() -> Self {
        Self { status: StatusCode::BAD_GATEWAY, refusal: None, retry_after: None }
    }

    fn response(&self, request: &RequestHead<'_>) -> Response<Bytes> {
        if let Some(refusal) = &self.refusal {
            return refusal.response(request);
        }
        let grpc_status = if self.status == StatusCode::GATEWAY_TIMEOUT { 4 } else { 14 };
        let mut response = Problem::new(self.status, grpc_status, FAILED).response(request);
        if let Some(retry_after) = &self.retry_after {
            response.headers_mut().insert(RETRY_AFTER, retry_after.clone());
        }
        response
    }
}

impl Landed {
    fn selection(&self) -> Option<&Selection> {
        match self {
            Self::Arriving(arrival) => Some(&arrival.selection),
            Self::Stored(entry) => Some(&entry.selection),
            Self::Failed(_) | Self::Useless => None,
        }
    }

    /// Answers a request that has waited, where it may share what came.
    pub(crate) fn share<B>(
        &self,
        shared: &Shared,
        fetch: &Fetch,
        request: &RequestHead<'_>,
    ) -> Sequel<B>
    where
        B: Body<Data = Bytes>,
    {
        let (now, fields) = (shared.clock.now(), RequestFields::of(&fetch.request));
        let age = |kept: &Kept| match reuse(&fields.directives(), kept, now) {
            Reuse::Serve { age } | Reuse::ServeAndRefresh { age } => Some(age),
            Reuse::Stale | Reuse::Unwanted => None,
        };
        if let Some(selection) = self.selection()
            && !selection.matches(&fields)
        {
            return Sequel::Regroup(shared.variant(selection, &fields));
        }
        let mut answer = match self {
            Self::Arriving(arrival) => {
                let answer = age(&arrival.kept).and_then(|age| arrival.answer(&fields, age));
                let Some(answer) = answer else { return Sequel::Alone };
                answer
            }
            // A part that was validated for who asked for no more.
            Self::Stored(entry) if !entry.can_answer(&fields, false) => return Sequel::Alone,
            Self::Stored(entry) => match age(&entry.kept(now)) {
                Some(age) => entry.response(Form::of(&fields, false, entry), age),
                None => return Sequel::Alone,
            },
            Self::Failed(failure) => match fetch.replace(shared, now, Some(failure.status)) {
                Some(stale) => return Sequel::Answer(stale),
                None => failure.response(request).map(ReplyBody::bytes).map(CacheBody::own),
            },
            Self::Useless => return Sequel::Alone,
        };
        shared.tell_of(Status::Collapsed(fetch.forward), answer.headers_mut());
        Sequel::Answer(answer)
    }
}

const FAILED: &str = "the origin failed for a request that this one has waited for";
