use std::ptr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::header::{COOKIE, IF_MODIFIED_SINCE, IF_NONE_MATCH, RANGE};
use http::{HeaderMap, Method, Response, StatusCode};
use tower_edge_core::{Problem, RequestHead, Step, Trace};

use crate::answer::{Answer, Form};
use crate::entry::Entry;
use crate::flight::{Fetch, Flight};
use crate::front::Glance;
use crate::intent::Intent;
use crate::landing::{FlightKey, Follow, Join, Landed, Lead};
use crate::policy::{RequestDirectives, RequestFields, Reuse, ask_for, is_for_others, is_reusable};
use crate::refresh::Refresh;
use crate::resource::{Resource, ResourceKey};
use crate::shared::Shared;
use crate::status::{Forward, Status};
use crate::tier::{Behind, Hold, Loaded};
use crate::variants::selected;

/// What becomes of a request: an answer at once, a flight upstream, or both; or
/// it waits, for the flight of another or for the tier behind memory.
pub(crate) enum Decision {
    Answer(Answer),
    AnswerAndRefresh(Answer, Refresh),
    /// `only-if-cached` was asked, and nothing is.
    Unsatisfied(Response<Bytes>),
    Forward(Flight),
    Follow(Follow, Box<Fetch>),
    Load(Arc<Behind>, Box<Fetch>),
}

/// What there is for a resource.
struct Found<'a> {
    variants: Option<&'a [Arc<Entry>]>,
    /// Whether there is nothing more in the tier behind memory.
    is_all: bool,
    /// There if others wait already for what comes of it.
    lead: Option<Lead>,
    /// There if other nodes do.
    hold: Option<Hold>,
}

impl Shared {
    /// Decides on a request; the only look into the store on the way in.
    ///
    /// A GET or HEAD that has a body is passed on: an origin may answer to what
    /// is in it, and no key tells (RFC 9110 §9.3.1).
    ///
    /// `variant` is for a request that has waited for another variant than its
    /// own: the digest by which it finds others like it.
    pub(crate) fn decide(
        &self,
        request: &RequestHead<'_>,
        has_body: bool,
        variant: Option<u64>,
    ) -> Decision {
        let now = Trace::read(&self.clock);
        let fields = RequestFields::of(request.headers());
        let decision = match *request.method() {
            Method::GET | Method::HEAD if !has_body && fields.is_for_cache() => {
                match self.keys.of(request) {
                    Some(named) => self.look_up(request, &fields, &named.resource(), now, variant),
                    None => Decision::Forward(Flight::Pass(Forward::Bypass)),
                }
            }
            Method::GET | Method::HEAD => Decision::Forward(Flight::Pass(Forward::Bypass)),
            ref method if method.is_safe() || method == Method::CONNECT => {
                Decision::Forward(Flight::Pass(Forward::Method))
            }
            _ => Decision::Forward(self.intent(request, now)),
        };
        self.trace(&decision, now);
        decision
    }

    fn intent(&self, request: &RequestHead<'_>, now: Instant) -> Flight {
        let named = self.keys.shared(request.target());
        let intent = Intent::of(self, request, &named.resource().target, now);
        intent.map_or(Flight::Pass(Forward::Method), Flight::Unsafe)
    }

    fn look_up(
        &self,
        request: &RequestHead<'_>,
        fields: &RequestFields<'_>,
        resource: &Resource<'_>,
        now: Instant,
        variant: Option<u64>,
    ) -> Decision {
        self.top.see(&resource.target, now);
        let wanted = match self.glance(request.method(), fields, resource, now) {
            Glance::Found(answer) => return Decision::Answer(answer),
            Glance::Wanted(version) => Some(version),
            Glance::Nothing => None,
        };
        let variants = self.store.get(resource);
        if let (Some(version), Some(stored)) = (wanted, &variants) {
            self.keep(resource, version, stored, now);
        }
        let (variants, is_all) = (variants.as_deref(), self.store.behind().is_none());
        let found = Found { variants, is_all, lead: None, hold: None };
        self.choose(request, fields, resource, found, now, variant)
    }

    /// Decides on a request for which the tier behind memory was asked.
    pub(crate) fn decide_loaded(
        &self,
        request: &RequestHead<'_>,
        mut fetch: Box<Fetch>,
        loaded: Loaded,
        variant: Option<u64>,
    ) -> Decision {
        let Loaded { entries, ticket, hold, now } = loaded;
        let variants = self.store.take_in(&fetch.key, ticket, entries, now);
        let variants = (!variants.is_empty()).then_some(&variants[..]);
        let found = Found { variants, is_all: true, lead: fetch.lead.take(), hold };
        let (fields, resource) = (RequestFields::of(request.headers()), fetch.key.resource());
        let decision = self.choose(request, &fields, &resource, found, now, variant);
        self.trace(&decision, fetch.requested);
        decision
    }

