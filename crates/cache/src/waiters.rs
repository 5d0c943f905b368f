use std::task::{Context, Waker};

use slab::Slab;

/// Tasks that wait for the same thing, each in a place of its own.
#[derive(Debug, Default)]
pub(crate) struct Waiters(Slab<Option<Waker>>);

impl Waiters {
    /// Takes a place.
    pub(crate) fn enter(&mut self) -> usize {
        self.0.insert(None)
    }

    /// Gives a place back.
    pub(crate) fn leave(&mut self, place: usize) {
        self.0.try_remove(place);
    }

    /// Notes whom to wake at this place, instead of who was noted before.
    pub(crate) fn wait(&mut self, place: usize, cx: &Context<'_>) {
        match self.0.get_mut(place) {
            Some(Some(waker)) => waker.clone_from(cx.waker()),
            Some(slot) => *slot = Some(cx.waker().clone()),
            None => {}
        }
    }

    /// Whoever waits now, to be woken once nothing is locked.
    #[must_use]
    pub(crate) fn woken(&mut self) -> Vec<Waker> {
        self.0.iter_mut().filter_map(|(_, slot)| slot.take()).collect()
    }

    pub(crate) fn len(&self) -> usize {
        self.0.len()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}
