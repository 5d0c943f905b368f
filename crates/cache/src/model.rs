//! The flight table as it ships, its source compiled once more over loom's
//! mutexes: every interleaving of its threads is run that switches between them
//! up to twice at will.

#![expect(clippy::duplicate_mod, reason = "the same source over other mutexes is the point")]
#![expect(dead_code, reason = "a model uses what it checks, and nobody uses it")]

#[path = "flights.rs"]
mod flights;
#[path = "waiters.rs"]
mod waiters;

/// Stands in for the module of this name beside the table.
mod sync {
    pub(super) use loom::sync::{Arc, Mutex};

    pub(super) fn lock<T>(mutex: &Mutex<T>) -> loom::sync::MutexGuard<'_, T> {
        mutex.lock().expect("nothing panics while it is held")
    }
}

use std::hash::{BuildHasherDefault, DefaultHasher};

use loom::future::block_on;
use loom::sync::Arc;
use loom::sync::atomic::{AtomicU64, Ordering};
use loom::thread;

use self::flights::{Flights, Join};

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
