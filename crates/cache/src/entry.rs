use std::borrow::Cow;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::BytesMut;
use http::header::{AGE, CACHE_STATUS, CONTENT_LENGTH, ETAG, IF_RANGE};
use http::{HeaderMap, HeaderName, HeaderValue, Response, StatusCode};
use tower_edge_core::{OfferedCodings, ReplyBody};

use crate::age::age_value;
use crate::heap::{self, COUNTS, allocated, shared};
use crate::mark::Mark;
use crate::partial::{has_ranges, partial};
use crate::policy::{Content, Kept, RequestFields, Selection, Wanted, not_modified_fields, wanted};

/// A stored response, with all that decides about its reuse.
#[derive(Debug)]
pub(crate) struct Entry {
    pub(crate) status: StatusCode,
    /// As [`stored_fields`](crate::policy::stored_fields) has them.
    pub(crate) fields: HeaderMap,
    /// Those of a 304, made once so that clients who have it are cheap.
    unmodified: HeaderMap,
    pub(crate) content: Content,
    pub(crate) trailers: Option<HeaderMap>,
    pub(crate) selection: Selection,
    /// As it came; see [`kept`](Self::kept).
    kept: Kept,
    mark: Mark,
    /// Whether the entity tag was made here: clients may ask for it, the origin
    /// does not know it.
    pub(crate) own_tag: bool,
    /// What the fields and trailers take of memory, in bytes.
    head: usize,
}

impl Entry {
    /// Makes an entry whose fields have memory of their own, whatever buffers of
    /// the connection the response came in.
    pub(crate) fn new(
        status: StatusCode,
        fields: &HeaderMap,
        content: Content,
        trailers: Option<HeaderMap>,
        selection: Selection,
        kept: Kept,
        own_tag: Option<HeaderValue>,
    ) -> Self {
        let mut fields = fields.clone();
        if trailers.is_none() && status != StatusCode::NO_CONTENT {
            fields.insert(CONTENT_LENGTH, HeaderValue::from(content.length()));
        }
        Self::prepared(status, fields, content, trailers, selection, kept, own_tag)
    }

    /// The same response after a validation.
    pub(crate) fn freshened(&self, fields: &HeaderMap, selection: Selection, kept: Kept) -> Self {
        let own = self.fields.get(ETAG).filter(|_| self.own_tag && !fields.contains_key(ETAG));
        let (content, trailers) = (self.content.clone(), self.trailers.clone());
        let fields = fields.clone();
        Self::prepared(self.status, fields, content, trailers, selection, kept, own.cloned())
    }

    /// The same response in memory of its own, but for the bytes of the body: only
    /// who holds those is counted apart.
    pub(crate) fn apart(&self) -> Self {
        Self {
            status: self.status,
            fields: apart(&self.fields),
            unmodified: apart(&self.unmodified),
            content: self.content.apart(),
            trailers: self.trailers.as_ref().map(apart),
            selection: self.selection.clone(),
            kept: self.kept,
            mark: self.mark.clone(),
            own_tag: self.own_tag,
            head: self.head + texts(&self.unmodified),
        }
    }

    /// The response with what it is to know of purges; without, all there were
    /// are taken to be about it.
    pub(crate) fn marked(self, mark: Mark) -> Self {
        Self { mark, ..self }
    }

