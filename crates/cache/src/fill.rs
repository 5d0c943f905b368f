use std::sync::Arc;
use std::sync::atomic::Ordering;

use bytes::Bytes;
use http::header::ETAG;
use http::{HeaderMap, StatusCode};
use tower_edge_core::{End, Event, Expected, Tap};

use crate::entry::Entry;
use crate::policy::{Kept, Selection};
use crate::shared::Shared;
use crate::store::{ResourceKey, Ticket};
use crate::tag::ContentTag;

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
    pub(crate) key: ResourceKey,
    pub(crate) ticket: Ticket,
    pub(crate) status: StatusCode,
    pub(crate) fields: HeaderMap,
    pub(crate) selection: Selection,
    pub(crate) kept: Kept,
    pub(crate) expected: Expected,
}

impl Fill {
    pub(crate) fn new(shared: Arc<Shared>, draft: Draft) -> Self {
        let bytes = draft.expected.bytes().unwrap_or(0).min(shared.max_entry);
        let body = Vec::with_capacity(usize::try_from(bytes).unwrap_or(0));
        let untagged = draft.status == StatusCode::OK && !draft.fields.contains_key(ETAG);
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
        let Work { draft, body, tag } = *work;
        if draft.expected.bytes().is_some_and(|bytes| bytes != body.len() as u64) {
            return self.shared.tell(&Event::CacheNotStored { why: "length is not as announced" });
        }
        let Draft { key, ticket, status, fields, selection, kept, .. } = draft;
        let tag = tag.and_then(ContentTag::finish);
        let entry = Entry::new(status, &fields, body, trailers, selection, kept, tag);
        let bytes = entry.weight() as u64;
        self.shared.store.insert(&key, ticket, Arc::new(entry));
        self.shared.counts.stored.fetch_add(1, Ordering::Relaxed);
        self.shared.tell(&Event::CacheStored { bytes });
    }
}

#[derive(Debug)]
struct Work {
    draft: Draft,
    body: Vec<u8>,
    /// There if the response has no tag and is to have one.
    tag: Option<ContentTag>,
}
