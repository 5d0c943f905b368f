//! Quotas that nodes share: asked for in a store, decided by what is in hand.

use std::fmt;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, PoisonError};

use tokio::runtime::Handle;
use tokio::time::timeout;
use tower_edge_core::{Event, Key, RequestHead};

use super::charges::{Cost, Costs, Refused, charge_all};
use super::leases::{Entry, Leases};
use super::outage::OnOutage;
use super::queue::Line;
use super::quota::Quota;
use super::shared::{Admission, Denied, Mode, Shared};
use crate::QuotaStore;
use crate::lease::{Ask, Step, Terms};

/// What a node shares with others, and what it has of it.
pub(crate) struct Sharing {
    pub(crate) store: Arc<dyn QuotaStore>,
    pub(crate) leases: Leases,
    /// The last known number of nodes.
    pub(crate) nodes: AtomicU32,
    /// How often it failed since it last answered.
    failures: AtomicU32,
    /// Whether somebody looks after it.
    pub(crate) is_kept: AtomicBool,
    pub(crate) asked: AtomicU64,
    pub(crate) failed: AtomicU64,
    pub(crate) unasked: AtomicU64,
}

impl Sharing {
    pub(crate) fn new(store: Arc<dyn QuotaStore>) -> Self {
        Self {
            store,
            leases: Leases::new(),
            nodes: AtomicU32::new(1),
            failures: AtomicU32::new(0),
            is_kept: AtomicBool::new(false),
            asked: AtomicU64::new(0),
            failed: AtomicU64::new(0),
            unasked: AtomicU64::new(0),
        }
    }

    /// Whether it is known that the store gives no answer: nobody asks it but who
    /// looks whether it is back.
    pub(crate) fn is_down(&self) -> bool {
        self.failures.load(Ordering::Relaxed) >= MOST_FAILURES
    }

    /// Takes note of an answer of the store, or of a failure.
    pub(crate) fn knows(&self, answered: bool, now: u64) {
        match answered {
            true if self.failures.load(Ordering::Relaxed) == 0 => {}
            // What it has told before may be lost.
            true if self.failures.swap(0, Ordering::Relaxed) >= MOST_FAILURES => {
                self.leases.doubt(now);
            }
            true => {}
            false => {
                let more = |failures: u32| Some(failures.saturating_add(1));
                // It never gives up: there is always a next number.
                let _ = self.failures.fetch_update(Ordering::Relaxed, Ordering::Relaxed, more);
                self.failed.fetch_add(1, Ordering::Relaxed);
            }
        }
    }
}

impl Shared {
    /// Decides by what is in hand, unless the store has to be asked before.
    #[inline]
    pub(crate) fn admit_shared(
        self: &Arc<Self>,
        sharing: &Sharing,
        costs: &Costs,
        now: u64,
    ) -> Admission {
        if self.exact {
            return self.admit_exact(sharing, costs, now);
        }
        let is_down = sharing.is_down();
        for (by, cost) in costs.as_slice().iter().enumerate() {
            let met = sharing.leases.known(Line::of(cost), |entry| {
                let step = entry.lease.request(&entry.terms, now, cost.permits);
                (step, entry.next(now, step, cost, is_down))
            });
            let (step, ask) = met.unwrap_or((Step::Wait, None));
            if let Some((key, ask)) = ask {
                self.ask(Line::of(cost), key, ask);
            }
            if step != Step::Admit {
                self.put_back(sharing, &costs.as_slice()[..by], now);
                return match step {
                    Step::Wait if !is_down => Admission::Ask,
                    Step::Refuse { wait } if wait.is_none() || !is_down => {
                        let refused = self.longest(sharing, costs, Refused { by, wait }, now);
                        Admission::Refuse(refused.into())
                    }
                    _ => self.admit_without_store(costs, now),
                };
            }
        }
        Admission::Admit
    }

    /// The keys of a request by the limits that apply, in the order of its costs.
    pub(crate) fn keys(&self, head: &RequestHead<'_>) -> Vec<Key> {
        let mut keys = Vec::with_capacity(self.limits.len());
        for limit in &self.limits {
            if let Some(key) = limit.key_of(head)
                && limit.tier_of(head, &key).is_some()
            {
                keys.push(key);
            }
        }
        keys
    }

