use std::fmt;
use std::sync::Arc;
use std::time::{Duration, Instant};

use ahash::RandomState;
use http::{HeaderMap, HeaderName, HeaderValue};
use tower_edge_core::{Clock, Event, Observe, RequestHead, Target};

use crate::buffer::{Most, NO_ROOM, TOO_LARGE};
use crate::counts::{Count, Counts};
use crate::entry::Entry;
use crate::epochs::Ticket;
use crate::keys::Keys;
use crate::landing::Flights;
use crate::loners::Loners;
use crate::memo::Computations;
use crate::policy::{self, Kept, RequestDirectives, Reuse, Rules, Selection};
use crate::purges::{Purge, Scope};
use crate::resource::{Resource, ResourceKey};
use crate::room::Room;
use crate::status::{Forward, Status, StatusField};
use crate::store::Store;
use crate::tier::OnOutage;
use crate::top::Top;

/// What all clones of a cache share.
#[derive(Clone)]
pub(crate) struct Shared {
    pub(crate) store: Arc<Store>,
    pub(crate) flights: Flights,
    pub(crate) computations: Computations,
    pub(crate) loners: Arc<Loners>,
    /// For what is on its way into the store.
    pub(crate) room: Arc<Room>,
    pub(crate) seed: RandomState,
    pub(crate) clock: Clock,
    pub(crate) max_entry: u64,
    pub(crate) generate_etag: bool,
    pub(crate) rules: Rules,
    pub(crate) on_outage: OnOutage,
    pub(crate) keys: Keys,
    /// Fields whose values are tags.
    pub(crate) tag_fields: Vec<HeaderName>,
    pub(crate) default_ttl: Option<DefaultTtl>,
    pub(crate) status: Option<Arc<StatusField>>,
    pub(crate) observe: Option<Arc<dyn Observe>>,
    pub(crate) counts: Arc<Counts>,
    pub(crate) top: Arc<Top>,
}

impl Shared {
    /// Counts and tells what became of a request, its client among others.
    pub(crate) fn tell_of(&self, status: Status, fields: &mut HeaderMap) {
        self.count(status);
        StatusField::put(self.member(status), fields);
    }

    /// What is told of it, if anything is.
    pub(crate) fn member(&self, status: Status) -> Option<HeaderValue> {
        self.status.as_ref()?.member(status)
    }

    pub(crate) fn count(&self, status: Status) {
        self.counts.add(match status {
            Status::Hit { ttl: 0.. } => Count::Hit,
            Status::Hit { .. } | Status::StaleOnError(..) => Count::Stale,
            Status::Collapsed(_) => Count::Collapsed,
            Status::Validated(_) => Count::Validated,
            Status::Forwarded(Forward::Bypass | Forward::Method)
            | Status::Stored(Forward::Method)
            | Status::Unsatisfied => Count::Passed,
            Status::Forwarded(_) | Status::Stored(_) => Count::Missed,
        });
        self.tell(&Event::CacheLookup { found: status.word() });
    }

    /// A digest of what tells the variants of a resource apart; never 0, which is
    /// that of a resource of which nothing is known.
    pub(crate) fn variant(&self, selection: &Selection, request: &HeaderMap) -> u64 {
        selection.digest(request, &self.seed).max(1)
    }

    /// How much of a body may be kept now, and of all that are under way: what is
    /// free in the store, and an eighth of the capacity or one body of the largest
    /// size besides, so that a full cache goes on learning.
    pub(crate) fn most(&self) -> Most {
        let capacity = self.store.capacity();
        let besides = (capacity / UNDER_WAY).max(self.max_entry.min(capacity));
        Most { entry: self.max_entry, room: besides + self.store.free() }
    }

    /// Why a body of so many bytes or more is not stored, if it is not.
    ///
    /// None begins when half of the room is taken: those that have begun are to
    /// become whole.
    pub(crate) fn refusal(&self, bytes: u64) -> Option<&'static str> {
        let (Most { entry, room }, taken) = (self.most(), self.room.taken());
        match bytes {
            _ if bytes > entry => Some(TOO_LARGE),
            _ if taken > room / 2 || bytes > room - taken => Some(NO_ROOM),
            _ => None,
        }
    }

    /// As [`policy::reuse`], of what is in memory.
    pub(crate) fn reuse(&self, request: &RequestDirectives, stored: &Kept, now: Instant) -> Reuse {
        match policy::reuse(request, stored, now) {
            Reuse::Serve { .. } | Reuse::ServeAndRefresh { .. } if !self.is_believed(now) => {
                Reuse::Stale
            }
            reuse => reuse,
        }
    }

    /// Notes that what comes back for a resource is of no use to others, though it
    /// may be stored.
    pub(crate) fn note_loner(&self, key: &ResourceKey, now: Instant) {
        self.loners.note(key, now, self.store.get(&key.resource()).is_some());
    }

    /// Removes what is stored for a target, whoever's it is, and what is on its way
    /// there; whether there was anything, as far as is known.
    pub(crate) fn invalidate(&self, target: &Target<'_>) -> bool {
        let is_shared = self.store.behind().is_some_and(|behind| behind.line.is_some());
        if self.keys.user.is_none() && !is_shared {
            return self.remove(&Resource::new(*target, None));
        }
        // Who shares the tier and asked before may write it later.
        self.purge(Scope::Target(*target), Purge::Hard);
        true
    }

    /// Removes what is stored for one resource, and what is on its way there; whether
    /// there was anything in memory.
    pub(crate) fn remove(&self, resource: &Resource<'_>) -> bool {
        let was_there = self.store.invalidate(resource);
        self.write_behind();
        was_there
    }

    /// As [`Store::change`], in the tier behind memory too.
    pub(crate) fn change(
        &self,
        key: &ResourceKey,
        ticket: Ticket,
        change: impl FnOnce(&[Arc<Entry>]) -> Option<Vec<Arc<Entry>>>,
    ) {
        self.store.change(key, ticket, change);
        self.loners.stored(key);
        self.write_behind();
    }

    pub(crate) fn purge(&self, scope: Scope<'_>, purge: Purge) {
        let at = (self.clock.now(), self.clock.wall());
        self.tell_collapsed(self.store.purge(scope, purge, at));
        self.write_behind();
    }

    pub(crate) fn tell_collapsed(&self, limit: Option<usize>) {
        if let Some(limit) = limit {
            self.tell(&Event::CachePurgesCollapsed { limit });
        }
    }

    /// Whether what memory holds may answer without the origin, though others may
    /// have purged it.
    pub(crate) fn is_believed(&self, now: Instant) -> bool {
        self.on_outage == OnOutage::Stale || self.store.is_current(now)
    }

    /// The tags of a response, for its mark.
    pub(crate) fn tags(&self, fields: &HeaderMap) -> Box<[u64]> {
        self.store.purges().tags(fields, &self.tag_fields)
    }

    pub(crate) fn tell(&self, event: &Event<'_>) {
        if let Some(observe) = &self.observe {
            observe.event(event);
        }
    }
}

impl fmt::Debug for Shared {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Shared").field("counts", &self.counts).finish_non_exhaustive()
    }
}

/// How long a response is fresh whose origin says nothing.
pub(crate) type DefaultTtl = Arc<dyn Fn(&RequestHead<'_>) -> Option<Duration> + Send + Sync>;

/// The part of the capacity that bodies under way may take in a full cache: one in
/// so many.
const UNDER_WAY: u64 = 8;
