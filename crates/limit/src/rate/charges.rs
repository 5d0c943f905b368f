//! Several quotas charged together or not at all.

use std::sync::Arc;

use super::bucket::Bucket;
use super::rule::Verdict;
use super::table::Spot;

/// What a request costs by one quota.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Cost {
    /// Which of the buckets.
    pub(crate) bucket: u16,
    pub(crate) spot: Spot,
    pub(crate) permits: u32,
}

/// What a request costs by all the quotas that apply to it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Costs {
    costs: [Cost; MOST],
    len: usize,
}

/// The quota that refuses for the longest time, by its place among the costs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Refused {
    pub(crate) by: usize,
    /// In nanoseconds; none if it will never admit that cost.
    pub(crate) wait: Option<u64>,
}

/// Charges all or none; tells how many keys in use lost their places.
///
/// All are asked before one is charged. Who is charged and then outrun at the
/// next quota is refunded, which may refuse others meanwhile and never admits too
/// many. A refusal by one quota alone writes nothing.
pub(crate) fn charge_all(
    buckets: &[Arc<Bucket>],
    costs: &[Cost],
    nanos: u64,
) -> Result<usize, Refused> {
    if let [cost] = costs {
        let tried = cost.bucket(buckets).charge(cost.spot, nanos, cost.permits);
        return match tried.verdict {
            Verdict::Admit { .. } => Ok(usize::from(tried.evicted)),
            Verdict::Refuse { wait } => Err(Refused { by: 0, wait }),
        };
    }
    if let Some(refused) = longest(buckets, costs, nanos, |_| 0) {
        return Err(refused);
    }
    let mut evicted = 0;
    for (by, cost) in costs.iter().enumerate() {
        let tried = cost.bucket(buckets).charge(cost.spot, nanos, cost.permits);
        evicted += usize::from(tried.evicted);
        if let Verdict::Refuse { wait } = tried.verdict {
            for done in &costs[..by] {
                done.bucket(buckets).refund(done.spot, nanos, done.permits);
            }
            return Err(Refused { by, wait });
        }
    }
    Ok(evicted)
}

/// The quota that would refuse for the longest time, if so many permits were
/// asked of each before.
pub(crate) fn longest(
    buckets: &[Arc<Bucket>],
    costs: &[Cost],
    nanos: u64,
    before: impl Fn(&Cost) -> u64,
) -> Option<Refused> {
    let waits = costs.iter().enumerate().filter_map(|(by, cost)| {
        let (bucket, before) = (cost.bucket(buckets), before(cost));
        let wait = match bucket.check(cost.spot, nanos, cost.permits) {
            Verdict::Refuse { wait: Some(wait) } => {
                Some(wait.saturating_add(bucket.time_for(before)))
            }
            Verdict::Refuse { wait: None } => None,
            Verdict::Admit { .. } if before == 0 => return None,
            Verdict::Admit { .. } => Some(bucket.time_for(before)),
        };
        Some(Refused { by, wait })
    });
    waits.reduce(Refused::longer)
}

impl Costs {
    /// Of a request that no quota applies to.
    pub(crate) const NONE: Self = {
        let nothing = Cost { bucket: 0, spot: Spot::new(0), permits: 0 };
        Self { costs: [nothing; MOST], len: 0 }
    };

    pub(crate) fn as_slice(&self) -> &[Cost] {
        &self.costs[..self.len]
    }

    /// There is a place for each limit.
    pub(crate) fn push(&mut self, cost: Cost) {
        if let Some(free) = self.costs.get_mut(self.len) {
            *free = cost;
            self.len += 1;
        }
    }
}

impl Cost {
    pub(crate) fn bucket<'a>(&self, buckets: &'a [Arc<Bucket>]) -> &'a Bucket {
        &buckets[self.bucket as usize]
    }
}

impl Refused {
    /// The one that refuses for the longer time.
    pub(crate) fn longer(self, next: Self) -> Self {
        if next.is_longer(&self) { next } else { self }
    }

    fn is_longer(&self, than: &Self) -> bool {
        match (self.wait, than.wait) {
            (_, None) => false,
            (None, Some(_)) => true,
            (Some(wait), Some(than)) => wait > than,
        }
    }
}

/// What fits into a request's costs.
pub(crate) const MOST: usize = 8;
