//! What clients and observers are told.

use std::sync::atomic::Ordering;
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, Response};
use tower_edge_core::{Event, Reason, Refusal, RequestHead};

use super::bucket::Standing;
use super::charges::{Cost, Costs, Refused};
use super::fields::{self, Policy};
use super::leases::Entry;
use super::outage::OnOutage;
use super::queue::Line;
use super::shared::{Denied, Mode, Shared};
use super::told::Told;

impl Shared {
    /// How a client stands by the quota that leaves the least.
    pub(crate) fn told(&self, costs: &Costs, nanos: u64) -> Option<Told> {
        let standings = costs.as_slice().iter().enumerate();
        let standings = standings.map(|(by, cost)| (by, self.standing(cost, nanos)));
        let least = standings.min_by_key(|(_, standing)| standing.available);
        least.map(|(by, standing)| Told::new(costs, by, standing))
    }

    /// How a key stands by what this node knows for sure.
    pub(crate) fn standing(&self, cost: &Cost, now: u64) -> Standing {
        self.standing_of(Line::of(cost), now, false)
    }

    /// How a client stands right after the store has told it.
    pub(crate) fn told_by_store(&self, costs: &Costs, now: u64) -> Option<Told> {
        let standings = costs.as_slice().iter().enumerate();
        let standing = |cost: &Cost| self.standing_of(Line::of(cost), now, true);
        let standings = standings.map(|(by, cost)| (by, standing(cost)));
        let least = standings.min_by_key(|(_, standing)| standing.available);
        least.map(|(by, standing)| Told::new(costs, by, standing))
    }

    pub(crate) fn standing_of(&self, line: Line, now: u64, is_fresh: bool) -> Standing {
        let bucket = &self.buckets[usize::from(line.bucket)];
        let Some(sharing) = &self.sharing else { return bucket.standing(line.spot, now) };
        if sharing.is_down() && self.on_outage == OnOutage::Local {
            return bucket.standing(line.spot, now);
        }
        let knows_all = is_fresh || self.exact;
        let known = sharing.leases.known(line, |entry| {
            let Entry { lease, terms, .. } = entry;
            let used = lease.used(now);
            let there = if knows_all { terms.available(used) } else { 0 };
            let available = lease.ready(now).saturating_add(there);
            let within = match available {
                0 => lease.wait(terms, now, 1),
                _ => terms.time_for(available),
            };
            Standing { available, owed: terms.owed(used), within }
        });
        known.unwrap_or(Standing { available: 0, owed: 0, within: 0 })
    }

    /// Tells the client how it stands.
    pub(crate) fn write(&self, told: &Told, fields: &mut HeaderMap) {
        let policies = told.buckets().iter().map(|bucket| self.policy(*bucket));
        let reported = self.policy(told.by);
        if self.fields {
            fields::add(fields, policies, (reported.name, told.standing));
        }
        if self.common_fields {
            fields::add_common(fields, reported, told.standing);
        }
    }

    /// Counts and tells a refusal, and answers unless this layer only watches.
    pub(crate) fn refuse(
        &self,
        head: &RequestHead<'_>,
        costs: Option<&Costs>,
        denied: Denied,
        nanos: u64,
    ) -> Option<Response<Bytes>> {
        let (reason, costs, refused) = match denied {
            Denied::Quota(refused) => (Reason::RateLimited, costs, refused),
            // Of its quotas nothing can be told.
            Denied::Unknown => (Reason::CircuitOpen, None, UNKNOWN),
        };
        let refusal = Refusal::new(reason);
        let refusal = match refused.wait {
            Some(wait) => refusal.retry_after(Duration::from_nanos(wait)),
            None => refusal,
        };
        let by = costs.and_then(|costs| costs.as_slice().get(refused.by));
        let key = by.and_then(|cost| self.limit_of(cost.bucket).key.as_ref()?.key(head));
        if self.mode == Mode::Shadow {
            self.counts.would_refuse.fetch_add(1, Ordering::Relaxed);
            self.tell(&Event::WouldRefuse { refusal: &refusal, key: key.as_ref() });
            return None;
        }
        self.counts.refused.fetch_add(1, Ordering::Relaxed);
        self.tell(&Event::Refused { refusal: &refusal, key: key.as_ref() });
        let mut response = match &self.on_refuse {
            Some(_) => refusal.response_by(self.on_refuse.as_ref(), head),
            None => refusal.response_naming(&self.violated(costs, refused, nanos), head),
        };
        if let (Some(costs), Some(cost)) = (costs, by) {
            let mut standing = self.standing(cost, nanos);
            // A retry is not to be earlier than what the field says (§6).
            standing.within = refused.wait.unwrap_or(standing.within);
            self.write(&Told::new(costs, refused.by, standing), response.headers_mut());
        }
        Some(response)
    }

    /// The names of all quotas that are used up.
    fn violated(&self, costs: Option<&Costs>, refused: Refused, nanos: u64) -> Vec<&str> {
        let costs = costs.map_or(&[][..], Costs::as_slice).iter().enumerate();
        let violated = costs.filter(|(by, cost)| {
            let Standing { available, owed, .. } = self.standing(cost, nanos);
            *by == refused.by || owed > 0 || available < cost.permits
        });
        violated.map(|(_, cost)| self.name(cost.bucket)).collect()
    }

    fn policy(&self, bucket: u16) -> Policy<'_> {
        let (permits, nanos) = match self.sharing {
            Some(_) => {
                let quota = self.quota(bucket);
                (quota.permits().get(), quota.nanos())
            }
            None => self.buckets[bucket as usize].rate(),
        };
        Policy { name: self.name(bucket), permits, nanos }
    }
}

/// When to come back where nobody knows, in nanoseconds.
const UNKNOWN: Refused = Refused { by: usize::MAX, wait: Some(1_000_000_000) };
