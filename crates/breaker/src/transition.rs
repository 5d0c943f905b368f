use std::time::SystemTime;

use tokio::sync::broadcast::{Receiver, error::RecvError};
use tower_edge_core::Key;

use crate::State;

/// A circuit that went from one state to another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Transition {
    /// Whose circuit it is; [`Key::GLOBAL`] where there is one for everybody.
    pub key: Key,
    /// The state that it was in.
    pub from: State,
    /// The state that it is in.
    pub to: State,
    /// When that was.
    pub at: SystemTime,
}

/// Tells transitions as they happen; from
/// [`BreakerHandle::subscribe`](crate::BreakerHandle::subscribe).
#[derive(Debug)]
pub struct Transitions {
    receiver: Receiver<Transition>,
}

impl Transitions {
    pub(crate) fn new(receiver: Receiver<Transition>) -> Self {
        Self { receiver }
    }

    /// The next transition; none when the breaker is gone.
    ///
    /// Who falls behind by more than 256 misses the oldest. Nothing is lost when
    /// the future is dropped.
    pub async fn next(&mut self) -> Option<Transition> {
        loop {
            match self.receiver.recv().await {
                Ok(transition) => return Some(transition),
                Err(RecvError::Lagged(_)) => {}
                Err(RecvError::Closed) => return None,
            }
        }
    }
}

pub(crate) const KEPT: usize = 256;
