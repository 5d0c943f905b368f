use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use bytes::Bytes;
use http::header::ETAG;
use http::{HeaderMap, StatusCode};
use tower_edge_core::{End, Event, Expected, Tap};

use crate::entry::Entry;
use crate::flight::Fetch;
use crate::join::joined;
use crate::policy::{Content, Exchange, Kept, Selection};
use crate::shared::Shared;
use crate::tag::ContentTag;
use crate::variants::with;

/// Copies a body on its way to the client, and stores it when it is whole.
///
/// A body that breaks off, is dropped early, outgrows the bound or ends short of
/// its `Content-Length` leaves nothing behind.
#[derive(Debug)]
pub(crate) struct Fill {
    shared: Arc<Shared>,
    /// Given up as soon as it is of no use.
    work: Option<Box<Work>>,
}

/// An entry that wants its body.
#[derive(Debug)]
pub(crate) struct Draft {
    pub(crate) fetch: Box<Fetch>,
    pub(crate) status: StatusCode,
    pub(crate) fields: HeaderMap,
    pub(crate) selection: Selection,
    pub(crate) kept: Kept,
    pub(crate) exchange: Exchange,
    /// Where its bytes belong, and the length of the whole, if it is a part.
    pub(crate) part: Option<(Range<usize>, usize)>,
    pub(crate) expected: Expected,
}

impl Fill {
    pub(crate) fn new(shared: Arc<Shared>, draft: Draft) -> Self {
        let bytes = draft.expected.bytes().unwrap_or(0).min(shared.max_entry);
        let body = Vec::with_capacity(usize::try_from(bytes).unwrap_or(0));
        let is_whole = draft.status == StatusCode::OK && draft.part.is_none();
        let untagged = is_whole && !draft.fields.contains_key(ETAG);
        let tag = (untagged && shared.generate_etag).then(ContentTag::default);
        Self { shared, work: Some(Box::new(Work { draft, body, tag })) }
    }

    fn give_up(&mut self, why: &'static str) {
        if self.work.take().is_some() {
            self.shared.tell(&Event::CacheNotStored { why });
        }
    }
}

impl Tap<Bytes> for Fill {
    fn data(&mut self, data: &Bytes) {
        let Some(work) = &mut self.work else { return };
        if (work.body.len() + data.len()) as u64 > self.shared.max_entry {
            return self.give_up("too large");
        }
        work.body.extend_from_slice(data);
        if let Some(tag) = &mut work.tag {
            tag.update(data);
        }
    }

    fn end(&mut self, end: End<'_>) {
        let trailers = match end {
            End::Complete(trailers) => trailers.cloned(),
            End::Failed => return self.give_up("broke off"),
            End::Dropped => return self.give_up("client left"),
        };
        let Some(work) = self.work.take() else { return };
        let part = work.draft.part.as_ref().map(|(range, _)| range.len() as u64);
        let announced = [work.draft.expected.bytes(), part];
        if announced.into_iter().flatten().any(|bytes| bytes != work.body.len() as u64) {
            return self.shared.tell(&Event::CacheNotStored { why: "length is not as announced" });
        }
        match work.store(&self.shared, trailers) {
            Some(bytes) => {
                self.shared.counts.stored.fetch_add(1, Ordering::Relaxed);
                self.shared.tell(&Event::CacheStored { bytes });
            }
            None => self.shared.tell(&Event::CacheNotStored { why: "outdated" }),
        }
    }
}

#[derive(Debug)]
struct Work {
    draft: Draft,
    body: Vec<u8>,
    /// There if the response has no tag and is to have one.
    tag: Option<ContentTag>,
}

impl Work {
    /// Stores what is whole now; gives what it takes of memory. `None` if it was
    /// invalidated on its way, or is of no use beside what is there.
    fn store(self, shared: &Shared, trailers: Option<HeaderMap>) -> Option<u64> {
        let Self { draft, body, tag } = self;
        let body = Bytes::from(body.into_boxed_slice());
        let tag = tag.and_then(ContentTag::finish);
        let Draft { fetch, status, fields, selection, kept, part, .. } = &draft;
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
