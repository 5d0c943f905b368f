//! Quotas as they ship, their source compiled once more over loom's atomics:
//! every interleaving of their threads is run that switches between them once at
//! will, or twice where heavy tests run in full.

#![expect(clippy::duplicate_mod, reason = "the same source over other atomics is the point")]
#![expect(dead_code, reason = "a model uses what it checks, and nobody uses it")]

#[path = "bucket.rs"]
mod bucket;
#[path = "charges.rs"]
mod charges;
#[path = "table.rs"]
mod table;

use super::{quota, rule};

/// Stands in for the module of this name beside the table.
mod sync {
    pub(super) use loom::sync::Mutex;
    pub(super) use loom::sync::atomic::{AtomicU64, fence};

    /// Lets the others go on.
    pub(super) fn spin_loop() {
        loom::thread::yield_now();
    }

    pub(super) type Set = [AtomicU64; WAYS];

    /// On the heap, which a model has room for.
    #[derive(Debug)]
    pub(super) struct Sets(Box<[Set]>);

    impl Sets {
        pub(super) fn new(count: usize) -> Self {
            Self((0..count).map(|_| Set::default()).collect())
        }
    }

    impl std::ops::Deref for Sets {
        type Target = [Set];

        fn deref(&self) -> &[Set] {
            &self.0
        }
    }

    pub(super) const WAYS: usize = 2;
    pub(super) const TURNS: usize = 2;
}

use loom::sync::Arc;
use loom::thread;

use self::bucket::Bucket;
use self::charges::{Cost, charge_all};
use self::quota::{Quota, SECOND};
use self::rule::Verdict;
use self::table::Spot;
use crate::nonzero;

fn interleaved(run: impl Fn() + Send + Sync + 'static) {
    let long = std::env::var_os("TOWER_EDGE_LONG").is_some_and(|long| long == "1");
    let mut model = loom::model::Builder::new();
    model.preemption_bound = Some(if long { 2 } else { 1 });
    model.check(run);
}

/// Of which nothing comes back while a model runs.
fn quota(burst: u32) -> Quota {
    Quota::per_day(nonzero!(1)).burst(burst.try_into().unwrap())
}

fn spot(key: u64) -> Spot {
    Spot::new(key << 40 | key)
}

fn charge(bucket: &Bucket, key: u64, nanos: u64) -> bool {
    if bucket.charge_roughly(spot(key), || nanos, 1).is_some() {
        return true;
    }
    matches!(bucket.charge(spot(key), nanos, 1).verdict, Verdict::Admit { .. })
}

fn available(bucket: &Bucket, key: u64) -> u32 {
    bucket.standing(spot(key), SECOND).available
}

#[test]
fn threads_together_are_admitted_as_often_as_the_burst_allows() {
    for (burst, nanos) in [(1, [0, 0]), (2, [0, 5]), (3, [7, 0])] {
        interleaved(move || {
            let bucket = Arc::new(Bucket::new(&quota(burst), 1));
            let charge_twice = |bucket: &Bucket, nanos| {
                u32::from(charge(bucket, 1, nanos)) + u32::from(charge(bucket, 1, nanos))
            };
            let other = bucket.clone();
            let thread = thread::spawn(move || charge_twice(&other, nanos[0]));
            let admitted = charge_twice(&bucket, nanos[1]) + thread.join().unwrap();
            assert_eq!(admitted, burst);
            assert_eq!(available(&bucket, 1), 0);
        });
    }
}

#[test]
fn a_new_key_takes_one_place_while_others_come_and_go() {
    interleaved(|| {
        let bucket = Arc::new(Bucket::new(&quota(2), 1));
        assert!(charge(&bucket, 9, 0));
        let (first, second) = (bucket.clone(), bucket.clone());
        let first = thread::spawn(move || u32::from(charge(&first, 1, 3)));
        let second = thread::spawn(move || {
            // Its place is free from now on, or about to be.
            second.reset(spot(9), 3);
            u32::from(charge(&second, 1, 2)) + u32::from(charge(&second, 1, 2))
        });
        assert_eq!(first.join().unwrap() + second.join().unwrap(), 2);
    });
}

#[test]
fn an_eviction_beside_its_key_loses_no_charge_that_it_did_not_count() {
    interleaved(|| {
        let bucket = Arc::new(Bucket::new(&quota(4), 1));
        bucket.force(spot(1), 0, 1);
        bucket.force(spot(2), 0, 3);
        let other = bucket.clone();
        let evictor = thread::spawn(move || other.force(spot(3), 0, 1));
        bucket.force(spot(1), 0, 1);
        let evicted = evictor.join().unwrap();
        // Either the charge came first, or it began anew in another's place.
        assert!(evicted);
        let kept = [1, 2, 3].map(|key| 4 - available(&bucket, key));
        assert!(matches!(kept, [0, 3, 1] | [1, 0, 1] | [1, 3, 0]), "{kept:?}");
    });
}

#[test]
fn several_quotas_are_charged_together_or_not_at_all() {
    interleaved(|| {
        let buckets = [5, 1].map(|burst| std::sync::Arc::new(Bucket::new(&quota(burst), 1)));
        let both = |buckets: &[_], turn: u16| {
            let cost = |bucket| Cost { bucket, spot: spot(1), permits: 1 };
            u32::from(charge_all(buckets, &[cost(turn), cost(1 - turn)], 0).is_ok())
        };
        let others = buckets.clone();
        let thread = thread::spawn(move || both(&others, 1));
        let admitted = both(&buckets, 0) + thread.join().unwrap();
        assert_eq!(admitted, 1);
        assert_eq!((available(&buckets[0], 1), available(&buckets[1], 1)), (4, 0));
    });
}

#[test]
fn a_refund_beside_a_charge_leaves_what_was_charged() {
    interleaved(|| {
        let bucket = Arc::new(Bucket::new(&quota(5), 1));
        bucket.force(spot(1), 0, 2);
        let other = bucket.clone();
        let thread = thread::spawn(move || other.refund(spot(1), 0, 2));
        assert!(charge(&bucket, 1, 0));
        thread.join().unwrap();
        assert_eq!(available(&bucket, 1), 4);
    });
}

#[test]
fn a_swap_shows_a_whole_quota_and_forgets_no_charge() {
    interleaved(|| {
        let bucket = Arc::new(Bucket::new(&quota(2), 1));
        assert!(charge(&bucket, 1, 0));
        let other = bucket.clone();
        let thread = thread::spawn(move || charge(&other, 1, 0));
        assert!(bucket.swap(&quota(3), 0));
        assert!(thread.join().unwrap());
        assert_eq!(available(&bucket, 1), 1);
    });
}

#[test]
fn who_reads_a_quota_beside_a_swap_reads_one_of_them_whole() {
    interleaved(|| {
        let (before, after) = (quota(2), Quota::per_hour(nonzero!(7)));
        let bucket = Arc::new(Bucket::new(&before, 1));
        let other = bucket.clone();
        let reader = thread::spawn(move || other.rate());
        assert!(bucket.swap(&after, 0));
        let read = reader.join().unwrap();
        let rates = [before, after].map(|quota| (quota.permits().get(), quota.nanos()));
        assert!(rates.contains(&read), "{read:?}");
        assert_eq!(bucket.rate(), rates[1]);
    });
}