    /// What is to be kept in mind of it, as purges have left it.
    pub(crate) fn kept(&self, now: Instant) -> Cow<'_, Kept> {
        self.mark.purged(&self.kept, now)
    }

    /// Since when it is there, and by its own word.
    pub(crate) fn came(&self) -> &Kept {
        &self.kept
    }

    pub(crate) fn mark(&self) -> &Mark {
        &self.mark
    }

    /// The response with the entity tag that the cache has made, if it has; ready
    /// to be stored.
    fn prepared(
        status: StatusCode,
        mut fields: HeaderMap,
        content: Content,
        mut trailers: Option<HeaderMap>,
        selection: Selection,
        kept: Kept,
        own: Option<HeaderValue>,
    ) -> Self {
        let (mark, own_tag) = (Mark::default(), own.is_some());
        if let Some(tag) = own {
            fields.insert(ETAG, tag);
        }
        compact(&mut fields);
        let fields = with_slots(fields);
        let unmodified = with_slots(not_modified_fields(&fields));
        if let Some(trailers) = &mut trailers {
            compact(trailers);
        }
        let of_trailers = trailers.as_ref().map_or(0, |trailers| table(trailers) + texts(trailers));
        // What the fields of a 304 are made of is that of all fields.
        let head = table(&fields) + texts(&fields) + table(&unmodified) + of_trailers;
        Self { status, fields, unmodified, content, trailers, selection, kept, mark, own_tag, head }
    }

    /// The entity tag that the origin knows.
    pub(crate) fn origin_tag(&self) -> Option<&HeaderValue> {
        self.fields.get(ETAG).filter(|_| !self.own_tag)
    }

    /// The fields as they came, to be updated (RFC 9111 §3.2).
    pub(crate) fn received(&self) -> HeaderMap {
        let mut fields = self.fields.clone();
        fields.remove(AGE);
        if self.own_tag {
            fields.remove(ETAG);
        }
        if fields.get(CACHE_STATUS).is_some_and(HeaderValue::is_empty) {
            fields.remove(CACHE_STATUS);
        }
        fields
    }

    /// What it takes of memory, in bytes, all told.
    pub(crate) fn weight(&self) -> usize {
        let place = size_of::<Arc<Self>>();
        allocated(COUNTS + size_of::<Self>())
            + place
            + self.head
            + self.content.weight()
            + self.selection.weight()
            + self.mark.weight()
    }

    /// The answer to a request with these fields: the stored response, parts of
    /// it, or 304 if the client has it already (RFC 9111 §4.3.2). `Cache-Status`
    /// is to be added.
    pub(crate) fn answer<B>(
        &self,
        request: &RequestFields<'_>,
        head_only: bool,
        age: Duration,
    ) -> Response<ReplyBody<B>> {
        let length = (!head_only && self.has_parts()).then(|| self.content.length());
        let wanted = wanted(request, self.status, &self.fields, length);
        let mut response = Response::new(ReplyBody::empty());
        if wanted == Wanted::Unmodified {
            *response.status_mut() = StatusCode::NOT_MODIFIED;
            *response.headers_mut() = self.unmodified.clone();
        } else if let Wanted::Ranges(asked) = wanted
            && let if_range = request.contains_key(IF_RANGE)
            && let Some(partial) = partial(&self.fields, &self.content, asked, if_range)
        {
            response = partial;
        } else {
            *response.status_mut() = self.status;
            *response.headers_mut() = self.fields.clone();
            if !head_only {
                *response.body_mut() = self.reply();
            }
        }
        match response.headers_mut().iter_mut().next() {
            Some((name, slot)) if *name == AGE => *slot = age_value(age),
            _ => drop(response.headers_mut().insert(AGE, age_value(age))),
        }
        response
    }

    /// Whether it has what a request asks for: all, or the parts of it that are
    /// stored (RFC 9111 §3.3).
    #[inline]
    pub(crate) fn can_answer(&self, request: &HeaderMap, head_only: bool) -> bool {
        self.content.is_whole() || (!head_only && has_ranges(&self.fields, &self.content, request))
    }

    /// Whether it can be answered in parts: the trailers are about the whole.
    pub(crate) fn has_parts(&self) -> bool {
        self.status == StatusCode::OK && self.trailers.is_none()
    }

    fn reply<B>(&self) -> ReplyBody<B> {
        match (&self.content, &self.trailers) {
            (Content::Whole(bytes), None) => ReplyBody::bytes(bytes.clone()),
            (Content::Whole(bytes), Some(trailers)) => {
                ReplyBody::with_trailers(bytes.clone(), trailers.clone())
            }
            // It is answered in parts only.
            (Content::Parts(_), _) => ReplyBody::empty(),
        }
    }
}

