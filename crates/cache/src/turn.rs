use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// Whose turn it is to refresh a response: one at a time has it.
#[derive(Debug, Default)]
pub(crate) struct Turns(Arc<AtomicBool>);

impl Turns {
    pub(crate) fn take(&self) -> Option<Turn> {
        let taken = self.0.swap(true, Ordering::AcqRel);
        (!taken).then(|| Turn(self.0.clone()))
    }
}

/// A turn; given back when it is dropped.
#[derive(Debug)]
pub(crate) struct Turn(Arc<AtomicBool>);

impl Drop for Turn {
    fn drop(&mut self) {
        self.0.store(false, Ordering::Release);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_has_the_turn_until_it_is_dropped() {
        let turns = Turns::default();
        let turn = turns.take();
        assert!(turn.is_some() && turns.take().is_none());
        drop(turn);
        assert!(turns.take().is_some());
    }
}
