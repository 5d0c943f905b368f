//! The histogram as it ships, its source compiled once more over loom's atomics:
//! every interleaving of its threads is run that switches between them up to
//! three times at will.

#![expect(clippy::duplicate_mod, reason = "the same source over other atomics is the point")]
#![expect(dead_code, unreachable_pub, reason = "a model uses what it checks, and nobody uses it")]

#[path = "histogram.rs"]
mod histogram;
#[path = "stripes.rs"]
mod stripes;

/// Stands in for the module of this name beside the histogram.
mod sync {
    use std::cell::Cell;

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

    /// Threads meet in one slot, unless they ask for one of their own.
    pub(super) fn thread_slot() -> usize {
        SLOT.with(Cell::get)
    }

    pub(super) fn own_slot(slot: usize) {
        assert!(slot < OWNED);
        SLOT.with(|own| own.set(slot));
    }

    loom::thread_local! {
        static SLOT: Cell<usize> = Cell::new(OWNED);
    }

    pub(super) const OWNED: usize = 2;
    pub(super) const SLOTS: usize = 3;
}

use std::time::Duration;

use loom::sync::Arc;
use loom::thread;

use self::histogram::Histogram;
use self::sync::own_slot;

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
    for owned in [false, true] {
        for (one, other) in [(SHORT, LONG), (SHORT, SHORT)] {
            interleaved(move || {
                let histogram = Arc::new(Histogram::new());
                let shared = histogram.clone();
                let writer = thread::spawn(move || {
                    if owned {
                        own_slot(1);
                    }
                    shared.record(one);
                });
                histogram.record(other);
                writer.join().unwrap();
                let all = histogram.snapshot();
                assert_eq!((all.count(), all.sum()), (2, one + other));
                assert_eq!((all.min(), all.max()), (Some(one), Some(other)));
            });
        }
    }
}

#[test]
fn a_reset_leaves_nothing_of_what_came_before() {
    for owned in [false, true] {
        interleaved(move || {
            let histogram = Arc::new(Histogram::new());
            let other = histogram.clone();
            let (recorded, was_recorded) = loom::sync::mpsc::channel();
            let (reset, was_reset) = loom::sync::mpsc::channel();
            let writer = thread::spawn(move || {
                if owned {
                    own_slot(1);
                }
                other.record(LONG);
                recorded.send(()).unwrap();
                was_reset.recv().unwrap();
                other.record(SHORT);
            });
            was_recorded.recv().unwrap();
            histogram.reset();
            reset.send(()).unwrap();
            assert!(histogram.snapshot().count() <= 1);
            writer.join().unwrap();
            let all = histogram.snapshot();
            assert_eq!((all.count(), all.sum(), all.max()), (1, SHORT, Some(SHORT)));
        });
    }
}

#[test]
fn a_reset_beside_its_owner_leaves_a_value_or_nothing() {
    interleaved(|| {
        let histogram = Arc::new(Histogram::new());
        let other = histogram.clone();
        let writer = thread::spawn(move || {
            own_slot(1);
            other.record(LONG);
        });
        histogram.reset();
        writer.join().unwrap();
        let all = histogram.snapshot();
        assert_eq!(all.sum(), LONG * u32::try_from(all.count()).unwrap());
        assert!(all.count() <= 1);
    });
}

#[test]
fn a_reader_sees_no_more_than_was_recorded() {
    interleaved(|| {
        let histogram = Arc::new(Histogram::new());
        let other = histogram.clone();
        let writer = thread::spawn(move || {
            own_slot(0);
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
