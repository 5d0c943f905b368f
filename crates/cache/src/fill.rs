use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use bytes::Bytes;
use http::header::{AGE, CACHE_STATUS, ETAG, SET_COOKIE};
use http::{HeaderMap, Response, StatusCode};
use http_body::Body;
use tokio::runtime::Handle;
use tower_edge_core::{BoxError, End, Event, Expected, ReplyBody, Tap};

use crate::age::age_value;
use crate::body::CacheBody;
use crate::entry::Entry;
use crate::feed::{Feed, Reader};
use crate::flight::Fetch;
use crate::join::joined;
use crate::landing::Landed;
use crate::policy::{Content, Exchange, Kept, Selection, Wanted, not_modified_fields, wanted};
use crate::shared::Shared;
use crate::tag::ContentTag;
use crate::variants::with;

/// Copies a body on its way to clients, and stores it when it is whole.
///
/// A body that breaks off, is left by all, outgrows the bound or ends short of
/// its `Content-Length` leaves nothing behind.
#[derive(Debug)]
pub(crate) struct Fill {
    shared: Arc<Shared>,
    feed: Arc<Feed>,
    /// Given up as soon as it is of no use.
    work: Option<Box<Work>>,
}

/// An entry that wants its body.
#[derive(Debug)]
pub(crate) struct Draft {
    pub(crate) fetch: Box<Fetch>,
    pub(crate) arrival: Arc<Arrival>,
    pub(crate) exchange: Exchange,
    /// Where its bytes belong, and the length of the whole, if it is a part.
    pub(crate) part: Option<(Range<usize>, usize)>,
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

impl Draft {
    /// Shares the response with those who wait for it. A part is not what they
    /// wait for.
    pub(crate) fn share(&self, shared: &Shared) {
        let (arrival, now) = (&self.arrival, self.exchange.responded);
        match self.part {
            None => self.fetch.share(shared, Landed::Arriving(arrival.clone()), &arrival.kept, now),
            Some(_) => self.fetch.of_no_use(shared, now),
        }
    }

    /// The fields of a 304, if the client has already what was fetched. What sets a
    /// cookie goes out whole; so does all where no task could store it meanwhile.
    pub(crate) fn unmodified<B>(&self, response: &Response<B>) -> Option<HeaderMap> {
        let (status, fields) = (response.status(), response.headers());
        let has_it = wanted(&self.fetch.request, status, fields, None) == Wanted::Unmodified;
        let can_wait = !fields.contains_key(SET_COOKIE) && Handle::try_current().is_ok();
        (has_it && can_wait).then(|| {
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
    /// 304 if the client has it already. `Cache-Status` is to be added.
    pub(crate) fn answer<B>(&self, request: &HeaderMap, age: Duration) -> Response<CacheBody<B>>
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
                *response.status_mut() = self.status;
                *response.headers_mut() = self.fields.clone();
                *response.body_mut() = CacheBody::reading(Reader::follow(self.feed.clone()));
            }
        }
        response.headers_mut().insert(AGE, age_value(age));
        response
    }
}

impl Fill {
    pub(crate) fn new(shared: Arc<Shared>, draft: Draft) -> Self {
        let Arrival { status, fields, feed, .. } = &*draft.arrival;
        let untagged =
            *status == StatusCode::OK && draft.part.is_none() && !fields.contains_key(ETAG);
        let tag = (untagged && shared.generate_etag).then(ContentTag::default);
        let feed = feed.clone();
        Self { shared, feed, work: Some(Box::new(Work { draft, tag })) }
    }

    fn give_up(&mut self, why: &'static str) {
        if let Some(work) = self.work.take() {
            self.shared.tell(&Event::CacheNotStored { why });
            self.shared.loners.note(&work.draft.fetch.key, self.shared.clock.now());
        }
    }
}

impl Tap<Bytes> for Fill {
    fn data(&mut self, data: &Bytes) {
        let len = self.feed.push(data);
        let Some(work) = &mut self.work else { return };
        if let Some(tag) = &mut work.tag {
            tag.update(data);
        }
        if len > self.shared.max_entry {
            self.feed.relay();
            self.give_up("too large");
        }
    }

    fn end(&mut self, end: End<'_>) {
        let trailers = match end {
            End::Complete(trailers) => trailers.cloned(),
            End::Failed => return self.give_up("broke off"),
            End::Dropped => return self.give_up("client left"),
        };
        if !self.feed.is_as_announced() {
            self.give_up("length is not as announced");
            return self.feed.end(Err(BoxError::from("the body is not as long as was announced")));
        }
        if let Some(work) = self.work.take() {
            match work.store(&self.shared, trailers.clone()) {
                Some(bytes) => {
                    self.shared.counts.stored.fetch_add(1, Ordering::Relaxed);
                    self.shared.tell(&Event::CacheStored { bytes });
                }
                None => self.shared.tell(&Event::CacheNotStored { why: "outdated" }),
            }
        }
        self.feed.end(Ok(trailers));
    }
}

#[derive(Debug)]
struct Work {
    draft: Draft,
    /// There if the response has no tag and is to have one.
    tag: Option<ContentTag>,
}

impl Work {
    /// Stores what is whole now; gives what it takes of memory. `None` if it was
    /// invalidated on its way, or is of no use beside what is there.
    ///
    /// The flight is over then: who comes from now on finds it in the store.
    fn store(self, shared: &Shared, trailers: Option<HeaderMap>) -> Option<u64> {
        let Self { draft, tag } = self;
        let tag = tag.and_then(ContentTag::finish);
        let Draft { fetch, arrival, part, .. } = &draft;
        let Arrival { status, fields, selection, kept, feed } = &**arrival;
        let body = feed.whole();
        let mut stored = None;
        shared.store.change(&fetch.key, fetch.ticket, |variants| {
            let entry = match part {
                Some((range, length)) => {
                    let content = Content::part(range, *length, body);
                    joined(shared, &draft, content, variants)?
                }
                None => {
                    let (content, selection) = (Content::Whole(body), selection.clone());
                    Entry::new(*status, fields, content, trailers, selection, *kept, tag)
                }
            };
            let weight = entry.weight() as u64;
            let all = with(variants, entry, &fetch.request)?;
            stored = Some(weight);
            Some(all)
        });
        stored
    }
}