    /// Decides by what the store answers, or without it after its deadline.
    pub(crate) async fn ask_store(
        self: &Arc<Self>,
        costs: &Costs,
        keys: &[Key],
    ) -> Result<(), Denied> {
        let Some(sharing) = &self.sharing else { return Ok(()) };
        let decided = async {
            match self.exact {
                true => self.charge_exactly(sharing, costs, keys).await,
                false => self.await_lease(sharing, costs, keys).await,
            }
        };
        let decided = timeout(sharing.store.deadline(), decided).await;
        if decided.is_err() && self.exact {
            self.answered(sharing, false);
        }
        match decided {
            Ok(Some(decided)) => decided.map_err(Denied::from),
            Ok(None) | Err(_) => self.without_store(costs, self.now()),
        }
    }

    /// Charges after the fact.
    pub(crate) fn charge_shared(self: &Arc<Self>, sharing: &Sharing, cost: &Cost, permits: u32) {
        let now = self.now();
        let asked = sharing.leases.known(Line::of(cost), |entry| {
            entry.lease.charge(now, permits);
            let step = if self.exact { Step::Wait } else { Step::Admit };
            entry.next(now, step, cost, sharing.is_down())
        });
        if let Some(Some((key, ask))) = asked {
            self.ask(Line::of(cost), key, ask);
        }
    }