    fn trace(&self, decision: &Decision, since: Instant) {
        if let Decision::Answer(_) | Decision::AnswerAndRefresh(..) = decision {
            Trace::with(|trace| {
                trace.push(Step::new("cache", self.clock.since(since)).note("hit"));
            });
        }
    }

    fn choose(
        &self,
        request: &RequestHead<'_>,
        fields: &RequestFields<'_>,
        resource: &Resource<'_>,
        found: Found<'_>,
        now: Instant,
        variant: Option<u64>,
    ) -> Decision {
        let Found { variants, is_all, mut lead, hold } = found;
        let head_only = request.method() == Method::HEAD;
        let wishes = fields.directives();
        let entry = variants.and_then(|found| selected(found, fields, head_only));
        let reuse = entry.map(|entry| (entry, self.reuse(&wishes, &entry.kept(now), now)));
        if let (Some((entry, Reuse::Serve { .. } | Reuse::ServeAndRefresh { .. })), Some(lead)) =
            (&reuse, &lead)
            && is_reusable(&entry.kept(now), now)
        {
            lead.land(Landed::Stored((*entry).clone()));
        }
        let forward = match reuse {
            Some((entry, Reuse::Serve { age })) => {
                return Decision::Answer(self.answer(entry, (fields, head_only), age, now));
            }
            Some((entry, Reuse::ServeAndRefresh { age })) => {
                let answer = self.answer(entry, (fields, head_only), age, now);
                let variant = variant.unwrap_or_else(|| self.newest(variants, request));
                return match self.refresh(request, resource, entry, (variant, lead, hold), now) {
                    Some(refresh) => Decision::AnswerAndRefresh(answer, refresh),
                    None => Decision::Answer(answer),
                };
            }
            Some((_, Reuse::Stale)) => Forward::Stale,
            Some((_, Reuse::Unwanted)) => Forward::Request,
            None => missing(variants, fields),
        };
        let may_load = !is_all && entry.is_none();
        if wishes.only_if_cached && !may_load {
            let mut answer = NOT_CACHED.response(request);
            self.tell_of(Status::Unsatisfied, answer.headers_mut());
            return Decision::Unsatisfied(answer);
        }
        let Some(key) = ResourceKey::of(resource) else {
            return Decision::Forward(Flight::Pass(forward));
        };
        let nominated = match (variants, entry) {
            _ if head_only => Vec::new(),
            (_, Some(entry)) => vec![entry.clone()],
            (Some(variants), None) if forward == Forward::VaryMiss => {
                tagged(variants, request.headers())
            }
            (_, None) => Vec::new(),
        };
        let fetch = self.fetch(request, key, entry, nominated, now);
        let mut fetch = Box::new(Fetch { forward, ..fetch });
        let loner = self.loners.knows(&fetch.key, now);
        let waits = loner.is_none() && !wishes.only_if_cached && fetch.may_be_shared(&wishes);
        if lead.is_none() && waits {
            // What came first may be on its way still, and be what this one selects.
            if let (Some(_), None) = (variants, variant)
                && let Some(first) = self.flights.follow(&fetch.flight_key(0))
                && first.has_landed()
            {
                return Decision::Follow(first, fetch);
            }
            let flight =
                fetch.flight_key(variant.unwrap_or_else(|| self.newest(variants, request)));
            let join = match fetch.may_lead() {
                true => Some(self.flights.join(&flight)),
                false => self.flights.follow(&flight).map(Join::Follow),
            };
            match join {
                Some(Join::Follow(follow)) => return Decision::Follow(follow, fetch),
                // What the flight before has brought may be there by now.
                Some(Join::Lead(_)) if self.has_changed(resource, variants) => {
                    return self.look_up(request, fields, resource, now, variant);
                }
                Some(Join::Lead(joined)) => lead = Some(joined),
                None => {}
            }
        }
        (fetch.lead, fetch.hold) = (lead, hold);
        match self.store.behind() {
            // Of a loner it is known whether there is anything.
            Some(behind) if may_load && (loner != Some(false) || wishes.only_if_cached) => {
                Decision::Load(behind.clone(), fetch)
            }
            // Another node may be at it, or have it by now.
            Some(behind) if !is_all && behind.line.is_some() && fetch.lead.is_some() => {
                Decision::Load(behind.clone(), fetch)
            }
            _ => Decision::Forward(Flight::Fetch(fetch)),
        }
    }

