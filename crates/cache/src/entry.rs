use std::borrow::Cow;
use std::time::{Duration, Instant};

use bytes::BytesMut;
use http::header::{AGE, CACHE_STATUS, CONTENT_LENGTH, ETAG, IF_RANGE};
use http::{HeaderMap, HeaderValue, Response, StatusCode};
use tower_edge_core::ReplyBody;

use crate::age::age_value;
use crate::mark::Mark;
use crate::partial::{has_ranges, partial};
use crate::policy::{Content, Kept, Selection, Wanted, not_modified_fields, wanted};

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
        let mut entry = Self {
            status,
            fields: prepared(fields),
            unmodified: HeaderMap::new(),
            content,
            trailers: trailers.as_ref().map(compacted),
            selection,
            kept,
            mark: Mark::default(),
            own_tag: false,
        };
        if entry.trailers.is_none() && status != StatusCode::NO_CONTENT {
            entry.fields.insert(CONTENT_LENGTH, HeaderValue::from(entry.content.length()));
        }
        entry.tagged(own_tag)
    }

    /// The same response after a validation.
    pub(crate) fn freshened(&self, fields: &HeaderMap, selection: Selection, kept: Kept) -> Self {
        let own = self.fields.get(ETAG).filter(|_| self.own_tag && !fields.contains_key(ETAG));
        let fresh = Self {
            status: self.status,
            fields: prepared(fields),
            unmodified: HeaderMap::new(),
            content: self.content.clone(),
            trailers: self.trailers.clone(),
            selection,
            kept,
            mark: Mark::default(),
            own_tag: false,
        };
        fresh.tagged(own.cloned())
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

    /// The response with the entity tag that the cache has made, if it has;
    /// ready to be stored.
    fn tagged(mut self, own: Option<HeaderValue>) -> Self {
        self.own_tag = own.is_some();
        if let Some(tag) = own {
            self.fields.insert(ETAG, tag);
        }
        self.unmodified = with_slots(not_modified_fields(&self.fields));
        self
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
        let fields = |fields: &HeaderMap| -> usize {
            let text = fields.iter().map(|(name, value)| name.as_str().len() + value.len());
            // A slot and an index for each name that fits, used or not.
            text.sum::<usize>() + fields.capacity() * FIELD
        };
        let trailers = self.trailers.as_ref().map_or(0, fields);
        size_of::<Self>()
            + fields(&self.fields)
            + self.unmodified.capacity() * FIELD
            + self.content.weight()
            + trailers
            + self.selection.weight()
            + self.mark.weight()
    }

    /// The answer to a request with these fields: the stored response, parts of
    /// it, or 304 if the client has it already (RFC 9111 §4.3.2). `Cache-Status`
    /// is to be added.
    pub(crate) fn answer<B>(
        &self,
        request: &HeaderMap,
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
        response.headers_mut().insert(AGE, age_value(age));
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

/// Fields whose values take memory of their own, ready for answers.
fn prepared(fields: &HeaderMap) -> HeaderMap {
    with_slots(compacted(fields))
}

/// Fields with slots for those that each answer gets anew: a map that is cloned
/// has no room for more.
fn with_slots(mut fields: HeaderMap) -> HeaderMap {
    fields.insert(AGE, HeaderValue::from_static(""));
    fields.entry(CACHE_STATUS).or_insert(HeaderValue::from_static(""));
    fields
}

/// Copies fields so that their values share one buffer made for them.
fn compacted(fields: &HeaderMap) -> HeaderMap {
    let mut buffer = BytesMut::with_capacity(fields.values().map(HeaderValue::len).sum());
    fields.values().for_each(|value| buffer.extend_from_slice(value.as_bytes()));
    let mut buffer = buffer.freeze();
    let mut compacted = HeaderMap::with_capacity(fields.len() + ADDED);
    for (name, value) in fields {
        let bytes = buffer.split_to(value.len());
        // The bytes were a value before, so they are one now.
        if let Ok(mut copy) = HeaderValue::from_maybe_shared(bytes) {
            copy.set_sensitive(value.is_sensitive());
            compacted.append(name, copy);
        }
    }
    compacted
}

/// `Age`, `Cache-Status`, `Content-Length` and `ETag`, and one place more: a map
/// that is full grows when a value in it is replaced.
const ADDED: usize = 5;

/// What a field takes in a `HeaderMap` beside its text.
const FIELD: usize = size_of::<http::HeaderName>() + size_of::<HeaderValue>() + 32;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn compacted_fields_are_the_same_fields() {
        let fields = [("a", "1"), ("b", ""), ("a", "2"), ("date", "x")];
        let fields = fields.map(|(name, value)| (name.parse().unwrap(), value.parse().unwrap()));
        let fields = HeaderMap::from_iter(fields);
        assert_eq!(compacted(&fields), fields);
    }
}
