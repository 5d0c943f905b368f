use crate::Quota;

/// What a quota means to a node that takes permits of it in batches.
///
/// What a key has used is told as the time in which all of it comes back, in
/// nanoseconds: a store and its nodes need not agree on a moment for that.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Terms {
    /// So many in so many nanoseconds.
    permits: u32,
    nanos: u64,
    burst: u32,
    /// What a node takes at the least: its part of 2 % of the burst.
    pub(crate) least: u32,
}

impl Terms {
    /// For one of so many nodes; none for a quota that holds in any window.
    pub(crate) fn new(quota: &Quota, nodes: u32) -> Option<Self> {
        let burst = quota.bursts()?.permits();
        let part = u64::from(nodes.max(1)) * PARTS;
        let least = (u64::from(burst) / part).max(1) as u32;
        Some(Self { permits: quota.permits().get(), nanos: quota.nanos(), burst, least })
    }

    /// The time in which so many permits come back, rounded up.
    pub(crate) fn time_for(&self, permits: u32) -> u64 {
        let nanos = u128::from(permits) * u128::from(self.nanos);
        u64::try_from(nanos.div_ceil(self.permits.into())).unwrap_or(u64::MAX)
    }

    /// The permits that come back in a time.
    pub(crate) fn permits_in(&self, time: u64) -> u32 {
        let permits = u128::from(time) * u128::from(self.permits) / u128::from(self.nanos);
        u32::try_from(permits).unwrap_or(u32::MAX)
    }

    /// How long it takes until a cost fits into the burst.
    pub(crate) fn wait(&self, used: u64, cost: u32) -> u64 {
        used.saturating_add(self.time_for(cost)).saturating_sub(self.time_for(self.burst))
    }

    /// Whether there can be so many permits at once.
    pub(crate) fn admits(&self, cost: u32) -> bool {
        cost <= self.burst
    }

    /// The permits that are there at once.
    pub(crate) fn available(&self, used: u64) -> u32 {
        self.permits_in(self.time_for(self.burst).saturating_sub(used)).min(self.burst)
    }

    /// The permits owed beyond the burst.
    pub(crate) fn owed(&self, used: u64) -> u32 {
        let over = u128::from(used.saturating_sub(self.time_for(self.burst)));
        let permits = (over * u128::from(self.permits)).div_ceil(u128::from(self.nanos));
        u32::try_from(permits).unwrap_or(u32::MAX)
    }
}

/// 2 % of a burst is one of so many parts.
const PARTS: u64 = 50;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::nonzero;

    #[test]
    fn what_was_used_is_told_in_permits_and_in_time() {
        let quota = Quota::per_second(nonzero!(10)).burst(nonzero!(5));
        let terms = Terms::new(&quota, 1).unwrap();
        for (millis, available, owed, wait) in [
            (0, 5, 0, 0),
            (1, 4, 0, 0),
            (400, 1, 0, 0),
            (401, 0, 0, 1),
            (500, 0, 0, 100),
            (650, 0, 2, 250),
        ] {
            let used = millis * 1_000_000;
            assert_eq!(terms.available(used), available, "{millis}");
            assert_eq!(terms.owed(used), owed, "{millis}");
            assert_eq!(terms.wait(used, 1), wait * 1_000_000, "{millis}");
        }
        assert!(terms.admits(5) && !terms.admits(6));
    }

    #[test]
    fn all_nodes_together_keep_two_percent_of_a_burst() {
        for (burst, nodes, least) in [(5_000, 1, 100), (5_000, 10, 10), (99, 1, 1), (5_000, 0, 100)]
        {
            let quota = Quota::per_hour(burst.try_into().unwrap());
            assert_eq!(Terms::new(&quota, nodes).unwrap().least, least);
        }
    }
}
