use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use bytes::Bytes;
use http::header::{CONNECTION, IF_MATCH, IF_RANGE, IF_UNMODIFIED_SINCE, RANGE, UPGRADE};
use http::{HeaderMap, Method, Response, StatusCode};
use tower_edge_core::{Clock, Event, Observe, Problem, ReplyBody, RequestHead, Step, Trace};

use crate::flight::{Fetch, Flight};
use crate::policy::{RequestDirectives, Reuse, reuse};
use crate::status::{Forward, Status};
use crate::store::{ResourceKey, Store, selected};

/// What all clones of a cache share.
#[derive(Clone)]
pub(crate) struct Shared {
    pub(crate) store: Arc<Store>,
    pub(crate) clock: Clock,
    pub(crate) max_entry: u64,
    pub(crate) observe: Option<Arc<dyn Observe>>,
    pub(crate) counts: Arc<Counts>,
}

#[derive(Debug, Default)]
pub(crate) struct Counts {
    pub(crate) hits: AtomicU64,
    pub(crate) validated: AtomicU64,
    pub(crate) forwarded: AtomicU64,
    pub(crate) stored: AtomicU64,
}

/// What becomes of a request: an answer at once, or a flight upstream.
pub(crate) enum Decision<B> {
    Answer(Response<ReplyBody<B>>),
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
            _ => Decision::Forward(match ResourceKey::of(&request.target()) {
                Some(key) => Flight::Unsafe(Box::new(key)),
                None => Flight::Pass(Forward::Method),
            }),
        };
        if let Decision::Answer(_) = &decision {
            Trace::with(|trace| {
                trace.push(Step::new("cache", self.clock.since(now)).note(Status::Hit.word()));
            });
        }
        decision
    }

    pub(crate) fn tell(&self, event: &Event<'_>) {
        if let Some(observe) = &self.observe {
            observe.event(event);
        }
    }

    /// Counts and tells what became of a request.
    pub(crate) fn note(&self, status: Status) {
        let counter = match status {
            Status::Hit => &self.counts.hits,
            Status::Validated(_) => &self.counts.validated,
            _ => &self.counts.forwarded,
        };
        counter.fetch_add(1, Ordering::Relaxed);
        self.tell(&Event::CacheLookup { found: status.word() });
    }

    fn look_up<B>(&self, request: &RequestHead<'_>, now: Instant) -> Decision<B> {
        let target = request.target();
        let head_only = request.method() == Method::HEAD;
        let wishes = RequestDirectives::of(request.headers());
        let variants = self.store.get(&target);
        let entry = variants.as_ref().and_then(|found| selected(found, request.headers()));
        let reuse = entry.map(|entry| (entry, reuse(&wishes, &entry.kept, now)));
        let forward = match reuse {
            Some((entry, Reuse::Serve { age })) => {
                self.note(Status::Hit);
                return Decision::Answer(entry.answer(
                    request.headers(),
                    head_only,
                    age,
                    Status::Hit,
                ));
            }
            Some((_, Reuse::Stale)) => Forward::Stale,
            Some((_, Reuse::Unwanted)) => Forward::Request,
            None if variants.is_some() => Forward::VaryMiss,
            None => Forward::UriMiss,
        };
        if wishes.only_if_cached {
            self.note(Status::Unsatisfied);
            return Decision::Answer(unsatisfied(request));
        }
        // A HEAD goes as it is: what it brings back has no body to store.
        let key = if head_only { None } else { ResourceKey::of(&target) };
        Decision::Forward(match key {
            Some(key) => Flight::Fetch(Box::new(Fetch {
                ticket: self.store.ticket(&key),
                key,
                request: request.headers().clone(),
                stored: entry.cloned(),
                forward,
                requested: now,
            })),
            None => Flight::Pass(forward),
        })
    }
}

impl fmt::Debug for Shared {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Shared").field("counts", &self.counts).finish_non_exhaustive()
    }
}

/// Whether a cache may look at a request at all.
///
/// Parts, preconditions that only an origin can judge, and connections that
/// become something else are passed on.
fn is_for_cache(headers: &HeaderMap) -> bool {
    let upgrades = headers.contains_key(UPGRADE) && headers.contains_key(CONNECTION);
    let names = [RANGE, IF_RANGE, IF_MATCH, IF_UNMODIFIED_SINCE];
    !upgrades && !names.iter().any(|name| headers.contains_key(name))
}

/// The answer to `only-if-cached` when nothing is (RFC 9111 §5.2.1.7).
fn unsatisfied<B>(request: &RequestHead<'_>) -> Response<ReplyBody<B>> {
    let mut response = NOT_CACHED.response(request).map(|bytes: Bytes| ReplyBody::bytes(bytes));
    Status::Unsatisfied.add_to(response.headers_mut());
    response
}

const NOT_CACHED: Problem =
    Problem::new(StatusCode::GATEWAY_TIMEOUT, 14, "not in the cache, and only-if-cached was asked");
