//! Quotas of a store that is asked about each request.

use std::sync::Arc;

use tokio::runtime::Handle;
use tower_edge_core::Key;

use super::charges::{Cost, Costs, Refused};
use super::keeping::keep;
use super::outage::OnOutage;
use super::question::nanos;
use super::queue::Line;
use super::shared::{Admission, Shared};
use super::sharing::Sharing;
use crate::lease::Step;
use crate::{Take, Taken};

impl Shared {
    pub(crate) fn admit_exact(&self, sharing: &Sharing, costs: &Costs, now: u64) -> Admission {
        if sharing.is_down() {
            return self.admit_without_store(costs, now);
        }
        let refused = costs.as_slice().iter().enumerate().filter_map(|(by, cost)| {
            let foreseen = sharing.leases.known(Line::of(cost), |entry| {
                entry.lease.foresee(&entry.terms, now, cost.permits)
            });
            match foreseen? {
                Step::Refuse { wait } => Some(Refused { by, wait }),
                _ => None,
            }
        });
        match refused.reduce(Refused::longer) {
            Some(refused) => Admission::Refuse(refused.into()),
            None => Admission::Ask,
        }
    }

    /// Charges the quotas of each key together, one key after the other; none where
    /// the store gives no answer.
    pub(crate) async fn charge_exactly(
        self: &Arc<Self>,
        sharing: &Sharing,
        costs: &Costs,
        keys: &[Key],
    ) -> Option<Result<(), Refused>> {
        keep(self, &Handle::try_current().ok()?);
        let all: Vec<_> = costs.as_slice().iter().zip(keys).enumerate().collect();
        let (mut left, mut done) = (&all[..], Vec::new());
        while let Some((_, (_, key))) = left.first() {
            let of_key = |(_, (_, other)): &&Part<'_>| other == key;
            if !done.iter().any(|part: &Part<'_>| part.1.1 == *key) {
                let group: Vec<Part<'_>> = left.iter().filter(of_key).copied().collect();
                if let Err(refused) = self.charge_key(sharing, key, &group).await? {
                    self.take_back(sharing, &done).await;
                    return Some(Err(refused));
                }
                done.extend(group);
            }
            left = &left[1..];
        }
        Some(Ok(()))
    }

    /// Charges the quotas of one key together.
    async fn charge_key(
        &self,
        sharing: &Sharing,
        key: &Key,
        group: &[Part<'_>],
    ) -> Option<Result<(), Refused>> {
        let take =
            |part: &Part<'_>| Take { ask: part.1.0.permits, ..self.take(part.1.0.bucket, 0) };
        let takes: Vec<_> = group.iter().map(take).collect();
        if let Some(at) = takes.iter().position(|take| take.ask > take.burst) {
            return Some(Err(Refused { by: group[at].0, wait: None }));
        }
        let taken = self.trip(sharing, key, &takes, true).await?;
        let now = self.now();
        let lacks = |(take, taken): (&Take<'_>, &Taken)| taken.granted < take.ask;
        let is_refused = takes.iter().zip(&taken).any(lacks);
        let waits = group.iter().zip(taken).map(|((by, (cost, _)), taken)| {
            let used = nanos(taken.used);
            let wait = self.look(sharing, Line::of(cost), key, |entry, _| {
                entry.lease.tell(now, used);
                entry.terms.wait(used, cost.permits)
            });
            if !is_refused && self.on_outage == OnOutage::Local {
                cost.bucket(&self.buckets).force(cost.spot, now, cost.permits);
            }
            Refused { by: *by, wait: Some(wait) }
        });
        let longest = waits.max_by_key(|refused| refused.wait);
        Some(longest.filter(|_| is_refused).map_or(Ok(()), Err))
    }

    /// Gives back what was charged before another key was refused.
    async fn take_back(&self, sharing: &Sharing, done: &[Part<'_>]) {
        for (_, (cost, key)) in done {
            let takes = [Take { back: cost.permits, ..self.take(cost.bucket, 0) }];
            drop(self.trip(sharing, key, &takes, false).await);
        }
    }
}

/// A cost, whose it is, and its place among those of the request.
type Part<'a> = (usize, (&'a Cost, &'a Key));
