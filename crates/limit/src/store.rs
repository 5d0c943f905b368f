use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::time::Duration;

use tower_edge_core::{BoxError, Key};

/// Where several nodes count what keys have used, together.
///
/// [`RateLimitLayer::store`](crate::RateLimitLayer::store) makes the quotas of a
/// layer those of all nodes that use the same store. The layer decides by what it
/// has taken of it, and asks for more beside the requests.
///
/// ```
/// use std::collections::HashMap;
/// use std::sync::Mutex;
/// use std::time::{Duration, Instant};
///
/// use tower_edge_core::{Clock, Key};
/// use tower_edge_limit::{QuotaStore, StoreFuture, Take, Taken};
///
/// /// Of several layers in one process.
/// #[derive(Debug, Default)]
/// struct Table {
///     clock: Clock,
///     /// When all that a key has used of a quota will be back.
///     back: Mutex<HashMap<(Key, String), Instant>>,
/// }
///
/// impl QuotaStore for Table {
///     fn take<'a>(
///         &'a self,
///         key: &'a Key,
///         takes: &'a [Take<'a>],
///         together: bool,
///     ) -> StoreFuture<'a, Vec<Taken>> {
///         let mut back = self.back.lock().expect("nobody panics with it");
///         let now = self.clock.now();
///         let name = |take: &Take<'_>| (*key, take.name.to_owned());
///         let used = takes.iter().map(|take| {
///             let at = back.get(&name(take));
///             at.map_or(Duration::ZERO, |at| at.saturating_duration_since(now))
///         });
///         let used: Vec<_> = takes.iter().zip(used).collect();
///         let lacks = |(take, used): &(&Take<'_>, _)| take.from(*used).granted < take.ask;
///         let is_lacking = together && used.iter().any(lacks);
///         let mut told = Vec::new();
///         for (take, used) in used {
///             let ask = if is_lacking { 0 } else { take.ask };
///             let taken = Take { ask, ..*take }.from(used);
///             back.insert(name(take), now + taken.used);
///             told.push(taken);
///         }
///         let told = Ok(told);
///         Box::pin(async { told })
///     }
///
///     fn reset<'a>(&'a self, key: &'a Key, name: &'a str) -> StoreFuture<'a, ()> {
///         self.back.lock().expect("nobody panics with it").remove(&(*key, name.to_owned()));
///         Box::pin(async { Ok(()) })
///     }
///
///     fn nodes(&self) -> StoreFuture<'_, u32> {
///         Box::pin(async { Ok(1) })
///     }
/// }
/// ```
///
/// # Errors and waiting
///
/// Nobody waits for an answer longer than the [`deadline`](Self::deadline), whatever
/// an implementation does. It is still to end each future within a time of its own,
/// and to fail at once while it knows that it would be in vain.
///
/// # Cancel safety
///
/// The futures may be dropped at any time. What was under way may be done then, or not.
pub trait QuotaStore: fmt::Debug + Send + Sync + 'static {
    /// Settles what a key has used of quotas, and takes permits of them, in one trip:
    /// of each as many as there are, or `together` of all what is asked for or of none
    /// anything.
    ///
    /// The answer has what was taken of each, in the same order.
    fn take<'a>(
        &'a self,
        key: &'a Key,
        takes: &'a [Take<'a>],
        together: bool,
    ) -> StoreFuture<'a, Vec<Taken>>;

    /// Gives a key all permits of the quota by this name back.
    fn reset<'a>(&'a self, key: &'a Key, name: &'a str) -> StoreFuture<'a, ()>;

    /// Says that this node is there, and tells how many are, itself included. It is
    /// asked about once a second.
    fn nodes(&self) -> StoreFuture<'_, u32>;

    /// How long a request may wait for an answer; 50 ms unless it says otherwise.
    fn deadline(&self) -> Duration {
        Duration::from_millis(50)
    }
}

/// What a [`QuotaStore`] is going to answer.
pub type StoreFuture<'a, T> = Pin<Box<dyn Future<Output = Result<T, BoxError>> + Send + 'a>>;

/// What is to be done about one quota of a key.
#[derive(Clone, Copy, Debug)]
pub struct Take<'a> {
    /// What the quota is called.
    pub name: &'a str,
    /// So many permits come back in each period.
    pub permits: u32,
    /// The period; never zero.
    pub period: Duration,
    /// So many are there at once.
    pub burst: u32,
    /// So many may be owed beyond the burst, for what is charged.
    pub debt: u32,
    /// So many were taken before and not used.
    pub back: u32,
    /// So many are to be charged in any case, up to the debt; what goes beyond is
    /// forgiven.
    pub charge: u32,
    /// So many are to be taken.
    pub ask: u32,
    /// Those too that come back within this time.
    pub ahead: Duration,
}

/// What was taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Taken {
    /// So many permits.
    pub granted: u32,
    /// The time in which all comes back that is used now, what was taken included;
    /// rounded up.
    pub used: Duration,
}

impl Take<'_> {
    /// What becomes of a key of which all comes back in the time `used`.
    ///
    /// This is the arithmetic of every store that can run it where it counts.
    pub fn from(&self, used: Duration) -> Taken {
        let (mut used, burst) = (nanos(used), self.time_for(self.burst));
        used = used.saturating_sub(self.time_for(self.back));
        let full = burst.saturating_add(self.time_for(self.debt));
        let charged = used.saturating_add(self.time_for(self.charge));
        used = charged.min(full).max(used);
        let room = burst.saturating_add(nanos(self.ahead)).saturating_sub(used);
        let period = u128::from(nanos(self.period).max(1));
        let granted = u128::from(room) * u128::from(self.permits) / period;
        let granted = u32::try_from(granted).unwrap_or(u32::MAX).min(self.ask);
        used = used.saturating_add(self.time_for(granted));
        Taken { granted, used: Duration::from_nanos(used) }
    }

    /// The time in which so many permits come back, in nanoseconds rounded up.
    fn time_for(&self, permits: u32) -> u64 {
        let nanos = u128::from(permits) * u128::from(nanos(self.period));
        u64::try_from(nanos.div_ceil(self.permits.max(1).into())).unwrap_or(u64::MAX)
    }
}

/// 584 years at the most.
fn nanos(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Ten a second, up to five at once and two owed.
    const TAKE: Take<'static> = Take {
        name: "all",
        permits: 10,
        period: Duration::from_secs(1),
        burst: 5,
        debt: 2,
        back: 0,
        charge: 0,
        ask: 0,
        ahead: Duration::ZERO,
    };

    #[test]
    fn a_key_gets_what_there_is_and_what_comes_back_in_time() {
        let ahead = |ask, millis| Take { ask, ahead: Duration::from_millis(millis), ..TAKE };
        for (take, used, granted, after) in [
            (ahead(3, 0), 0, 3, 300),
            (ahead(9, 0), 0, 5, 500),
            (ahead(9, 250), 0, 7, 700),
            (ahead(9, 0), 401, 0, 401),
            (ahead(9, 1), 401, 1, 501),
            (Take { back: 2, ..ahead(9, 0) }, 401, 2, 401),
            (Take { back: 9, ..TAKE }, 401, 0, 0),
            (Take { charge: 6, ..ahead(9, 0) }, 0, 0, 600),
            (Take { charge: 9, ..ahead(9, 0) }, 0, 0, 700),
            (Take { charge: 9, ..TAKE }, 800, 0, 800),
        ] {
            let taken = take.from(Duration::from_millis(used));
            assert_eq!((taken.granted, taken.used.as_millis()), (granted, after), "{take:?}");
        }
    }
}
