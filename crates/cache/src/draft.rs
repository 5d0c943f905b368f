use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::header::{AGE, CACHE_STATUS, CONTENT_RANGE, RANGE, SET_COOKIE};
use http::{HeaderMap, Method, Response, StatusCode};
use http_body::Body;
use tokio::runtime::Handle;
use tower_edge_core::{Event, Expected, ReplyBody, ResponseHead};

use crate::age::age_value;
use crate::body::CacheBody;
use crate::feed::{Feed, Reader};
use crate::flight::Fetch;
use crate::join::is_wanted;
use crate::landing::Landed;
use crate::policy::{
    Exchange, Kept, RequestFields, Selection, Wanted, content_range, not_modified_fields, storable,
    stored_fields, wanted,
};
use crate::shared::Shared;

/// An entry that wants its body.
#[derive(Debug)]
pub(crate) struct Draft {
    pub(crate) fetch: Box<Fetch>,
    pub(crate) arrival: Arc<Arrival>,
    pub(crate) exchange: Exchange,
    /// There if it is a part.
    pub(crate) part: Option<Part>,
    pub(crate) expected: Expected,
}

/// A response that is to be stored, while its body comes.
#[derive(Debug)]
pub(crate) struct Arrival {
    pub(crate) status: StatusCode,
    pub(crate) fields: HeaderMap,
    pub(crate) selection: Selection,
    pub(crate) kept: Kept,
    pub(crate) feed: Arc<Feed>,
}

/// Where the bytes of a part belong, and the length of the whole.
pub(crate) type Part = (Range<usize>, usize);

impl Fetch {
    /// What is to be stored of a response, where that is permitted and it may fit.
    ///
    /// A part is judged as the 200 that it is a part of (RFC 9111 §3.3).
    pub(crate) fn draft<B: Body>(
        mut self: Box<Self>,
        shared: &Shared,
        response: &Response<B>,
        exchange: &Exchange,
    ) -> Result<Draft, Box<Self>> {
        let Some((arrival, part, expected)) = self.arrival(shared, response, exchange) else {
            return Err(self);
        };
        self.selected = None;
        let draft = Draft { fetch: self, arrival, exchange: *exchange, part, expected };
        if let Some((_, length)) = draft.part {
            let stored = shared.store.get(&draft.fetch.key.resource()).unwrap_or_default();
            if !is_wanted(&draft, length, &stored) {
                return Err(draft.fetch);
            }
        }
        Ok(draft)
    }

    fn arrival<B: Body>(
        &self,
        shared: &Shared,
        response: &Response<B>,
        exchange: &Exchange,
    ) -> Option<(Arc<Arrival>, Option<Part>, Expected)> {
        let (status, headers) = (response.status(), response.headers());
        let ranged = self.request.contains_key(RANGE);
        let is_part = ranged && status == StatusCode::PARTIAL_CONTENT;
        let part = is_part.then(|| content_range(headers)).flatten();
        // What else an origin says of a range need not hold for the whole.
        if ranged && part.is_none() && status != StatusCode::OK {
            return None;
        }
        let status = if is_part { StatusCode::OK } else { status };
        let candidate = self.candidate(status, headers, exchange);
        let (kept, excluded) = storable(&shared.rules, &candidate).ok()?;
        let mut fields = stored_fields(headers, &excluded, exchange.wall);
        if is_part {
            fields.remove(CONTENT_RANGE);
        }
        let selection = Selection::of(&self.request, &fields)?;
        let head = ResponseHead::new(response);
        let expected = Expected::of(&Method::GET, &head, &response.body().size_hint());
        let size = part.as_ref().map(|(range, _)| range.len() as u64).or(expected.bytes());
        if let Some(why) = shared.refusal(size.unwrap_or(1)) {
            shared.tell(&Event::CacheNotStored { why });
            return None;
        }
        let feed = Feed::new(size, &shared.room);
        Some((Arc::new(Arrival { status, fields, selection, kept, feed }), part, expected))
    }
}

impl Draft {
    /// Shares the response with those who wait for it. A part is not what they
    /// wait for, nor does it say anything of the whole.
    pub(crate) fn share(&self, shared: &Shared) {
        let (arrival, now) = (&self.arrival, self.exchange.responded);
        match self.part {
            None => self.fetch.share(shared, Landed::Arriving(arrival.clone()), &arrival.kept, now),
            Some(_) => self.fetch.tell(Landed::Useless),
        }
    }

    /// The fields of a 304, if the client has already what was fetched. What sets a
    /// cookie goes out whole; so does all where no task could store it meanwhile.
    ///
    /// Conditions that went upstream are not evaluated again (RFC 9111 §4.3.2): an
    /// origin may mind an exact date, and have a reason to send an earlier one.
    pub(crate) fn unmodified<B>(&self, response: &Response<B>) -> Option<HeaderMap> {
        let (status, fields) = (response.status(), response.headers());
        let request = RequestFields::of(&self.fetch.request);
        let has_it = wanted(&request, status, fields, None) == Wanted::Unmodified;
        let can_wait = !fields.contains_key(SET_COOKIE) && Handle::try_current().is_ok();
        let replaced = !self.fetch.nominated.is_empty() || self.fetch.lead.is_some();
        (has_it && can_wait && replaced).then(|| {
            let mut unmodified = not_modified_fields(fields);
            for name in [AGE, CACHE_STATUS] {
                unmodified.extend(
                    fields.get_all(&name).iter().map(|value| (name.clone(), value.clone())),
                );
            }
            unmodified
        })
    }
}

impl Arrival {
    /// The answer for a client that shares the response while it comes: whole, or
    /// 304 if the client has it already; none if it comes too late for the first
    /// byte. `Cache-Status` is to be added.
    pub(crate) fn answer<B>(
        &self,
        request: &RequestFields<'_>,
        age: Duration,
    ) -> Option<Response<CacheBody<B>>>
    where
        B: Body<Data = Bytes>,
    {
        let mut response = Response::new(CacheBody::own(ReplyBody::empty()));
        match wanted(request, self.status, &self.fields, None) {
            Wanted::Unmodified => {
                *response.status_mut() = StatusCode::NOT_MODIFIED;
                *response.headers_mut() = not_modified_fields(&self.fields);
            }
            Wanted::Whole | Wanted::Ranges(_) => {
                let reader = Reader::follow(self.feed.clone())?;
                *response.status_mut() = self.status;
                *response.headers_mut() = self.fields.clone();
                *response.body_mut() = CacheBody::reading(reader);
            }
        }
        response.headers_mut().insert(AGE, age_value(age));
        Some(response)
    }
}
