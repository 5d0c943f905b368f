use std::borrow::Cow;
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::header::{AGE, CACHE_STATUS, CONTENT_LENGTH, ETAG};
use http::{HeaderMap, HeaderValue, Response, StatusCode};
use http_body::Body;
use tower_edge_core::ReplyBody;

use crate::age::age_value;
use crate::answer::Form;
use crate::body::CacheBody;
use crate::head::{apart, compact, names, table, table_of, texts, with_slots};
use crate::heap::{COUNTS, allocated, shared};
use crate::mark::Mark;
use crate::partial::{has_ranges, partial};
use crate::policy::{Content, Kept, Selection, Wanted, not_modified_fields, not_modified_lines};

/// A stored response, with all that decides about its reuse.
#[derive(Debug)]
pub(crate) struct Entry {
    pub(crate) status: StatusCode,
    /// As [`stored_fields`](crate::policy::stored_fields) has them.
    pub(crate) fields: HeaderMap,
    /// Those of a 304, made for the first client who has it, so that others are cheap.
    unmodified: OnceLock<HeaderMap>,
    pub(crate) content: Content,
    pub(crate) trailers: Option<HeaderMap>,
    pub(crate) selection: Selection,
    /// As it came; see [`kept`](Self::kept).
    kept: Kept,
    mark: Mark,
    /// Whether the entity tag was made here: clients may ask for it, the origin
    /// does not know it.
    pub(crate) own_tag: bool,
    /// The length of the record that the values of fields lie in, but for the body, in
    /// bytes; 0 if they have memory of their own.
    record: usize,
    /// What the fields and trailers take of memory, in bytes, those of a 304 too.
    head: OnceLock<usize>,
}

