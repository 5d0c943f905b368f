use std::sync::Arc;
use std::time::{Duration, Instant};

use http::header::{CONNECTION, IF_MATCH, IF_UNMODIFIED_SINCE, UPGRADE};
use http::{HeaderMap, Method, Response, StatusCode};
use tower_edge_core::{Problem, ReplyBody, RequestHead, Step, Trace};

use crate::entry::Entry;
use crate::flight::{Fetch, Flight};
use crate::policy::{RequestDirectives, Reuse, ask_for_all, reuse};
use crate::refresh::Refresh;
use crate::shared::Shared;
use crate::status::{Forward, Status};
use crate::store::ResourceKey;
use crate::variants::{Variants, selected};

/// What becomes of a request: an answer at once, a flight upstream, or both.
pub(crate) enum Decision<B> {
    Answer(Response<ReplyBody<B>>),
    AnswerAndRefresh(Response<ReplyBody<B>>, Refresh),
    Forward(Flight),
}

impl Shared {
    /// Decides on a request; the only look into the store on the way in.
    ///
    /// A GET or HEAD that has a body is passed on: an origin may answer to what
    /// is in it, and no key tells (RFC 9110 §9.3.1).
    pub(crate) fn decide<B>(&self, request: &RequestHead<'_>, has_body: bool) -> Decision<B> {
        let now = Trace::read(&self.clock);
        let decision = match *request.method() {
            Method::GET | Method::HEAD if !has_body && is_for_cache(request.headers()) => {
                self.look_up(request, now)
            }
            Method::GET | Method::HEAD => Decision::Forward(Flight::Pass(Forward::Bypass)),
            ref method if method.is_safe() || method == Method::CONNECT => {
                Decision::Forward(Flight::Pass(Forward::Method))
            }
            ref method => Decision::Forward(match ResourceKey::of(&request.target()) {
                Some(key) if method == Method::POST => {
                    let fetch = self.fetch(request, key, None, Vec::new(), now);
                    let forward = Forward::Method;
                    Flight::Post(Box::new(Fetch { forward, default_ttl: None, ..fetch }))
                }
                Some(key) => Flight::Unsafe(Box::new(key)),
                None => Flight::Pass(Forward::Method),
            }),
        };
        if let Decision::Answer(_) | Decision::AnswerAndRefresh(..) = &decision {
            Trace::with(|trace| {
                trace.push(Step::new("cache", self.clock.since(now)).note("hit"));
            });
        }
        decision
    }

    fn look_up<B>(&self, request: &RequestHead<'_>, now: Instant) -> Decision<B> {
        let target = request.target();
        let head_only = request.method() == Method::HEAD;
        let wishes = RequestDirectives::of(request.headers());
        let variants = self.store.get(&target);
        let entry =
            variants.as_ref().and_then(|found| selected(found, request.headers(), head_only));
        let reuse = entry.map(|entry| (entry, reuse(&wishes, &entry.kept, now)));
        let forward = match reuse {
            Some((entry, Reuse::Serve { age })) => {
                return Decision::Answer(self.answer(entry, request, age));
            }
            Some((entry, Reuse::ServeAndRefresh { age })) => {
                let answer = self.answer(entry, request, age);
                return match self.refresh(request, entry, now) {
                    Some(refresh) => Decision::AnswerAndRefresh(answer, refresh),
                    None => Decision::Answer(answer),
                };
            }
            Some((_, Reuse::Stale)) => Forward::Stale,
            Some((_, Reuse::Unwanted)) => Forward::Request,
            None => missing(variants.as_ref(), request.headers()),
        };
        if wishes.only_if_cached {
            let mut answer = NOT_CACHED.response(request).map(ReplyBody::bytes);
            self.tell_of(Status::Unsatisfied, answer.headers_mut());
            return Decision::Answer(answer);
        }
        let Some(key) = ResourceKey::of(&target) else {
            return Decision::Forward(Flight::Pass(forward));
        };
        let nominated = match (&variants, entry) {
            _ if head_only => Vec::new(),
            (_, Some(entry)) => vec![entry.clone()],
            (Some(variants), None) if forward == Forward::VaryMiss => tagged(variants),
            (_, None) => Vec::new(),
        };
        let fetch = self.fetch(request, key, entry, nominated, now);
        Decision::Forward(Flight::Fetch(Box::new(Fetch { forward, ..fetch })))
    }

    fn answer<B>(
        &self,
        entry: &Entry,
        request: &RequestHead<'_>,
        age: Duration,
    ) -> Response<ReplyBody<B>> {
        let head_only = request.method() == Method::HEAD;
        let mut answer = entry.answer(request.headers(), head_only, age);
        self.tell_of(Status::hit(&entry.kept, age), answer.headers_mut());
        answer
    }

    /// A refresh of a stale response, unless somebody is at it.
    fn refresh(
        &self,
        request: &RequestHead<'_>,
        entry: &Arc<Entry>,
        now: Instant,
    ) -> Option<Refresh> {
        let key = ResourceKey::of(&request.target())?;
        let turn = entry.refreshing.take()?;
        let fetch = self.fetch(request, key, Some(entry), vec![entry.clone()], now);
        let mut fetch = Fetch { head_only: false, ..fetch };
        ask_for_all(&mut fetch.request);
        Some(Refresh { flight: Flight::Fetch(Box::new(fetch)), turn })
    }

    fn fetch(
        &self,
        request: &RequestHead<'_>,
        key: ResourceKey,
        selected: Option<&Arc<Entry>>,
        nominated: Vec<Arc<Entry>>,
        now: Instant,
    ) -> Fetch {
        Fetch {
            ticket: self.store.ticket(&key),
            key,
            head_only: request.method() == Method::HEAD,
            request: request.headers().clone(),
            selected: selected.cloned(),
            nominated,
            default_ttl: self.default_ttl.as_ref().and_then(|ttl| ttl(request)),
            forward: Forward::Stale,
            requested: now,
        }
    }
}

/// Whether a cache may look at a request at all.
///
/// Preconditions that only an origin can judge, and connections that become
/// something else are passed on.
fn is_for_cache(headers: &HeaderMap) -> bool {
    let upgrades = headers.contains_key(UPGRADE) && headers.contains_key(CONNECTION);
    let names = [IF_MATCH, IF_UNMODIFIED_SINCE];
    !upgrades && !names.iter().any(|name| headers.contains_key(name))
}

/// Why nothing that is stored can answer.
fn missing(variants: Option<&Variants>, request: &HeaderMap) -> Forward {
    match variants {
        None => Forward::UriMiss,
        Some(all) if all.iter().any(|entry| entry.selection.matches(request)) => Forward::Partial,
        Some(_) => Forward::VaryMiss,
    }
}

/// The variants that an entity tag can tell apart: if the origin chooses one of
/// them, it need not send it again (RFC 9111 §4.3.1). Of parts it would be of no
/// use (§4.3.2).
fn tagged(variants: &Variants) -> Vec<Arc<Entry>> {
    let whole = |entry: &&Arc<Entry>| entry.origin_tag().is_some() && entry.content.is_whole();
    variants.iter().filter(whole).cloned().collect()
}

/// The answer to `only-if-cached` when nothing is (RFC 9111 §5.2.1.7).
const NOT_CACHED: Problem =
    Problem::new(StatusCode::GATEWAY_TIMEOUT, 14, "not in the cache, and only-if-cached was asked");
