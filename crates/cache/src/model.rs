//! The flight table, the epochs and the front as they ship, their sources compiled once more
//! over loom's mutexes and atomics: every interleaving of their threads is run that
//! switches between them up to twice at will.

#![expect(clippy::duplicate_mod, reason = "the same source over other mutexes is the point")]
#![expect(dead_code, reason = "a model uses what it checks, and nobody uses it")]

#[path = "epochs.rs"]
mod epochs;
#[path = "flights.rs"]
mod flights;
#[path = "front.rs"]
mod front;
#[path = "waiters.rs"]
mod waiters;

/// Stands in for the module of this name beside the tables.
mod sync {
    pub(super) use loom::sync::atomic::AtomicU64;
    pub(super) use loom::sync::{Arc, Mutex};

    pub(super) fn lock<T>(mutex: &Mutex<T>) -> loom::sync::MutexGuard<'_, T> {
        mutex.lock().expect("nothing panics while it is held")
    }

    pub(super) fn try_lock<T>(mutex: &Mutex<T>) -> Option<loom::sync::MutexGuard<'_, T>> {
        mutex.try_lock().ok()
    }
}

use std::hash::{BuildHasherDefault, DefaultHasher};

use loom::future::block_on;
use loom::sync::Arc;
use loom::sync::atomic::{AtomicU64, Ordering};
use loom::thread;

use self::epochs::Epochs;
use self::flights::{Flights, Join};
use self::front::{Front, Glance, Shape};
use self::sync::{Mutex, lock};

type Table = Flights<u8, u64, BuildHasherDefault<DefaultHasher>>;

/// A store, an origin that counts its calls, and the flights between them.
struct World {
    flights: Table,
    stored: AtomicU64,
    calls: AtomicU64,
}

impl World {
    fn new() -> Arc<Self> {
        let flights = Flights::new(BuildHasherDefault::default());
        Arc::new(Self { flights, stored: AtomicU64::new(0), calls: AtomicU64::new(0) })
    }

    /// A request: it looks into the store, then for a flight, then once more into
    /// the store; `None` if it led and gave up.
    fn ask(&self, gives_up: bool) -> Option<u64> {
        loop {
            if let found @ 1.. = self.stored.load(Ordering::SeqCst) {
                return Some(found);
            }
            match self.flights.join(&0) {
                Join::Follow(follow) => {
                    let landed = std::future::poll_fn(|cx| follow.poll(cx));
                    if let Some(landed) = block_on(landed) {
                        return Some(landed);
                    }
                }
                Join::Lead(_) if self.stored.load(Ordering::SeqCst) > 0 => {}
                Join::Lead(_) if gives_up => return None,
                Join::Lead(lead) => {
                    let number = self.calls.fetch_add(1, Ordering::SeqCst) + 1;
                    lead.land(number);
                    self.stored.store(number, Ordering::SeqCst);
                    return Some(number);
                }
            }
        }
    }
}

/// A table of one number, and the front before it.
struct Fronted {
    front: Front<u64>,
    table: Mutex<u64>,
}

impl Fronted {
    /// With two stripes, in which the next request will make the number be kept.
    fn new() -> Arc<Self> {
        let shape = Shape { stripes: 2, places: 1, words: 1, budget: 2 };
        let new = Self { front: Front::new(shape), table: Mutex::new(0) };
        (0..3).for_each(|_| (0..2).for_each(|slot| _ = new.read(slot)));
        Arc::new(new)
    }

    fn read(&self, slot: usize) -> u64 {
        match self.front.glance(slot, 1, |number| Some(*number)) {
            Glance::Found(number) => number,
            Glance::Wanted(version) => {
                let number = *lock(&self.table);
                self.front.keep(slot, 1, version, number, 1);
                number
            }
            Glance::Nothing => *lock(&self.table),
        }
    }

    fn add(&self) -> u64 {
        let new = {
            let mut number = lock(&self.table);
            *number += 1;
            *number
        };
        self.front.forget(1);
        new
    }
}

/// A table of one place, and the epochs that say what may still be put there.
struct Place {
    epochs: Epochs,
    stored: Mutex<bool>,
}

impl Place {
    fn change(&self, epoch: u64) {
        let changing = self.epochs.change(0);
        {
            let mut stored = lock(&self.stored);
            if self.epochs.of(0) == epoch {
                *stored = true;
            }
        }
        drop(changing);
    }

    /// As the store does, which does not wait for its turn if there is nothing.
    fn invalidate(&self) {
        let is_changing = self.epochs.end(0);
        let is_stored = *lock(&self.stored);
        if is_changing || is_stored {
            *lock(&self.stored) = false;
        }
    }
}

fn interleaved(run: impl Fn() + Send + Sync + 'static) {
    let mut model = loom::model::Builder::new();
    model.preemption_bound = Some(2);
    model.check(run);
}

#[test]
fn one_call_is_made_whoever_comes_when() {
    interleaved(|| {
        let world = World::new();
        let asked = [(); 2].map(|()| {
            let world = world.clone();
            thread::spawn(move || world.ask(false))
        });
        let own = world.ask(false);
        let others = asked.map(|asked| asked.join().unwrap());
        assert_eq!([own, others[0], others[1]], [Some(1); 3]);
        assert_eq!(world.calls.load(Ordering::SeqCst), 1);
    });
}

#[test]
fn a_follower_of_a_lost_flight_is_woken_and_leads() {
    interleaved(|| {
        let world = World::new();
        let leaving = world.clone();
        let leader = thread::spawn(move || leaving.ask(true));
        assert_eq!(world.ask(false), Some(1));
        assert!(matches!(leader.join().unwrap(), None | Some(1)));
        assert_eq!(world.calls.load(Ordering::SeqCst), 1);
    });
}

#[test]
fn nobody_reads_in_front_what_was_changed_before() {
    interleaved(|| {
        let fronted = Fronted::new();
        let done = Arc::new(AtomicU64::new(0));
        let (changed, told) = (fronted.clone(), done.clone());
        let writer = thread::spawn(move || {
            told.store(changed.add(), Ordering::SeqCst);
            assert_eq!(changed.read(1), 1);
        });
        for _ in 0..2 {
            let least = done.load(Ordering::SeqCst);
            assert!(fronted.read(0) >= least);
        }
        writer.join().unwrap();
        assert_eq!([fronted.read(0), fronted.read(1)], [1; 2]);
        fronted.front.forget(1);
        assert_eq!(fronted.front.weight(), 0);
    });
}

#[test]
fn two_changes_leave_nothing_of_the_first_in_front() {
    interleaved(|| {
        let fronted = Fronted::new();
        let other = fronted.clone();
        let writer = thread::spawn(move || {
            let new = other.add();
            assert!(other.read(1) >= new);
        });
        let new = fronted.add();
        assert!(fronted.read(0) >= new);
        writer.join().unwrap();
        assert_eq!([fronted.read(0), fronted.read(1)], [2; 2]);
    });
}

#[test]
fn what_was_asked_for_before_an_invalidation_is_never_there_after_it() {
    interleaved(|| {
        let place = Arc::new(Place { epochs: Epochs::new(1), stored: Mutex::new(false) });
        let epoch = place.epochs.of(0);
        let changes = [(); 2].map(|()| {
            let place = place.clone();
            thread::spawn(move || place.change(epoch))
        });
        place.invalidate();
        assert!(!*lock(&place.stored));
        changes.into_iter().for_each(|change| change.join().unwrap());
        assert!(!*lock(&place.stored));
        place.change(place.epochs.of(0));
        assert!(*lock(&place.stored));
    });
}
