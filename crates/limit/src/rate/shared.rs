use std::fmt;
use std::hash::{BuildHasher, Hasher};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Instant;

use ahash::RandomState;
use tower_edge_core::{Event, Key, Observe, OnRefuse, RequestHead, Stopwatch, Trace};

use super::bucket::Bucket;
use super::charges::{self, Cost, Costs, MOST, Refused, charge_all};
use super::limit::{Keyless, Limit};
use super::outage::OnOutage;
use super::queue::{Line, Place, Queues};
use super::quota::Quota;
use super::rule::Verdict;
use super::sharing::Sharing;
use super::table::Spot;

/// What the layer and all its services and requests share. The buckets stay the
/// same when a setting changes.
#[derive(Clone)]
pub(crate) struct Shared {
    pub(crate) limits: Vec<Limit>,
    /// Those of all tiers of all limits, in their order.
    pub(crate) buckets: Vec<Arc<Bucket>>,
    /// The names of the same tiers.
    pub(crate) names: Vec<Arc<str>>,
    /// Their quotas as they were set.
    pub(crate) quotas: Vec<Arc<Mutex<Quota>>>,
    pub(crate) seed: RandomState,
    /// The buckets' time.
    pub(crate) watch: Stopwatch,
    pub(crate) mode: Mode,
    /// Where all nodes count; the buckets are then what this one may admit without.
    pub(crate) sharing: Option<Arc<Sharing>>,
    /// Whether each request is asked for.
    pub(crate) exact: bool,
    pub(crate) on_outage: OnOutage,
    pub(crate) backpressure: bool,
    /// Whether a response may be charged.
    pub(crate) charges: bool,
    pub(crate) fields: bool,
    pub(crate) common_fields: bool,
    pub(crate) on_refuse: Option<OnRefuse>,
    pub(crate) observe: Option<Arc<dyn Observe>>,
    pub(crate) queues: Arc<Queues>,
    pub(crate) counts: Arc<Counts>,
}

/// What is done with a request whose quota is used up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Mode {
    Refuse,
    /// It waits, for so many nanoseconds at the most, among so many of its key.
    Wait {
        most: u64,
        places: usize,
    },
    Shadow,
}

#[derive(Debug, Default)]
pub(crate) struct Counts {
    pub(crate) refused: AtomicU64,
    pub(crate) would_refuse: AtomicU64,
    pub(crate) waited: AtomicU64,
    pub(crate) evicted: AtomicU64,
}

/// What becomes of a request.
pub(crate) enum Admission {
    Admit,
    Refuse(Denied),
    /// At the first poll, by what a store answers.
    Ask,
    /// At the first poll, where it takes a place: one that is never polled would
    /// keep those behind it waiting.
    Wait,
}

/// Why a request is not admitted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Denied {
    /// A quota refuses it.
    Quota(Refused),
    /// It is not known what a quota says.
    Unknown,
}

impl From<Refused> for Denied {
    fn from(refused: Refused) -> Self {
        Self::Quota(refused)
    }
}

impl Shared {
    pub(crate) fn add(&mut self, limit: Limit) {
        assert!(self.limits.len() < MOST, "a layer has at most {MOST} limits");
        let bucket = |(_, quota): &(_, _)| Arc::new(Bucket::new(quota, limit.keys));
        self.buckets.extend(limit.tiers.iter().map(bucket));
        self.names.extend(limit.tiers.iter().map(|(name, _)| name.clone()));
        self.quotas.extend(limit.tiers.iter().map(|(_, quota)| Arc::new(Mutex::new(*quota))));
        assert!(self.buckets.len() <= MOST_TIERS, "a layer has at most {MOST_TIERS} tiers");
        self.charges |= limit.charges();
        self.limits.push(limit);
    }

    /// The time as the buckets have it, for use in `Service::call`.
    pub(crate) fn called(&self) -> u64 {
        Trace::nanos(&self.watch)
    }

    pub(crate) fn now(&self) -> u64 {
        self.watch.nanos()
    }

    /// That time as everybody has it; at the latest in three years.
    pub(crate) fn instant(&self, nanos: u64) -> Instant {
        self.watch.at(nanos.min(LATEST))
    }

    /// Adds up what a request costs, where it is to stay; an error if a limit
    /// refuses it for want of a key.
    #[inline]
    pub(crate) fn cost(&self, head: &RequestHead<'_>, costs: &mut Costs) -> Result<(), Refused> {
        let mut first = 0;
        for limit in &self.limits {
            let mut add = |key: &Key| self.cost_by(limit, first, head, key, costs);
            match &limit.key {
                None => add(&Key::GLOBAL),
                // Looked at where it was made: a key has 40 bytes.
                Some(extract) => match (&extract.key(head), limit.keyless) {
                    (Some(key), _) => add(key),
                    (None, Keyless::Admit) => {}
                    (None, Keyless::Share) => add(&Key::GLOBAL),
                    (None, Keyless::Refuse) => {
                        return Err(Refused { by: usize::MAX, wait: None });
                    }
                },
            }
            first += limit.tiers.len();
        }
        Ok(())
    }

    /// Charges a request, or says why not.
    #[inline]
    pub(crate) fn admit(self: &Arc<Self>, costs: &Costs, nanos: u64) -> Admission {
        if let Some(sharing) = &self.sharing {
            return self.admit_shared(sharing, costs, nanos);
        }
        let Mode::Wait { most, .. } = self.mode else {
            return match self.charge(costs, nanos) {
                Ok(()) => Admission::Admit,
                Err(refused) => Admission::Refuse(refused.into()),
            };
        };
        if self.queues.waiting() == 0 {
            match self.charge(costs, nanos) {
                Ok(()) => return Admission::Admit,
                Err(refused) if refused.wait.is_none_or(|wait| wait > most) => {
                    return Admission::Refuse(refused.into());
                }
                Err(_) => {}
            }
        }
        Admission::Wait
    }