    /// Waits until there is enough in hand, or it is known that there is not; none
    /// where the store gives no answer.
    async fn await_lease(
        self: &Arc<Self>,
        sharing: &Sharing,
        costs: &Costs,
        keys: &[Key],
    ) -> Option<Result<(), Refused>> {
        'again: loop {
            let (now, is_down) = (self.now(), sharing.is_down());
            for (by, (cost, key)) in costs.as_slice().iter().zip(keys).enumerate() {
                let line = Line::of(cost);
                let (step, ask, answered) = self.look(sharing, line, key, |entry, is_new| {
                    let step = match is_new {
                        true => entry.lease.request(&entry.terms, now, cost.permits),
                        false => entry.lease.decide(&entry.terms, now, cost.permits),
                    };
                    let ask = entry.next(now, step, cost, is_down);
                    let waits = step == Step::Wait && !is_down;
                    (step, ask, waits.then(|| entry.answered().notified_owned()))
                });
                if let Some((key, ask)) = ask {
                    self.ask(line, key, ask);
                }
                if step == Step::Admit {
                    continue;
                }
                self.put_back(sharing, &costs.as_slice()[..by], now);
                match (step, answered) {
                    (Step::Refuse { wait }, _) if wait.is_none() || !is_down => {
                        return Some(Err(self.longest(sharing, costs, Refused { by, wait }, now)));
                    }
                    (_, Some(answered)) => answered.await,
                    _ => return None,
                }
                continue 'again;
            }
            return Some(Ok(()));
        }
    }

    /// Looks at a key, which is known from now on.
    pub(crate) fn look<R>(
        &self,
        sharing: &Sharing,
        line: Line,
        key: &Key,
        look: impl FnOnce(&mut Entry, bool) -> R,
    ) -> R {
        let room = self.limits.iter().map(|limit| limit.keys).sum();
        let nodes = sharing.nodes.load(Ordering::Relaxed);
        let terms = || Terms::new(&self.quota(line.bucket), nodes).expect(SHARED);
        let now = self.now();
        let (looked, lost) = sharing.leases.any(line, (room, now), || (*key, terms()), look);
        (0..lost).for_each(|_| self.tell_of_eviction());
        looked
    }

    pub(crate) fn admit_without_store(&self, costs: &Costs, now: u64) -> Admission {
        self.without_store(costs, now).map_or_else(Admission::Refuse, |()| Admission::Admit)
    }

    /// Decides without the store, as the user chose.
    pub(crate) fn without_store(&self, costs: &Costs, now: u64) -> Result<(), Denied> {
        if let Some(sharing) = &self.sharing {
            sharing.unasked.fetch_add(1, Ordering::Relaxed);
        }
        self.tell(&Event::QuotaUnknown { choice: self.on_outage.name() });
        match self.on_outage {
            OnOutage::Open => Ok(()),
            OnOutage::Closed => Err(Denied::Unknown),
            OnOutage::Local => {
                charge_all(&self.buckets, costs.as_slice(), now).map(drop).map_err(Denied::from)
            }
        }
    }

    /// The quota that makes a request wait for the longest time, of those that lack
    /// permits and the one that refuses.
    fn longest(&self, sharing: &Sharing, costs: &Costs, refused: Refused, now: u64) -> Refused {
        let all = costs.as_slice().iter().enumerate().filter_map(|(by, cost)| {
            let lacking = sharing.leases.known(Line::of(cost), |entry| {
                let lacks = entry.lease.ready(now) < cost.permits;
                lacks.then(|| entry.lease.wait(&entry.terms, now, cost.permits))
            });
            Some(Refused { by, wait: Some(lacking??) })
        });
        all.fold(refused, Refused::longer)
    }

    fn put_back(&self, sharing: &Sharing, costs: &[Cost], now: u64) {
        for cost in costs {
            let put = |entry: &mut Entry| entry.lease.put_back(now, cost.permits);
            sharing.leases.known(Line::of(cost), put);
        }
    }

    /// Charges a key by what is in hand; none where that is nothing ever.
    pub(crate) fn charge_in_hand(
        self: &Arc<Self>,
        sharing: &Sharing,
        line: Line,
        key: &Key,
        permits: u32,
    ) -> Option<bool> {
        if self.exact {
            return None;
        }
        let (now, cost) = (self.now(), Cost { bucket: line.bucket, spot: line.spot, permits });
        let (step, ask) = self.look(sharing, line, key, |entry, _| {
            let step = entry.lease.request(&entry.terms, now, permits);
            (step, entry.next(now, step, &cost, sharing.is_down()))
        });
        if let Some((key, ask)) = ask {
            self.ask(line, key, ask);
        }
        Some(step == Step::Admit)
    }

    /// Tells the store, if there is one, to forget a key.
    pub(crate) fn reset_shared(&self, line: Line, key: Key) {
        let Some(sharing) = self.sharing.clone() else { return };
        drop(sharing.leases.forget(|known| *known == line));
        let name = self.name(line.bucket).to_owned();
        if let Ok(runtime) = Handle::try_current() {
            drop(runtime.spawn(async move {
                let reset = sharing.store.reset(&key, &name);
                drop(timeout(sharing.store.deadline(), reset).await);
            }));
        }
    }

    /// # Panics
    ///
    /// If something is asked of the layer that it does not do with a store.
    pub(crate) fn check(&self) {
        if self.sharing.is_none() {
            return;
        }
        let waits = matches!(self.mode, Mode::Wait { .. });
        assert!(!waits, "nobody waits in turn for a quota that others use too");
        assert!(!self.backpressure, "readiness does not ask a store");
        let evenly = (0..self.quotas.len()).all(|at| self.quota(at as u16).bursts().is_some());
        assert!(evenly, "{SHARED}");
    }

    pub(crate) fn set_quota(&self, bucket: u16, quota: Quota) {
        let known = &self.quotas[usize::from(bucket)];
        *known.lock().unwrap_or_else(PoisonError::into_inner) = quota;
    }

    pub(crate) fn quota(&self, bucket: u16) -> Quota {
        *self.quotas[usize::from(bucket)].lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Entry {
    /// What is to be asked for, of whom.
    #[inline]
    fn next(&mut self, now: u64, step: Step, cost: &Cost, is_down: bool) -> Option<(Key, Ask)> {
        if is_down {
            return None;
        }
        Some((self.key, self.lease.ask(&self.terms, now, step, cost.permits)?))
    }
}

impl fmt::Debug for Sharing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sharing").field("store", &self.store).finish_non_exhaustive()
    }
}

/// After so many failures in a row the store is not asked by requests.
const MOST_FAILURES: u32 = 3;

/// Of a quota that holds in any window there is none in a store.
const SHARED: &str = "a quota in any window is that of one node";
