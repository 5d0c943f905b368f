use std::sync::Arc;

use bytes::Bytes;
use http::header::ETAG;
use http::{HeaderMap, StatusCode};
use tower_edge_core::{BoxError, End, Event, Tap};

use crate::counts::Count;
use crate::draft::{Arrival, Draft};
use crate::entry::Entry;
use crate::feed::Feed;
use crate::join::joined;
use crate::policy::Content;
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

impl Fill {
    pub(crate) fn new(shared: Arc<Shared>, mut draft: Draft) -> Self {
        if draft.part.is_none() {
            // What a whole takes the place of need not be kept until then.
            draft.fetch.nominated.clear();
        }
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
            if self.feed.is_relay() {
                self.shared.note_loner(&work.draft.fetch.key, self.shared.clock.now());
            }
        }
    }
}

impl Tap<Bytes> for Fill {
    fn data(&mut self, data: &Bytes) {
        if let Err(why) = self.feed.push(data, self.shared.most()) {
            return self.give_up(why);
        }
        if let Some(Work { tag: Some(tag), .. }) = self.work.as_deref_mut() {
            tag.update(data);
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
                    self.shared.counts.add(Count::Stored);
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
    /// invalidated or purged on its way, or is of no use beside what is there.
    ///
    /// The flight is over then: who comes from now on finds it in the store.
    fn store(self, shared: &Shared, trailers: Option<HeaderMap>) -> Option<u64> {
        let Self { draft, tag } = self;
        let tag = tag.and_then(ContentTag::finish);
        let Draft { fetch, arrival, part, .. } = &draft;
        let Arrival { status, fields, selection, kept, feed } = &**arrival;
        let body = feed.whole();
        let mut stored = None;
        shared.change(&fetch.key, fetch.ticket, |variants| {
            let entry = match part {
                Some((range, length)) => {
                    let content = Content::part(range, *length, body);
                    joined(shared, &draft, content, variants)?
                }
                None => {
                    let (content, selection) = (Content::Whole(body), selection.clone());
                    Entry::new(*status, fields, content, trailers, selection, *kept, tag)
                        .marked(fetch.mark(shared, fields))
                }
            };
            if shared.store.is_gone(&fetch.key, &entry) {
                return None;
            }
            let weight = entry.weight() as u64;
            let all = with(variants, entry, &fetch.request)?;
            stored = Some(weight);
            Some(all)
        });
        stored
    }
}