    /// Whether the store has something else for a resource than `before`.
    fn has_changed(&self, resource: &Resource<'_>, before: Option<&[Arc<Entry>]>) -> bool {
        match before {
            // Most often there is nothing still, and that is cheaper to see.
            None => self.store.has(resource) && self.store.get(resource).is_some(),
            Some(before) => self.store.get(resource).is_none_or(|now| !ptr::eq(before, &*now)),
        }
    }

    /// The digest that tells the variants of a resource apart, as far as is known.
    fn newest(&self, variants: Option<&[Arc<Entry>]>, request: &RequestHead<'_>) -> u64 {
        let newest = variants.and_then(|variants| variants.first());
        newest.map_or(0, |newest| self.variant(&newest.selection, request.headers()))
    }

    fn answer(
        &self,
        entry: &Arc<Entry>,
        (fields, head_only): (&RequestFields<'_>, bool),
        age: Duration,
        now: Instant,
    ) -> Answer {
        let hit = Status::hit(&entry.kept(now), age);
        self.count(hit);
        Answer::new(entry, Form::of(fields, head_only, entry), age, self.member(hit))
    }

    /// A refresh of a stale response, unless somebody is at it.
    fn refresh(
        &self,
        request: &RequestHead<'_>,
        resource: &Resource<'_>,
        entry: &Arc<Entry>,
        (variant, lead, hold): (u64, Option<Lead>, Option<Hold>),
        now: Instant,
    ) -> Option<Refresh> {
        let key = ResourceKey::of(resource)?;
        let fetch = self.fetch(request, key, Some(entry), vec![entry.clone()], now);
        let lead = match lead
            .map(Join::Lead)
            .unwrap_or_else(|| self.flights.join(&fetch.flight_key(variant)))
        {
            Join::Lead(lead) => lead,
            Join::Follow(_) => return None,
        };
        let mut fetch = Fetch { head_only: false, lead: Some(lead), hold, ..fetch };
        ask_for(entry.content.is_whole(), &mut fetch.request);
        Some(Refresh(Flight::Fetch(Box::new(fetch))))
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
            ticket: self.store.ticket(&key.resource()),
            key,
            head_only: request.method() == Method::HEAD,
            request: request.headers().clone(),
            selected: selected.cloned(),
            nominated,
            default_ttl: self.default_ttl.as_ref().and_then(|ttl| ttl(request)),
            forward: Forward::Stale,
            requested: now,
            lead: None,
            hold: None,
        }
    }
}

impl Fetch {
    /// Whether others may wait for this one, and this one for others.
    fn may_be_shared(&self, wishes: &RequestDirectives) -> bool {
        let in_parts = self.nominated.is_empty() && self.request.contains_key(RANGE);
        let as_it_is = !wishes.no_cache && wishes.max_age.is_none_or(|most| !most.is_zero());
        as_it_is && !in_parts && !self.head_only && is_for_others(&self.request)
    }

    /// Whether what comes back will be for others.
    ///
    /// The conditions of a client that leads are not sent on, or a cold cache would
    /// get nothing but 304 for what all clients have; but for who has a cookie,
    /// since what that gets is often for nobody else, and would come in vain.
    fn may_lead(&self) -> bool {
        let asks =
            [IF_NONE_MATCH, IF_MODIFIED_SINCE].iter().any(|name| self.request.contains_key(name));
        !self.nominated.is_empty() || !asks || !self.request.contains_key(COOKIE)
    }

    fn flight_key(&self, variant: u64) -> FlightKey {
        FlightKey { resource: self.key.clone(), ticket: self.ticket, variant }
    }
}

/// Why nothing that is stored can answer.
fn missing(variants: Option<&[Arc<Entry>]>, request: &HeaderMap) -> Forward {
    match variants {
        None => Forward::UriMiss,
        Some(all) if all.iter().any(|entry| entry.selection.matches(request)) => Forward::Partial,
        Some(_) => Forward::VaryMiss,
    }
}

/// The variants that an entity tag can tell apart: if the origin chooses one of
/// them, it need not send it again (RFC 9111 §4.3.1). Of parts it would be of no
/// use (§4.3.2), and of what is for others anyway.
fn tagged(variants: &[Arc<Entry>], request: &HeaderMap) -> Vec<Arc<Entry>> {
    let whole = |entry: &&Arc<Entry>| entry.origin_tag().is_some() && entry.content.is_whole();
    let may_be = |entry: &&Arc<Entry>| entry.selection.may_be_meant(request, &entry.fields);
    variants.iter().filter(whole).filter(may_be).cloned().collect()
}

/// The answer to `only-if-cached` when nothing is (RFC 9111 §5.2.1.7).
const NOT_CACHED: Problem =
    Problem::new(StatusCode::GATEWAY_TIMEOUT, 14, "not in the cache, and only-if-cached was asked");
