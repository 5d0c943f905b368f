use std::sync::atomic::Ordering::{Acquire, Relaxed, Release};

use super::sync::{AtomicU64, OWNED, OnceLock, SLOTS, thread_slot};

/// A value for each of some threads, and one for each of a few groups of the
/// others, so that writers rarely meet in a cache line; made when its first
/// thread comes.
///
/// A thread that has a value for itself writes without locked instructions,
/// which cost more than all else that a histogram does. Hence nobody else may
/// write there: its own thread clears it when it comes after a reset.
#[derive(Debug)]
pub(crate) struct Stripes<T> {
    resets: AtomicU64,
    stripes: [OnceLock<Box<Stripe<T>>>; SLOTS],
}

/// What can start again from nothing.
pub(crate) trait Clear {
    fn clear(&self);
}

/// Whether a writer is alone: how it may change a number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Access {
    Sole,
    Shared,
}

impl<T: Clear + Default> Stripes<T> {
    pub(crate) fn new() -> Self {
        Self { resets: AtomicU64::new(0), stripes: std::array::from_fn(|_| OnceLock::new()) }
    }

    /// Writes to the value of this thread.
    pub(crate) fn write<R>(&self, write: impl FnOnce(&T, Access) -> R) -> R {
        let (value, access) = self.own();
        write(value, access)
    }

    /// The value of this thread, and how it may be changed.
    #[inline]
    pub(crate) fn own(&self) -> (&T, Access) {
        let (stripe, access) = self.stripe();
        let resets = self.resets.load(Relaxed);
        if access == Access::Sole && stripe.resets.load(Relaxed) != resets {
            stripe.value.clear();
            stripe.resets.store(resets, Release);
        }
        (&stripe.value, access)
    }

    /// The same of values that nobody ever resets.
    #[inline]
    pub(crate) fn own_ever(&self) -> (&T, Access) {
        let (stripe, access) = self.stripe();
        (&stripe.value, access)
    }

    /// The values that hold what was written since the last reset.
    pub(crate) fn iter(&self) -> impl Iterator<Item = &T> {
        let resets = self.resets.load(Acquire);
        let current = move |(slot, stripe): &(usize, &Stripe<T>)| {
            *slot >= OWNED || stripe.resets.load(Acquire) == resets
        };
        self.made().filter(current).map(|(_, stripe)| &stripe.value)
    }

    /// All values, with what they hold from before the last reset.
    pub(crate) fn iter_ever(&self) -> impl Iterator<Item = &T> {
        self.made().map(|(_, stripe)| &stripe.value)
    }

    /// Starts again; what is written meanwhile may be lost.
    pub(crate) fn reset(&self) {
        self.resets.fetch_add(1, Release);
        let shared = self.made().filter(|(slot, _)| *slot >= OWNED);
        shared.for_each(|(_, stripe)| stripe.value.clear());
    }

    /// What the values take, with the heap that `owned` says each owns.
    pub(crate) fn memory(&self, owned: impl Fn(&T) -> usize) -> usize {
        let made = self.made().map(|(_, stripe)| size_of::<Stripe<T>>() + owned(&stripe.value));
        size_of::<Self>() + made.sum::<usize>()
    }

    #[inline]
    fn stripe(&self) -> (&Stripe<T>, Access) {
        let slot = thread_slot();
        let stripe = match self.stripes[slot].get() {
            Some(stripe) => stripe,
            None => self.make(slot),
        };
        (stripe, if slot < OWNED { Access::Sole } else { Access::Shared })
    }

    #[cold]
    #[inline(never)]
    fn make(&self, slot: usize) -> &Stripe<T> {
        self.stripes[slot].get_or_init(Box::default)
    }

    fn made(&self) -> impl Iterator<Item = (usize, &Stripe<T>)> {
        let stripes = self.stripes.iter().enumerate();
        stripes.filter_map(|(slot, stripe)| Some((slot, &**stripe.get()?)))
    }
}

impl Access {
    /// Adds, past the greatest number from zero on, and returns what was there.
    #[inline]
    pub(crate) fn add(self, to: &AtomicU64, number: u64) -> u64 {
        match self {
            Self::Sole => {
                let before = to.load(Relaxed);
                to.store(before.wrapping_add(number), Relaxed);
                before
            }
            Self::Shared => to.fetch_add(number, Relaxed),
        }
    }

    /// Keeps the lesser number.
    pub(crate) fn lower(self, to: &AtomicU64, number: u64) {
        if number < to.load(Relaxed) {
            match self {
                Self::Sole => to.store(number, Relaxed),
                Self::Shared => {
                    to.fetch_min(number, Relaxed);
                }
            }
        }
    }

    /// Keeps the greater number.
    pub(crate) fn raise(self, to: &AtomicU64, number: u64) {
        if number > to.load(Relaxed) {
            match self {
                Self::Sole => to.store(number, Relaxed),
                Self::Shared => {
                    to.fetch_max(number, Relaxed);
                }
            }
        }
    }
}

impl Clear for AtomicU64 {
    fn clear(&self) {
        self.store(0, Relaxed);
    }
}

/// Two lines of 64 bytes, because processors fetch them in pairs.
#[derive(Debug)]
#[repr(align(128))]
struct Stripe<T> {
    /// The number of resets after which the value was cleared.
    resets: AtomicU64,
    value: T,
}

impl<T: Default> Default for Stripe<T> {
    fn default() -> Self {
        Self { resets: AtomicU64::new(0), value: T::default() }
    }
}