    /// Takes a place in the queue of the quota that makes a request wait the
    /// longest, or says why not: refused, or none if it need not wait.
    pub(crate) fn enter(&self, costs: &Costs, nanos: u64) -> Result<Place, Option<Refused>> {
        let Mode::Wait { most, places } = self.mode else { return Err(None) };
        self.queues.enter(|lines| {
            let costs = costs.as_slice();
            let before = |cost: &Cost| lines.cost(&Line::of(cost));
            let Some(refused) = charges::longest(&self.buckets, costs, nanos, before) else {
                return Err(None);
            };
            let cost = &costs[refused.by];
            let in_time = refused.wait.is_some_and(|wait| wait <= most);
            match in_time && lines.waiting(&Line::of(cost)) < places {
                true => Ok((Line::of(cost), cost.permits)),
                false => Err(Some(refused)),
            }
        })
    }

    pub(crate) fn charge(&self, costs: &Costs, nanos: u64) -> Result<(), Refused> {
        let evicted = charge_all(&self.buckets, costs.as_slice(), nanos)?;
        (0..evicted).for_each(|_| self.tell_of_eviction());
        Ok(())
    }

    /// Charges a key without a precise reading of the clock, where that changes nothing.
    #[inline]
    pub(crate) fn charge_roughly(&self, line: Line, permits: u32) -> bool {
        let bucket = &self.buckets[usize::from(line.bucket)];
        bucket.charge_roughly(line.spot, || self.watch.roughly(), permits).is_some()
    }

    /// When the first of a queue may be admitted.
    pub(crate) fn wait(&self, costs: &Costs, nanos: u64) -> Option<Refused> {
        charges::longest(&self.buckets, costs.as_slice(), nanos, |_| 0)
    }

    /// Charges by the limits that `permits` gives something for, after the fact.
    pub(crate) fn charge_more(self: &Arc<Self>, costs: &Costs, permits: impl Fn(&Limit) -> u32) {
        let nanos = self.now();
        for cost in costs.as_slice() {
            match (permits(self.limit_of(cost.bucket)), &self.sharing) {
                (0, _) => {}
                (permits, Some(sharing)) => self.charge_shared(sharing, cost, permits),
                (permits, None) if cost.bucket(&self.buckets).force(cost.spot, nanos, permits) => {
                    self.tell_of_eviction();
                }
                _ => {}
            }
        }
    }

    /// How long the limits that everybody shares have no permit left.
    pub(crate) fn pressure(&self) -> Option<u64> {
        let nanos = self.now();
        let mut first = 0;
        let waits = self.limits.iter().map(|limit| {
            let bucket = &self.buckets[first];
            first += limit.tiers.len();
            match (&limit.key, bucket.check(self.spot(&Key::GLOBAL), nanos, 1)) {
                (None, Verdict::Refuse { wait: Some(wait) }) => wait,
                _ => 0,
            }
        });
        waits.max().filter(|wait| *wait > 0)
    }

    /// The number of the bucket of this name.
    pub(crate) fn named(&self, name: &str) -> Option<u16> {
        self.names.iter().position(|known| **known == *name).map(|bucket| bucket as u16)
    }

    #[inline]
    pub(crate) fn spot(&self, key: &Key) -> Spot {
        let mut hasher = self.seed.build_hasher();
        hasher.write(key.as_bytes());
        Spot::new(hasher.finish())
    }

    pub(crate) fn tell(&self, event: &Event<'_>) {
        if let Some(observe) = &self.observe {
            observe.event(event);
        }
    }

    /// Adds what a request of this key costs by one limit, whose buckets begin at
    /// `first`.
    #[inline]
    fn cost_by(
        &self,
        limit: &Limit,
        first: usize,
        head: &RequestHead<'_>,
        key: &Key,
        costs: &mut Costs,
    ) {
        if let Some(tier) = limit.tier_of(head, key) {
            let (bucket, spot) = ((first + tier) as u16, self.spot(key));
            costs.push(Cost { bucket, spot, permits: limit.cost_of(head) });
        }
    }

    pub(crate) fn name(&self, bucket: u16) -> &str {
        self.names.get(bucket as usize).map_or("", |name| name)
    }

    pub(crate) fn limit_of(&self, bucket: u16) -> &Limit {
        let mut first = 0;
        let owner = self.limits.iter().find(|limit| {
            first += limit.tiers.len();
            (bucket as usize) < first
        });
        owner.expect("every bucket was made for a limit")
    }

    #[cold]
    pub(crate) fn tell_of_eviction(&self) {
        self.counts.evicted.fetch_add(1, Ordering::Relaxed);
        self.tell(&Event::KeyEvicted);
    }
}

impl fmt::Debug for Shared {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Shared")
            .field("limits", &self.limits)
            .field("mode", &self.mode)
            .field("sharing", &self.sharing)
            .field("counts", &self.counts)
            .finish_non_exhaustive()
    }
}

/// What a cost knows a bucket by is a number of 16 bits.
const MOST_TIERS: usize = 1 << 16;
/// No timer is set for later, in nanoseconds.
const LATEST: u64 = 100_000_000_000_000_000;