/// What a tier had of a response, beside its body.
#[derive(Debug)]
pub(crate) struct Restored {
    pub(crate) status: StatusCode,
    /// As [`Entry::received`] gives them, with slots, and maybe in more memory than they
    /// need. The values lie in the record.
    pub(crate) fields: HeaderMap,
    pub(crate) trailers: Option<HeaderMap>,
    pub(crate) selection: Selection,
    pub(crate) kept: Kept,
    /// Whether a tag that the cache had made is among the fields.
    pub(crate) own_tag: bool,
    /// The length of the record but for the body, in bytes.
    pub(crate) length: usize,
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
        let has_length = trailers.is_none() && status != StatusCode::NO_CONTENT;
        let length = has_length.then(|| HeaderValue::from(content.length()));
        Self::prepared(status, fields, (length, own_tag), content, trailers, selection, kept)
    }

    /// Makes an entry of what a tier had; `None` if its length is not that of its
    /// body.
    pub(crate) fn restored(restored: Restored, content: Content) -> Option<Arc<Self>> {
        let Restored { status, fields, trailers, selection, kept, own_tag, length } = restored;
        let told = fields.get(CONTENT_LENGTH);
        let is_sound = trailers.is_some()
            || status == StatusCode::NO_CONTENT
            || told.is_some_and(|told| is_length(told, content.length()));
        if !is_sound {
            return None;
        }
        // Made where it stays.
        Some(Arc::new(Self {
            status,
            fields,
            unmodified: OnceLock::new(),
            content,
            trailers,
            selection,
            kept,
            mark: Mark::default(),
            own_tag,
            record: length,
            head: OnceLock::new(),
        }))
    }

    /// As [`marked`](Self::marked), unless others have it already.
    pub(crate) fn mark_now(self: &mut Arc<Self>, mark: Mark) {
        if let Some(entry) = Arc::get_mut(self) {
            entry.mark = mark;
        }
    }

    /// The same response in no more memory than it needs, unless others have it already.
    pub(crate) fn tidied(mut self: Arc<Self>) -> Arc<Self> {
        if let Some(entry) = Arc::get_mut(&mut self)
            && entry.record > 0
        {
            entry.fields = entry.fields.clone();
        }
        self
    }

    /// The same response after a validation.
    pub(crate) fn freshened(&self, fields: &HeaderMap, selection: Selection, kept: Kept) -> Self {
        let own = self.fields.get(ETAG).filter(|_| self.own_tag && !fields.contains_key(ETAG));
        let (content, trailers) = (self.content.clone(), self.trailers.clone());
        let own = (None, own.cloned());
        Self::prepared(self.status, fields, own, content, trailers, selection, kept)
    }

    /// The same response in memory of its own, but for the bytes of the body: only
    /// who holds those is counted apart.
    pub(crate) fn apart(&self) -> Self {
        Self {
            status: self.status,
            fields: apart(&self.fields),
            unmodified: OnceLock::new(),
            content: self.content.apart(),
            trailers: self.trailers.as_ref().map(apart),
            selection: self.selection.clone(),
            kept: self.kept,
            mark: self.mark.clone(),
            own_tag: self.own_tag,
            record: 0,
            head: OnceLock::new(),
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

    /// The response with its length and the entity tag that the cache has made, if it
    /// has; ready to be stored.
    fn prepared(
        status: StatusCode,
        fields: &HeaderMap,
        (length, own): (Option<HeaderValue>, Option<HeaderValue>),
        content: Content,
        trailers: Option<HeaderMap>,
        selection: Selection,
        kept: Kept,
    ) -> Self {
        let (unmodified, mark, own_tag) = (OnceLock::new(), Mark::default(), own.is_some());
        let more = [(CONTENT_LENGTH, length), (ETAG, own)];
        let more = more.iter().filter_map(|(name, value)| Some((name, value.as_ref()?)));
        let is_replaced = |name| more.clone().any(|(replaced, _)| replaced == name);
        let lines = fields.iter().filter(|(name, _)| !is_replaced(*name));
        let fields = compact(lines.chain(more.clone()));
        Self {
            status,
            fields,
            unmodified,
            content,
            trailers: trailers.as_ref().map(apart),
            selection,
            kept,
            mark,
            own_tag,
            record: 0,
            head: OnceLock::new(),
        }
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

    /// As [`weight`](Self::weight) or less, which is soon told.
    pub(crate) fn least_weight(&self) -> usize {
        allocated(COUNTS + size_of::<Self>())
            + self.content.weight()
            + table(&self.fields)
            + shared(self.record)
    }

    /// What it takes of memory, in bytes, all told.
    pub(crate) fn weight(&self) -> usize {
        let place = size_of::<Arc<Self>>();
        allocated(COUNTS + size_of::<Self>())
            + place
            + self.head()
            + self.content.weight()
            + self.selection.weight()
            + self.mark.weight()
    }

    /// The response in this form: as it is stored, parts of it, or 304. `Cache-Status` is
    /// to be added.
    pub(crate) fn response<B: Body<Data = Bytes>>(
        &self,
        form: Form,
        age: Duration,
    ) -> Response<CacheBody<B>> {
        let part = match form.wanted {
            Wanted::Ranges(asked) => partial(&self.fields, &self.content, asked, form.if_range),
            Wanted::Unmodified => {
                let nothing = CacheBody::own(ReplyBody::empty());
                let fields = self.unmodified().clone();
                return response(StatusCode::NOT_MODIFIED, fields, age, nothing);
            }
            Wanted::Whole => None,
        };
        if let Some(mut part) = part {
            part.headers_mut().insert(AGE, age_value(age));
            return part.map(CacheBody::own);
        }
        self.whole(self.fields.clone(), form.head_only, age)
    }

    /// The fields, if nobody else has the entry, as nobody has who was turned away from
    /// memory: they need not be copied then.
    pub(crate) fn take_fields(self: &mut Arc<Self>) -> Option<HeaderMap> {
        // Cheaper than to be sure of it, which is for those few.
        let may_be_last = Arc::strong_count(self) == 1;
        let last = may_be_last.then(|| Arc::get_mut(self)).flatten()?;
        Some(std::mem::take(&mut last.fields))
    }

    /// The response as it is stored, with these fields, which are its own.
    pub(crate) fn whole<B: Body<Data = Bytes>>(
        &self,
        fields: HeaderMap,
        head_only: bool,
        age: Duration,
    ) -> Response<CacheBody<B>> {
        let body = if head_only { ReplyBody::empty() } else { self.reply() };
        response(self.status, fields, age, CacheBody::own(body))
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

    fn head(&self) -> usize {
        *self.head.get_or_init(|| {
            let take = |fields| match self.record {
                0 => table(fields) + texts(fields),
                _ => table(fields) + names(fields),
            };
            let of_trailers = self.trailers.as_ref().map_or(0, take);
            // What the fields of a 304 are made of is that of all fields.
            let of_304 = table_of(not_modified_lines(&self.fields));
            take(&self.fields) + of_trailers + of_304 + shared(self.record)
        })
    }

    /// The fields of a 304.
    fn unmodified(&self) -> &HeaderMap {
        self.unmodified.get_or_init(|| {
            let fields = not_modified_fields(&self.fields);
            let lines = fields.iter().map(|(name, value)| (name.clone(), value.clone()));
            with_slots(fields.len(), false, lines)
        })
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

fn response<B>(status: StatusCode, fields: HeaderMap, age: Duration, body: B) -> Response<B> {
    let mut response = Response::new(body);
    *response.status_mut() = status;
    let answer = response.headers_mut();
    *answer = fields;
    match answer.iter_mut().next() {
        Some((name, slot)) if *name == AGE => *slot = age_value(age),
        _ => drop(answer.insert(AGE, age_value(age))),
    }
    response
}

/// Whether a field says this length, as we would write it.
fn is_length(told: &HeaderValue, length: usize) -> bool {
    let told = told.to_str().unwrap_or_default();
    let is_plain = told == "0" || !told.starts_with(['0', '+']);
    is_plain && told.parse() == Ok(length)
}
