use std::mem::replace;

/// Counts the keys that are seen most, with no more than so many counters:
/// Space-Saving (Metwally, Agrawal and El Abbadi, Efficient Computation of Frequent
/// and Top-k Elements in Data Streams, ICDT 2005).
///
/// A key without a counter takes over that of the key that was seen least, with its
/// count. So no key was seen more often than its counter says, nor less often than
/// that without the error, which is at most the part of one counter in all that was
/// seen; and what was seen more often than that has a counter.
#[derive(Debug, Default)]
pub(crate) struct Ranking {
    /// Those of the counters, together, because they are searched.
    hashes: Vec<u64>,
    counters: Vec<Counter>,
}

/// How often a key was seen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Counter {
    pub(crate) count: u64,
    pub(crate) error: u64,
    /// There once it was seen again, if it has one.
    pub(crate) name: Option<Box<str>>,
}

impl Ranking {
    /// Sees a key. Its name is asked for when it is seen again: most are not.
    pub(crate) fn see(&mut self, hash: u64, name: impl FnOnce() -> Option<Box<str>>) {
        if let Some(at) = self.hashes.iter().position(|known| *known == hash) {
            let counter = &mut self.counters[at];
            counter.count += 1;
            if counter.name.is_none() {
                counter.name = name();
            }
            return;
        }
        let first = Counter { count: 1, error: 0, name: None };
        if self.counters.len() < COUNTERS {
            self.hashes.push(hash);
            self.counters.push(first);
        } else if let Some((at, least)) = self.least() {
            self.hashes[at] = hash;
            let taken = Counter { count: least + 1, error: least, ..first };
            drop(replace(&mut self.counters[at], taken));
        }
    }

    /// The keys, by their hashes.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (u64, &Counter)> {
        self.hashes.iter().copied().zip(&self.counters)
    }

    /// How often a key may have been seen that has no counter.
    pub(crate) fn unseen(&self) -> u64 {
        let full = self.counters.len() == COUNTERS;
        self.least().filter(|_| full).map_or(0, |(_, least)| least)
    }

    fn least(&self) -> Option<(usize, u64)> {
        let counts = self.counters.iter().map(|counter| counter.count).enumerate();
        counts.min_by_key(|(_, count)| *count)
    }
}

pub(crate) const COUNTERS: usize = 64;

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn a_count_is_right_but_for_its_error_and_who_is_seen_often_has_one(
            rare in prop::collection::vec(0_u64..1_000, 0..3_000),
            often in prop::collection::vec(0_u64..8, 0..1_000),
        ) {
            let (mut ranking, mut seen) = (Ranking::default(), HashMap::<u64, u64>::new());
            let all = rare.len() + often.len();
            // As mixed as they can be.
            let mut keys = rare.iter().map(|key| key + 8).zip(0..).collect::<Vec<_>>();
            keys.extend(often.iter().copied().zip((0..).step_by(1 + rare.len() / (1 + often.len()))));
            keys.sort_by_key(|(_, at)| *at);
            for (key, _) in keys {
                *seen.entry(key).or_default() += 1;
                ranking.see(key, || Some(key.to_string().into()));
            }
            let most_error = (all / COUNTERS) as u64;
            for (key, counter) in ranking.iter() {
                let times = seen[&key];
                prop_assert!(counter.count - counter.error <= times && times <= counter.count);
                prop_assert!(counter.error <= most_error);
                prop_assert!(counter.name.as_ref().is_none_or(|name| **name == *key.to_string()));
            }
            for (key, times) in seen {
                let counted = ranking.iter().any(|(known, _)| known == key);
                prop_assert!(counted || times <= ranking.unseen());
                prop_assert!(ranking.unseen() <= most_error);
            }
        }
    }
}
