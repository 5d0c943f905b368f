use std::hint::spin_loop;
use std::sync::atomic::Ordering::SeqCst;

use super::sync::AtomicU64;

/// Counts the invalidations of resources, and the changes that are being made to
/// what is stored for them.
///
/// Who invalidates learns whether a change has begun that does not know of it; who
/// begins a change later does know. Without either, what is not stored now will not
/// be.
///
/// Resources rarely share a count; when they do, a response is not stored that could
/// have been.
#[derive(Debug)]
pub(crate) struct Epochs(Box<[AtomicU64]>);

/// The right to store what was asked for at this moment; an invalidation since
/// takes it away, and of purges since it is known that they are about it too.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Ticket {
    pub(crate) hash: u64,
    pub(crate) epoch: u64,
    /// The newest purge when it was drawn.
    pub(crate) purge: u64,
}

/// A change that is being made; it ends when this is dropped.
#[derive(Debug)]
pub(crate) struct Changing<'a>(&'a AtomicU64);

impl Epochs {
    pub(crate) fn new(counts: usize) -> Self {
        Self((0..counts).map(|_| AtomicU64::new(0)).collect())
    }

    pub(crate) fn of(&self, hash: u64) -> u64 {
        self.count(hash).load(SeqCst) >> BITS
    }

    /// Begins a change, which then looks whether the epoch is the one that it is
    /// meant for.
    pub(crate) fn change(&self, hash: u64) -> Changing<'_> {
        let count = self.count(hash);
        count.fetch_add(1, SeqCst);
        Changing(count)
    }

    /// Begins another epoch; whether changes had begun before.
    pub(crate) fn end(&self, hash: u64) -> bool {
        self.count(hash).fetch_add(1 << BITS, SeqCst) & CHANGES != 0
    }

    /// Begins another epoch for all, and waits for the changes that had begun before:
    /// they wait for nothing.
    pub(crate) fn end_all(&self) {
        for count in &self.0 {
            count.fetch_add(1 << BITS, SeqCst);
        }
        for count in &self.0 {
            while count.load(SeqCst) & CHANGES != 0 {
                spin_loop();
            }
        }
    }

    fn count(&self, hash: u64) -> &AtomicU64 {
        &self.0[hash as usize % self.0.len()]
    }
}

impl Drop for Changing<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, SeqCst);
    }
}

/// More threads than this has room for make no changes at once.
const BITS: u32 = 16;
const CHANGES: u64 = (1 << BITS) - 1;
