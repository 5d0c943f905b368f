//! The histogram as it ships, its source compiled once more over loom's
//! atomics: every interleaving of its threads is
//! run that switches between them up to three times at will.

#![expect(clippy::duplicate_mod, reason = "the same source over other atomics is the point")]
#![expect(dead_code, unreachable_pub, reason = "a model uses what it checks, and nobody uses it")]

#[path = "histogram.rs"]
mod histogram;
#[path = "stripes.rs"]
mod stripes;

/// Stands in for the module of this name beside the histogram.
mod sync {
    pub(super) use loom::sync::atomic::AtomicU64;

    /// loom has no `OnceLock`: std's, behind a lock that loom sees.
    #[derive(Debug, Default)]
    pub(super) struct OnceLock<T> {
        turn: loom::sync::Mutex<()>,
        value: std::sync::OnceLock<T>,
    }

    impl<T> OnceLock<T> {
        pub(super) fn new() -> Self {
            Self { turn: loom::sync::Mutex::new(()), value: std::sync::OnceLock::new() }
        }

        pub(super) fn get(&self) -> Option<&T> {
            let _turn = self.turn.lock();
            self.value.get()
        }

        pub(super) fn get_or_init(&self, init: impl FnOnce() -> T) -> &T {
            let _turn = self.turn.lock();
            self.value.get_or_init(init)
        }
    }

    /// All threads meet in one stripe.
    pub(super) fn thread_number() -> usize {
        0
    }
}

use std::time::Duration;

use loom::sync::Arc;
use loom::thread;

use self::histogram::Histogram;

/// More switches take a minute and change nothing: each step is a single update
/// of a single number.
fn interleaved(run: impl Fn() + Send + Sync + 'static) {
    let mut model = loom::model::Builder::new();
    model.preemption_bound = Some(3);
    model.check(run);
}

const SHORT: Duration = Duration::from_millis(1);
const LONG: Duration = Duration::from_millis(3);

#[test]
fn no_update_is_lost_between_threads() {
    for (one, other) in [(SHORT, LONG), (SHORT, SHORT)] {
        interleaved(move || {
            let histogram = Arc::new(Histogram::new());
            let shared = histogram.clone();
            let writer = thread::spawn(move || shared.record(one));
            histogram.record(other);
            writer.join().unwrap();
            let all = histogram.snapshot();
            assert_eq!((all.count(), all.sum()), (2, one + other));
            assert_eq!((all.min(), all.max()), (Some(one), Some(other)));
        });
    }
}

#[test]
fn a_reader_sees_no_more_than_was_recorded() {
    interleaved(|| {
        let histogram = Arc::new(Histogram::new());
        let other = histogram.clone();
        let writer = thread::spawn(move || {
            other.record(SHORT);
            other.record(LONG);
        });
        let seen = histogram.snapshot();
        assert!(seen.count() <= 2);
        assert_eq!(seen.mean().is_some(), seen.count() > 0);
        assert_eq!(seen.quantile(0.5).is_some(), seen.count() > 0);
        writer.join().unwrap();
        assert_eq!(histogram.snapshot().count(), 2);
    });
}