/// Fields with slots for those that each answer gets anew, before all others, and
/// no place for more but one: a map that is full grows when a value in it is
/// replaced.
fn with_slots(mut fields: HeaderMap) -> HeaderMap {
    let mut all = HeaderMap::with_capacity(fields.len() + SLOTS + 1);
    let empty = HeaderValue::from_static("");
    fields.remove(AGE);
    all.insert(AGE, empty.clone());
    if !fields.contains_key(CACHE_STATUS) {
        all.insert(CACHE_STATUS, empty);
    }
    all.extend(fields);
    // A clone takes no more than it needs.
    all.clone()
}

/// Copies fields with slots so that the copy shares nothing with them, not even long
/// names.
fn apart(fields: &HeaderMap) -> HeaderMap {
    let mut copy = HeaderMap::with_capacity(fields.len() + 1);
    for (name, value) in fields {
        let own = HeaderName::from_bytes(name.as_str().as_bytes());
        copy.append(own.unwrap_or_else(|_| name.clone()), value.clone());
    }
    compact(&mut copy);
    copy.clone()
}

/// Makes the values of fields share one buffer made for them, but for a line of `Vary`
/// that is more than its text.
fn compact(fields: &mut HeaderMap) {
    let is_text = |value: &&HeaderValue| OfferedCodings::of_vary(value).is_none();
    let mut buffer =
        BytesMut::with_capacity(fields.values().filter(is_text).map(HeaderValue::len).sum());
    fields.values().filter(is_text).for_each(|value| buffer.extend_from_slice(value.as_bytes()));
    let mut buffer = buffer.freeze();
    for value in fields.values_mut().filter(|value| is_text(&&**value)) {
        let bytes = buffer.split_to(value.len());
        // The bytes were a value before, so they are one now.
        if let Ok(mut copy) = HeaderValue::from_maybe_shared(bytes) {
            copy.set_sensitive(value.is_sensitive());
            *value = copy;
        }
    }
}

/// What a cloned map takes of memory beside its texts, in bytes: an index of four
/// bytes for each place, of which a quarter stays free, a bucket for each name, and
/// for each further value of a name a link.
fn table(fields: &HeaderMap) -> usize {
    let more = fields.len() - fields.keys_len();
    allocated(fields.capacity() / 3 * 4 * 4)
        + allocated(fields.keys_len() * BUCKET)
        + allocated(more * LINK)
}

/// What the texts of compacted fields take, in bytes.
fn texts(fields: &HeaderMap) -> usize {
    let values = fields.values().map(HeaderValue::len).sum();
    shared(values) + fields.keys().map(heap::name).sum::<usize>()
}

const SLOTS: usize = 2;

const BUCKET: usize = size_of::<HeaderName>() + size_of::<HeaderValue>() + 32;
const LINK: usize = size_of::<HeaderValue>() + 32;

#[cfg(test)]
mod tests {
    use tower_edge_core::Coding;

    use super::*;

    #[test]
    fn compact_fields_are_the_same_fields() {
        let fields = [("a", "1"), ("b", ""), ("a", "2"), ("date", "x")];
        let fields = fields.map(|(name, value)| (name.parse().unwrap(), value.parse().unwrap()));
        let mut fields = HeaderMap::from_iter(fields);
        let offered = OfferedCodings::new([Coding::Br]);
        fields.insert("vary", offered.vary());
        let mut copy = fields.clone();
        compact(&mut copy);
        assert_eq!(copy, fields);
        assert_eq!(OfferedCodings::of_vary(&copy["vary"]), Some(offered));
    }

    #[test]
    fn a_map_with_slots_does_not_grow_when_they_are_filled() {
        for count in 0..50 {
            let names = (0..count).map(|number| format!("x-{number}").parse().unwrap());
            let fields = names.map(|name| (name, HeaderValue::from_static("1")));
            let mut fields = with_slots(HeaderMap::from_iter(fields));
            let capacity = fields.capacity();
            for name in [AGE, CACHE_STATUS] {
                fields.insert(name, HeaderValue::from_static("2"));
            }
            assert_eq!(fields.capacity(), capacity, "{count}");
        }
    }
}
