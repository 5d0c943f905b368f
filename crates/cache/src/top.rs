use std::cell::Cell;
use std::cmp::Reverse;
use std::collections::HashMap;
use std::mem::take;
use std::time::{Duration, Instant};

use ahash::RandomState;
use http::Uri;
use tower_edge_core::Target;

use crate::counts::thread_slot;
use crate::ranking::{Counter, Ranking};
use crate::sync::{Mutex, lock, try_lock};

/// A URI that is asked for often: see
/// [`CacheHandle::top_keys`](crate::CacheHandle::top_keys).
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct TopKey {
    /// What was asked for, as [`CacheHandle::purge`](crate::CacheHandle::purge) takes
    /// it.
    pub uri: Uri,
    /// How often, estimated.
    pub requests: u64,
    /// By how much that may be wrong either way, beside what chance does to a sample.
    pub error: u64,
}

/// The targets that were asked for most lately, by samples.
#[derive(Debug, Default)]
pub(crate) struct Top {
    stripes: [Stripe; STRIPES],
    seed: RandomState,
}

impl Top {
    /// Sees a request for a target, if it is in the sample.
    pub(crate) fn see(&self, target: &Target<'_>, now: Instant) {
        if is_in_sample() {
            self.note(target, now);
        }
    }

    /// Up to so many that were asked for most, those first.
    pub(crate) fn keys(&self, now: Instant, most: usize) -> Vec<TopKey> {
        let (mut sums, mut unseen) = (HashMap::<u64, Sum>::new(), 0);
        for Stripe(recent) in &self.stripes {
            let mut recent = lock(recent);
            recent.turn(now);
            for ranking in [&recent.current, &recent.before] {
                unseen += ranking.unseen();
                for (hash, counter) in ranking.iter() {
                    sums.entry(hash).or_default().add(counter, ranking.unseen());
                }
            }
        }
        let keys = sums.into_values().filter_map(|sum| {
            let (requests, error) = (sum.count * GAP, (sum.error + unseen - sum.seen) * GAP);
            Some(TopKey { uri: sum.name?.parse().ok()?, requests, error })
        });
        let mut keys = keys.collect::<Vec<_>>();
        keys.sort_by_key(|key| Reverse(key.requests));
        keys.truncate(most);
        keys
    }

    #[cold]
    fn note(&self, target: &Target<'_>, now: Instant) {
        let Stripe(recent) = &self.stripes[thread_slot() % STRIPES];
        // Who meets another here is left out: nobody waits for a statistic.
        if let Some(mut recent) = try_lock(recent) {
            recent.turn(now);
            recent.current.see(self.seed.hash_one(target), || {
                let name = target.to_string();
                (target.authority().is_some() && name.len() <= LONGEST).then(|| name.into())
            });
        }
    }
}

/// Two lines of 64 bytes, because processors fetch them in pairs.
#[derive(Debug, Default)]
#[repr(align(128))]
struct Stripe(Mutex<Recent>);

/// What was seen in this span of time and in the one before.
#[derive(Debug, Default)]
struct Recent {
    began: Option<Instant>,
    current: Ranking,
    before: Ranking,
}

impl Recent {
    fn turn(&mut self, now: Instant) {
        let began = *self.began.get_or_insert(now);
        let since = now.saturating_duration_since(began);
        if since >= SPAN {
            let last = take(&mut self.current);
            self.before = if since < 2 * SPAN { last } else { Ranking::default() };
            self.began = Some(if since < 2 * SPAN { began + SPAN } else { now });
        }
    }
}

/// What all stripes know of a target.
#[derive(Default)]
struct Sum {
    count: u64,
    error: u64,
    /// How often it may have been seen unnoticed where it was noticed.
    seen: u64,
    name: Option<Box<str>>,
}

impl Sum {
    fn add(&mut self, counter: &Counter, unseen: u64) {
        self.count += counter.count;
        self.error += counter.error;
        self.seen += unseen;
        if self.name.is_none() {
            self.name.clone_from(&counter.name);
        }
    }
}

/// Whether this is one of the requests by which the rest is judged: one in so many,
/// and by chance, so that what comes at regular intervals is no more likely to be.
fn is_in_sample() -> bool {
    let left = LEFT.get();
    LEFT.set(left.wrapping_sub(1));
    if left > 0 {
        return false;
    }
    // xorshift (Marsaglia, 2003).
    let mut random = RANDOM.get();
    random ^= random << 13;
    random ^= random >> 7;
    random ^= random << 17;
    RANDOM.set(random);
    LEFT.set(random % (2 * GAP - 1));
    true
}

thread_local! {
    static LEFT: Cell<u64> = const { Cell::new(0) };
    static RANDOM: Cell<u64> = const { Cell::new(0x9e37_79b9_7f4a_7c15) };
}

/// One request in so many is seen.
const GAP: u64 = 16;

/// What is told is of one to two of these.
const SPAN: Duration = Duration::from_secs(300);

/// Threads rarely come here: a few stripes are enough.
const STRIPES: usize = 4;

/// The longest URI that is remembered, in bytes.
const LONGEST: usize = 512;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_request_in_sixteen_is_in_the_sample_and_none_is_twice_as_likely() {
        let mut seen = [0; 16];
        (0..320_000).for_each(|turn| seen[turn % 16] += u64::from(is_in_sample()));
        let all = seen.iter().sum::<u64>();
        assert!((19_000..21_000).contains(&all), "{all}");
        assert!(seen.iter().all(|seen| (1_000..1_500).contains(seen)), "{seen:?}");
    }
}
