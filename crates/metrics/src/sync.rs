//! What the histogram is made of and a model checker replaces.

use std::cell::Cell;
pub(crate) use std::sync::OnceLock;
pub(crate) use std::sync::atomic::AtomicU64;
use std::sync::atomic::{AtomicUsize, Ordering};

/// The slot of this thread: below [`OWNED`] it is its own until it ends, from
/// there up to [`SLOTS`] it shares it with others.
#[inline]
pub(crate) fn thread_slot() -> usize {
    match SLOT.get() {
        UNKNOWN => take_slot(),
        slot => slot,
    }
}

#[cold]
#[inline(never)]
fn take_slot() -> usize {
    let free = |taken: usize| taken.trailing_ones() as usize;
    let take = |taken| (free(taken) < OWNED).then(|| taken | 1 << free(taken));
    // Acquires what the thread wrote that had the slot before.
    let slot = match TAKEN.fetch_update(Ordering::Acquire, Ordering::Relaxed, take) {
        Ok(taken) => {
            let lease = Lease(free(taken));
            // A thread that is about to end can give nothing back later.
            LEASE.try_with(|held| held.set(Some(lease))).map_or_else(|_| shared(), |()| free(taken))
        }
        Err(_) => shared(),
    };
    SLOT.set(slot);
    slot
}

fn shared() -> usize {
    OWNED + NEXT.fetch_add(1, Ordering::Relaxed) % (SLOTS - OWNED)
}

/// A slot that a thread has for itself, given back when the thread ends.
struct Lease(usize);

impl Drop for Lease {
    fn drop(&mut self) {
        SLOT.set(shared());
        TAKEN.fetch_and(!(1 << self.0), Ordering::Release);
    }
}

pub(crate) const OWNED: usize = 8;
pub(crate) const SLOTS: usize = 16;

const UNKNOWN: usize = usize::MAX;

thread_local! {
    static SLOT: Cell<usize> = const { Cell::new(UNKNOWN) };
    static LEASE: Cell<Option<Lease>> = const { Cell::new(None) };
}

/// A bit for each slot that belongs to a thread.
static TAKEN: AtomicUsize = AtomicUsize::new(0);
static NEXT: AtomicUsize = AtomicUsize::new(0);

#[cfg(test)]
mod tests {
    use std::collections::HashSet;
    use std::sync::Barrier;
    use std::thread;

    use super::*;

    /// In one test, because slots belong to the process.
    #[test]
    fn slots_are_owned_by_one_thread_at_a_time_and_given_back() {
        for _ in 0..20 {
            let together = Barrier::new(3);
            let slots: Vec<_> = thread::scope(|scope| {
                let held = || {
                    let slot = thread_slot();
                    together.wait();
                    assert_eq!(thread_slot(), slot);
                    slot
                };
                let threads: Vec<_> = (0..3).map(|_| scope.spawn(held)).collect();
                threads.into_iter().map(|thread| thread.join().unwrap()).collect()
            });
            let owned: Vec<_> = slots.iter().filter(|slot| **slot < OWNED).collect();
            assert_eq!(owned.iter().collect::<HashSet<_>>().len(), owned.len(), "{slots:?}");
            assert!(slots.iter().all(|slot| *slot < SLOTS));
        }
        // More threads came and went than there are slots: some were given back.
        let again = (0..200).map(|_| thread::spawn(thread_slot).join().unwrap());
        assert!(again.filter(|slot| *slot < OWNED).count() > OWNED);
    }
}
