//! What is done once a second about quotas that are shared.

use std::sync::atomic::Ordering;
use std::sync::{Arc, Weak};
use std::time::Duration;

use tokio::runtime::Handle;
use tokio::time::timeout;
use tower_edge_core::BoxError;

use super::leases::Back;
use super::quota::Quota;
use super::shared::Shared;
use super::sharing::Sharing;
use crate::Take;

/// Sees to it that somebody looks after what is shared, as long as it is there.
#[inline]
pub(crate) fn keep(shared: &Arc<Shared>, runtime: &Handle) {
    if let Some(sharing) = &shared.sharing
        && !sharing.is_kept.load(Ordering::Relaxed)
        && !sharing.is_kept.swap(true, Ordering::Relaxed)
    {
        let keeper = Keeper { shared: Arc::downgrade(shared), sharing: Arc::downgrade(sharing) };
        drop(runtime.spawn(keeper.keep()));
    }
}

/// Counts nodes, gives back what nobody uses, and finds out that a store is back.
struct Keeper {
    shared: Weak<Shared>,
    sharing: Weak<Sharing>,
}

impl Keeper {
    async fn keep(self) {
        let mut was_lost = false;
        while let Some(shared) = self.shared.upgrade() {
            let Some(sharing) = &shared.sharing else { return };
            let nodes = timeout(sharing.store.deadline(), sharing.store.nodes()).await;
            let nodes = nodes.unwrap_or_else(|_| Err(BoxError::from("no answer in time")));
            shared.answered(sharing, nodes.is_ok());
            if was_lost && nodes.is_ok() {
                sharing.leases.doubt(shared.now());
            }
            was_lost = nodes.is_err();
            let pause = match nodes {
                Ok(nodes) => {
                    shared.divide(sharing, nodes.max(1));
                    shared.give_back(sharing.leases.tend(shared.now(), MOST_BACK)).await;
                    PERIOD
                }
                Err(_) => LOOKING,
            };
            drop(shared);
            tokio::time::sleep(pause).await;
        }
    }
}

/// The next one who asks begins anew, in whatever runtime.
impl Drop for Keeper {
    fn drop(&mut self) {
        if let Some(sharing) = self.sharing.upgrade() {
            sharing.is_kept.store(false, Ordering::Relaxed);
        }
    }
}

impl Shared {
    /// Sets what this node may admit by itself.
    fn divide(&self, sharing: &Sharing, nodes: u32) {
        if sharing.nodes.swap(nodes, Ordering::Relaxed) != nodes {
            for bucket in 0..self.buckets.len() as u16 {
                self.set_part(bucket, nodes);
            }
        }
    }

    /// Sets what this node may admit of a quota by itself, as one of so many.
    pub(crate) fn set_part(&self, bucket: u16, nodes: u32) {
        let part = part(&self.quota(bucket), nodes);
        self.buckets[usize::from(bucket)].swap(&part, self.now());
    }

    /// Gives permits back, one key after the other, as long as the store answers.
    pub(crate) async fn give_back(&self, backs: Vec<Back>) {
        let Some(sharing) = &self.sharing else { return };
        for Back { line, key, permits } in backs.into_iter().filter(|back| back.permits > 0) {
            let take = Take { back: permits, ..self.take(line.bucket, 0) };
            let takes = [take];
            let given = self.trip(sharing, &key, &takes, false);
            if !matches!(timeout(sharing.store.deadline(), given).await, Ok(Some(_))) {
                return;
            }
        }
    }
}

/// What one of so many nodes may admit by itself: the same permits in a time that is
/// so many times as long, and its part of the burst.
fn part(quota: &Quota, nodes: u32) -> Quota {
    let Some(burst) = quota.bursts() else { return *quota };
    let part = |permits: u32| permits / nodes.max(1);
    let period = quota.period().checked_mul(nodes).unwrap_or(Duration::MAX);
    let divided = Quota::per(quota.permits(), period);
    let least = std::num::NonZeroU32::MIN;
    let burst_part = std::num::NonZeroU32::new(part(burst.permits())).unwrap_or(least);
    divided.burst(burst_part).debt(part(burst.debt()))
}

const PERIOD: Duration = Duration::from_secs(1);

/// How often it is looked for a store that gave no answer.
const LOOKING: Duration = Duration::from_millis(100);

/// Of how many keys permits go back at a time.
const MOST_BACK: usize = 1_000;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::nonzero;

    #[test]
    fn the_parts_of_all_nodes_are_the_quota() {
        let quota = Quota::per_second(nonzero!(100)).burst(nonzero!(20)).debt(9);
        let expected = Quota::per(nonzero!(100), Duration::from_secs(4));
        assert_eq!(part(&quota, 4), expected.burst(nonzero!(5)).debt(2));
        assert_eq!(part(&quota, 1), quota);
        assert_eq!(part(&quota.burst(nonzero!(2)), 4), expected.burst(nonzero!(1)).debt(2));
    }
}
