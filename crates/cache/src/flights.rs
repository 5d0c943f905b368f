use std::collections::HashMap;
use std::fmt;
use std::hash::{BuildHasher, Hash};
use std::task::{Context, Poll, Waker};

use super::sync::{Arc, Mutex, lock};
use super::waiters::Waiters;

/// Who is on the way upstream, and for which key; whoever wants the same
/// meanwhile waits for what comes back, a `T`.
///
/// A key has one leader at a time. Its flight stays in the table until the
/// leader is dropped: who comes between the landing and that gets the same `T`
/// at once.
pub(crate) struct Flights<K, T, H>(Arc<Table<K, T, H>>);

/// What one becomes who wants what is at a key.
pub(crate) enum Join<K: Eq + Hash, T, H: BuildHasher> {
    Lead(Lead<K, T, H>),
    Follow(Follow<T>),
}

/// The duty to land a flight. Dropped before it has landed, it lands as lost:
/// one of those who wait will lead the next.
pub(crate) struct Lead<K: Eq + Hash, T, H: BuildHasher> {
    table: Arc<Table<K, T, H>>,
    key: K,
    flight: Arc<Flight<T>>,
}

/// A place among those who wait for a flight; dropping it gives it back.
pub(crate) struct Follow<T> {
    flight: Arc<Flight<T>>,
    place: usize,
}

impl<K: Eq + Hash + Clone, T: Clone, H: BuildHasher> Flights<K, T, H> {
    pub(crate) fn new(hasher: H) -> Self {
        Self(Arc::new(Mutex::new(HashMap::with_hasher(hasher))))
    }

    /// Follows the flight for a key, if there is one.
    pub(crate) fn follow(&self, key: &K) -> Option<Follow<T>> {
        lock(&self.0).get(key).map(Follow::new)
    }

    /// Leads the flight for a key if there is none, or follows the one there is.
    ///
    /// A new leader looks once more whether what it wants is there: the flight
    /// before may have landed since it looked.
    pub(crate) fn join(&self, key: &K) -> Join<K, T, H> {
        let mut aloft = lock(&self.0);
        if let Some(flight) = aloft.get(key) {
            return Join::Follow(Follow::new(flight));
        }
        let flight = Arc::new(Flight { state: Mutex::new(State::default()) });
        aloft.insert(key.clone(), flight.clone());
        Join::Lead(Lead { table: self.0.clone(), key: key.clone(), flight })
    }
}

impl<K: Eq + Hash, T, H: BuildHasher> Lead<K, T, H> {
    /// Tells those who wait, and those who will come, what has come back; whether
    /// this was the first word of it, which counts.
    pub(crate) fn land(&self, landed: T) -> bool {
        self.flight.land(Some(landed))
    }

    /// Whether somebody waits for this flight.
    pub(crate) fn is_followed(&self) -> bool {
        !lock(&self.flight.state).waiters.is_empty()
    }
}

impl<K: Eq + Hash, T, H: BuildHasher> Drop for Lead<K, T, H> {
    fn drop(&mut self) {
        lock(&self.table).remove(&self.key);
        self.flight.land(None);
    }
}

impl<T: Clone> Follow<T> {
    fn new(flight: &Arc<Flight<T>>) -> Self {
        let place = lock(&flight.state).waiters.enter();
        Self { flight: flight.clone(), place }
    }

    /// Whether it is known what has come back.
    pub(crate) fn has_landed(&self) -> bool {
        lock(&self.flight.state).landed.is_some()
    }

    /// Waits until the flight has landed; `None` if it is lost.
    pub(crate) fn poll(&self, cx: &Context<'_>) -> Poll<Option<T>> {
        let mut state = lock(&self.flight.state);
        match &state.landed {
            Some(landed) => Poll::Ready(landed.clone()),
            None => {
                state.waiters.wait(self.place, cx);
                Poll::Pending
            }
        }
    }
}

impl<T> Drop for Follow<T> {
    fn drop(&mut self) {
        lock(&self.flight.state).waiters.leave(self.place);
    }
}

impl<K, T, H> Clone for Flights<K, T, H> {
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}

impl<K, T, H> fmt::Debug for Flights<K, T, H> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Flights").finish_non_exhaustive()
    }
}

impl<K: Eq + Hash, T, H: BuildHasher> fmt::Debug for Lead<K, T, H> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Lead").finish_non_exhaustive()
    }
}

impl<T> fmt::Debug for Follow<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Follow").field("place", &self.place).finish_non_exhaustive()
    }
}

type Table<K, T, H> = Mutex<HashMap<K, Arc<Flight<T>>, H>>;

struct Flight<T> {
    state: Mutex<State<T>>,
}

struct State<T> {
    /// What came back; `Some(None)` if the flight is lost.
    landed: Option<Option<T>>,
    waiters: Waiters,
}

impl<T> Default for State<T> {
    fn default() -> Self {
        Self { landed: None, waiters: Waiters::default() }
    }
}

impl<T> Flight<T> {
    fn land(&self, landed: Option<T>) -> bool {
        let woken = {
            let mut state = lock(&self.state);
            if state.landed.is_some() {
                return false;
            }
            state.landed = Some(landed);
            state.waiters.woken()
        };
        woken.into_iter().for_each(Waker::wake);
        true
    }
}
