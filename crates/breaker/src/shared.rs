use std::fmt;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::{Duration, Instant};

use ahash::RandomState;
use bytes::Bytes;
use http::{Method, Response};
use tokio::runtime::Handle;
use tokio::sync::broadcast::Sender;
use tower_edge_core::{
    Classifier, Clock, Event, ExtractKey, Key, Observe, OnRefuse, Reason, Refusal, RequestHead,
    Stopwatch,
};

use crate::admission::Admission;
use crate::blame::Blame;
use crate::call::Call;
use crate::circuit::{Change, Env};
use crate::jitter::Jitter;
use crate::probe::{Checks, Probe, follow};
use crate::rules::Rules;
use crate::table::{Place, Table};
use crate::transition::Transition;
use crate::word::Mode;

/// What the layer and all its services and requests share.
pub(crate) struct Shared {
    pub(crate) clock: Clock,
    pub(crate) watch: Stopwatch,
    /// Whether a tick of the kernel is short beside all windows.
    pub(crate) rough: bool,
    pub(crate) classify: Classifier<Blame>,
    /// In nanoseconds.
    pub(crate) slow_after: u64,
    /// Whether each call is timed from its start.
    pub(crate) times: bool,
    /// Whether there is one circuit, and no call is timed from its start.
    pub(crate) plain: bool,
    pub(crate) key: Option<Arc<dyn ExtractKey>>,
    pub(crate) probe: Option<Probe>,
    pub(crate) observe: Option<Arc<dyn Observe>>,
    pub(crate) on_refuse: Option<OnRefuse>,
    pub(crate) table: Table,
    pub(crate) hasher: RandomState,
    pub(crate) rules: RwLock<Arc<Rules>>,
    pub(crate) jitter: Jitter,
    pub(crate) transitions: Sender<Transition>,
}

/// What becomes of a request, and by which circuit.
#[derive(Debug)]
pub(crate) enum Decision {
    /// It goes on, and the call counts if there is one.
    Forward(Option<Call>),
    /// It is answered with this.
    Refuse(Refusal, Option<Key>),
}

impl Shared {
    /// The call of a request at the one circuit of all, where that is closed and
    /// calls are not timed: none if there is more to decide. Made where it is to
    /// stay, because to move what was just written is to wait for it.
    #[inline]
    pub(crate) fn admit_at_once(self: &Arc<Self>, method: &Method) -> Option<Call> {
        if !self.plain {
            return None;
        }
        let ticket = self.table.circuit_at(Place::ONLY.cell).admit_closed()?;
        Some(Call::new(self.clone(), Place::ONLY.cell, ticket, method))
    }

    /// Decides about a request.
    #[inline(never)]
    pub(crate) fn decide(self: &Arc<Self>, head: &RequestHead<'_>) -> Decision {
        let (key, place) = match self.place(head) {
            Ok(found) => found,
            Err(Mode::ForcedOpen) => return refused(None, None),
            Err(_) => return Decision::Forward(None),
        };
        self.decide_at(place, key, head.method())
    }

    /// Decides about a call at the circuit of a key.
    pub(crate) fn decide_at(
        self: &Arc<Self>,
        place: Place,
        key: Option<Key>,
        method: &Method,
    ) -> Decision {
        loop {
            let ticket = match self.table.admit_closed(place) {
                Some(ticket) => ticket,
                None => match self.admit(place) {
                    Admission::Count(ticket) => ticket,
                    Admission::Pass => return Decision::Forward(None),
                    Admission::Refuse(wait) => return refused(wait, key),
                },
            };
            let mut call = Call::new(self.clone(), place.cell, ticket, method);
            if !self.times || call.begin() {
                return Decision::Forward(Some(call));
            }
        }
    }

    /// The answer to a request that is refused.
    #[inline(never)]
    pub(crate) fn refuse(
        &self,
        head: &RequestHead<'_>,
        refusal: &Refusal,
        key: Option<Key>,
    ) -> Response<Bytes> {
        if let Some(observe) = &self.observe {
            observe.event(&Event::Refused { refusal, key: key.as_ref() });
        }
        refusal.response_by(self.on_refuse.as_ref(), head)
    }

    /// Nanoseconds since the start.
    pub(crate) fn now(&self) -> u64 {
        self.watch.nanos()
    }

    /// The same, near enough to find the slot of a window.
    #[inline]
    pub(crate) fn about_now(&self) -> u64 {
        if self.rough { self.watch.roughly() } else { self.now() }
    }

    /// The same of a time that is known.
    pub(crate) fn nanos(&self, now: Instant) -> u64 {
        self.watch.nanos_at(now)
    }

    pub(crate) fn rules(&self) -> Arc<Rules> {
        self.rules.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub(crate) fn change_rules(&self, change: impl FnOnce(&mut Rules)) {
        let mut rules = self.rules.write().unwrap_or_else(PoisonError::into_inner);
        change(Arc::make_mut(&mut rules));
    }

    pub(crate) fn env<'a>(&'a self, rules: &'a Rules) -> Env<'a> {
        let checked = self.probe.is_some() && Handle::try_current().is_ok();
        Env { rules, jitter: &self.jitter, checked }
    }

    /// Tells of a transition, and starts what follows from it.
    pub(crate) fn tell(self: &Arc<Self>, cell: u32, change: Change) {
        let (from, to) = (change.from, change.to);
        let key = self.table.key(cell).unwrap_or(Key::GLOBAL);
        if let Some(observe) = &self.observe {
            let key = self.key.is_some().then_some(&key);
            observe.event(&Event::CircuitChanged { key, from: from.as_str(), to: to.as_str() });
        }
        // Nobody may have subscribed.
        let _ = self.transitions.send(Transition { key, from, to, at: self.clock.wall() });
        if follow(&change) {
            Checks::start(self, cell, change.generation);
        }
    }

    /// The place of a key, made if need be and there is room.
    pub(crate) fn place_of(&self, key: &Key) -> Result<Place, Mode> {
        let hash = self.hasher.hash_one(key);
        match self.table.find(hash) {
            Some(place) => Ok(place),
            None => self.table.take(key, hash, self.now()),
        }
    }

    fn place(&self, head: &RequestHead<'_>) -> Result<(Option<Key>, Place), Mode> {
        let Some(extract) = &self.key else { return Ok((None, Place::ONLY)) };
        let key = extract.key(head).ok_or(Mode::Disabled)?;
        Ok((Some(key), self.place_of(&key)?))
    }

    fn admit(self: &Arc<Self>, place: Place) -> Admission {
        let (now, rules) = (self.now(), self.rules());
        let env = self.env(&rules);
        let (admission, change) = self.table.admit(place, |circuit| circuit.admit(now, &env));
        if let Some(change) = change.flatten() {
            self.tell(place.cell, change);
        }
        admission
    }
}

impl fmt::Debug for Shared {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Shared")
            .field("clock", &self.clock)
            .field("slow_after", &Duration::from_nanos(self.slow_after))
            .field("rules", &self.rules())
            .finish_non_exhaustive()
    }
}

fn refused(wait: Option<Duration>, key: Option<Key>) -> Decision {
    let refusal = Refusal::new(Reason::CircuitOpen);
    let refusal = wait.map_or(refusal, |wait| refusal.retry_after(wait));
    Decision::Refuse(refusal, key)
}
