use std::sync::atomic::AtomicUsize;
use std::sync::atomic::Ordering::{Acquire, Release};
use std::sync::{Mutex, OnceLock, PoisonError};

/// Values that come and never go, so many at most, by open addressing.
///
/// A place is taken once and never left, so that finding a value takes no lock
/// and no allocation. The table is at most half full.
#[derive(Debug)]
pub(crate) struct Table<T> {
    places: Box<[OnceLock<Box<T>>]>,
    max: usize,
    taken: AtomicUsize,
    inserting: Mutex<()>,
}

impl<T> Table<T> {
    pub(crate) fn new(max: usize) -> Self {
        let places = (2 * max).next_power_of_two();
        Self {
            places: (0..places).map(|_| OnceLock::new()).collect(),
            max,
            taken: AtomicUsize::new(0),
            inserting: Mutex::new(()),
        }
    }

    /// The place of the value that `is` the one, made if there is none yet; none
    /// if there is no room for it.
    ///
    /// Values that may be the same have the same `hash`, whose low bits count.
    #[inline]
    pub(crate) fn find(
        &self,
        hash: usize,
        is: impl Fn(&T) -> bool,
        make: impl Fn() -> T,
    ) -> Option<usize> {
        let place = hash & (self.places.len() - 1);
        match self.get(place) {
            Some(value) if is(value) => Some(place),
            _ => self.find_from(place, is, make),
        }
    }

    #[inline(never)]
    fn find_from(
        &self,
        mut place: usize,
        is: impl Fn(&T) -> bool,
        make: impl Fn() -> T,
    ) -> Option<usize> {
        let mask = self.places.len() - 1;
        loop {
            match self.places[place].get() {
                Some(value) if is(value) => return Some(place),
                Some(_) => place = (place + 1) & mask,
                // The last place may have been taken since, perhaps by this value.
                None if self.is_full() && self.places[place].get().is_none() => return None,
                // Whether this thread was the first or not: look again.
                None => self.insert(place, &make),
            }
        }
    }

    #[inline]
    pub(crate) fn get(&self, place: usize) -> Option<&T> {
        self.places.get(place)?.get().map(|value| &**value)
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &T> {
        self.places.iter().filter_map(OnceLock::get).map(|value| &**value)
    }

    pub(crate) fn max(&self) -> usize {
        self.max
    }

    /// The bytes of the table, without its values.
    pub(crate) fn memory(&self) -> usize {
        size_of_val(&*self.places)
    }

    fn is_full(&self) -> bool {
        self.taken.load(Acquire) >= self.max
    }

    /// Makes a value here, unless somebody was faster or took the last place.
    fn insert(&self, place: usize, make: impl Fn() -> T) {
        let _turn = self.inserting.lock().unwrap_or_else(PoisonError::into_inner);
        let free = !self.is_full() && self.places[place].get().is_none();
        if free {
            self.places[place].get_or_init(|| Box::new(make()));
            self.taken.fetch_add(1, Release);
        }
    }
}

/// Mixes a word into a hash; the high bits of the result depend on all that was
/// mixed in. What is hashed here is bounded, so that a multiplication does, a
/// fifth of the cost of the standard library's.
pub(crate) fn mix(hash: u64, word: u64) -> u64 {
    (hash.rotate_left(5) ^ word).wrapping_mul(GOLDEN)
}

/// 2^64 over the golden ratio, made odd.
const GOLDEN: u64 = 0x9e37_79b9_7f4a_7c15;

#[cfg(test)]
mod tests {
    use std::sync::Barrier;
    use std::sync::atomic::Ordering::Relaxed;
    use std::thread;

    use super::*;

    fn find(table: &Table<usize>, value: usize) -> Option<usize> {
        // Some start at the same place.
        table.find(value / 2, |known| *known == value, || value)
    }

    #[test]
    fn threads_that_come_at_once_find_the_same_values() {
        for _ in 0..200 {
            let (table, start) = (Table::new(10), Barrier::new(4));
            thread::scope(|scope| {
                for _ in 0..4 {
                    scope.spawn(|| {
                        start.wait();
                        for value in 0..10 {
                            let place = find(&table, value).unwrap();
                            assert_eq!(table.get(place), Some(&value));
                        }
                    });
                }
            });
            assert_eq!((table.iter().count(), table.taken.load(Relaxed)), (10, 10));
        }
    }

    #[test]
    fn a_thread_that_comes_too_late_makes_nothing() {
        let table = Table::new(1);
        find(&table, 0);
        (0..table.places.len()).for_each(|place| table.insert(place, || 1));
        assert_eq!((table.iter().count(), table.taken.load(Relaxed)), (1, 1));
    }

    #[test]
    fn past_the_limit_there_is_no_place() {
        let table = Table::new(3);
        for value in 0..10 {
            assert_eq!(find(&table, value).is_some(), value < 3);
        }
        assert!(find(&table, 1).is_some());
        assert_eq!(find(&Table::new(0), 1), None);
    }
}
