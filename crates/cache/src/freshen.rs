use std::borrow::Cow;
use std::sync::Arc;

use bytes::Bytes;
use http::header::{CONTENT_LENGTH, ETAG, LAST_MODIFIED};
use http::{HeaderMap, HeaderValue, Response, StatusCode};
use http_body::Body;
use tower_edge_core::ReplyBody;

use crate::answer::Form;
use crate::body::CacheBody;
use crate::entry::Entry;
use crate::flight::Fetch;
use crate::landing::Landed;
use crate::policy::{
    Exchange, RequestFields, Selection, Unstorable, identified, initial_age, matches_weakly,
    storable, strong_tag, updated_fields, without_plain_tag,
};
use crate::shared::Shared;
use crate::status::Status;
use crate::variants::{selected, with};

impl Fetch {
    /// Answers with what is stored, updated from a 304 (RFC 9111 §4.3.4).
    ///
    /// The client gets all the fields, the store those that it may keep.
    pub(crate) fn freshen<B>(
        &self,
        shared: &Shared,
        update: &HeaderMap,
        exchange: &Exchange,
    ) -> Response<CacheBody<B>>
    where
        B: Body<Data = Bytes>,
    {
        let asked: Vec<_> = self.nominated.iter().map(|entry| entry.received()).collect();
        let update = &*match (&self.selected, &*asked) {
            (Some(_), [asked]) => without_plain_tag(update, asked),
            _ => Cow::Borrowed(update),
        };
        let meant = identified(update, asked.iter()).map(|at| {
            let (stored, fields) = (&self.nominated[at], &asked[at]);
            let fields = updated_fields(fields, update, exchange.wall);
            let fresh = stored.freshened(&fields, stored.selection.clone(), *stored.came());
            (stored, fresh, initial_age(&fields, exchange))
        });
        let meant = meant.filter(|(_, fresh, _)| fresh.can_answer(&self.request, false));
        let Some((stored, fresh, age)) = meant else {
            // The origin speaks of a representation that we did not ask about:
            // nothing is validated.
            self.of_no_use(shared, exchange.responded);
            let failed = Some(StatusCode::NOT_MODIFIED);
            let stale = self.replace(shared, exchange.responded, failed);
            shared.remove(&self.key.resource());
            return stale.unwrap_or_else(|| {
                let mut answer = not_validated();
                shared.tell_of(Status::Forwarded(self.forward), answer.headers_mut());
                answer.map(CacheBody::own)
            });
        };
        self.keep(shared, stored, update, exchange);
        match self.kept(shared) {
            Some(kept) => {
                let now = exchange.responded;
                self.share(shared, Landed::Stored(kept.clone()), &kept.kept(now), now);
            }
            None => self.tell(Landed::Useless),
        }
        let form = Form::of(&RequestFields::of(&self.request), false, &fresh);
        let mut answer = fresh.response(form, age);
        shared.tell_of(Status::Validated(self.forward), answer.headers_mut());
        answer
    }

    /// What is stored for this request.
    fn kept(&self, shared: &Shared) -> Option<Arc<Entry>> {
        let stored = shared.store.get(&self.key.resource())?;
        selected(&stored, &self.request, self.head_only).cloned()
    }

    /// Updates what is stored from a HEAD, or removes it (RFC 9111 §4.3.5).
    pub(crate) fn compare<B>(&self, shared: &Shared, response: &Response<B>, exchange: &Exchange) {
        let Some(stored) = shared.store.get(&self.key.resource()) else { return };
        let selects = |entry: &Entry| entry.selection.matches(&self.request);
        if response.status() != StatusCode::OK || !stored.iter().any(|entry| selects(entry)) {
            return;
        }
        let update = response.headers();
        if stored.iter().any(|entry| selects(entry) && !agrees(entry, update)) {
            shared.remove(&self.key.resource());
            return;
        }
        // The tag that is stored is that of the stored bytes, whatever else it matches.
        let mut update = update.clone();
        update.remove(ETAG);
        shared.change(&self.key, self.ticket, |stored| {
            let updated = stored.iter().filter_map(|entry| match selects(entry) {
                true => self.renewed(shared, entry, &update, exchange),
                false => Some(entry.clone()),
            });
            Some(updated.collect())
        });
    }

    /// Keeps the newer fields of the response that a 304 is about, for this request
    /// too, and of all that have its strong tag; removes what they take back the
    /// leave to store.
    fn keep(&self, shared: &Shared, stored: &Arc<Entry>, update: &HeaderMap, exchange: &Exchange) {
        // It may have been purged since it was looked up.
        if shared.store.is_gone(&self.key, stored) {
            return;
        }
        let fresh = self.updated(shared, stored, update, exchange).and_then(|mut fresh| {
            let selection = Selection::of(&self.request, &fresh.fields);
            fresh.selection = selection.ok_or(Unstorable::VaryAny)?;
            Ok(fresh)
        });
        let fresh = match fresh {
            Ok(fresh) => fresh,
            Err(why) if why.concerns_one_client() => return,
            Err(_) => {
                shared.remove(&self.key.resource());
                return;
            }
        };
        let tag = strong_tag(update);
        shared.change(&self.key, self.ticket, |all| {
            let all: Vec<_> = all
                .iter()
                .filter_map(|entry| {
                    let same = tag.is_some() && entry.origin_tag() == tag;
                    match same || Arc::ptr_eq(entry, stored) {
                        true => self.renewed(shared, entry, update, exchange),
                        false => Some(entry.clone()),
                    }
                })
                .collect();
            with(&all, fresh, &self.request)
        });
    }

    /// A response with newer fields for the requests that select it; `None` if it
    /// is not to be stored any longer, or if they nominate what nobody noted.
    fn renewed(
        &self,
        shared: &Shared,
        stored: &Arc<Entry>,
        update: &HeaderMap,
        exchange: &Exchange,
    ) -> Option<Arc<Entry>> {
        match self.updated(shared, stored, update, exchange) {
            Ok(fresh) if stored.selection.notes(&fresh.fields) => Some(Arc::new(fresh)),
            Err(why) if why.concerns_one_client() => Some(stored.clone()),
            _ => None,
        }
    }

    /// A response with newer fields (RFC 9111 §3.2), those left out that must not be
    /// stored.
    pub(crate) fn updated(
        &self,
        shared: &Shared,
        stored: &Entry,
        update: &HeaderMap,
        exchange: &Exchange,
    ) -> Result<Entry, Unstorable> {
        let mut fields = updated_fields(&stored.received(), update, exchange.wall);
        let candidate = self.candidate(stored.status, &fields, exchange);
        let (kept, excluded) = storable(&shared.rules, &candidate)?;
        excluded.iter().for_each(|name| drop(fields.remove(name)));
        // A HEAD says little of what is stored: what was purged stays so.
        let mark = match self.head_only {
            true => stored.mark().with_tags(shared.tags(&fields)),
            false => self.mark(shared, &fields),
        };
        Ok(stored.freshened(&fields, stored.selection.clone(), kept).marked(mark))
    }
}

/// Whether the fields that a HEAD has may be those of a stored response. Its tag may be
/// weak where that of a GET is not: who encodes does not know what it would have encoded.
fn agrees(stored: &Entry, head: &HeaderMap) -> bool {
    let has = |name, same: fn(&HeaderValue, &HeaderValue) -> bool| match head.get(&name) {
        Some(value) => stored.fields.get(name).is_some_and(|stored| same(stored, value)),
        None => true,
    };
    has(ETAG, matches_weakly)
        && has(LAST_MODIFIED, PartialEq::eq)
        && has(CONTENT_LENGTH, PartialEq::eq)
}

/// What is left to say when the origin validates what it was not asked about,
/// and nothing stored may go out without validation.
fn not_validated<B>() -> Response<ReplyBody<B>> {
    let mut response = Response::new(ReplyBody::empty());
    *response.status_mut() = StatusCode::BAD_GATEWAY;
    response
}
