use std::pin::Pin;
use std::sync::{Arc, Weak};
use std::time::Duration;

use tokio::runtime::Handle;
use tower_edge_core::Key;

use crate::circuit::{Change, Ticket};
use crate::ending::Ended;
use crate::shared::Shared;
use crate::window::Mark;
use crate::word::State;

/// Asks whether the service of a key is well again.
pub(crate) type Probe =
    Arc<dyn Fn(Key) -> Pin<Box<dyn Future<Output = bool> + Send>> + Send + Sync>;

/// Checks the health of a service whose circuit has opened, until the circuit
/// goes on without it.
#[derive(Debug)]
pub(crate) struct Checks {
    shared: Weak<Shared>,
    cell: u32,
    /// The one in which the next result counts.
    generation: u32,
}

impl Checks {
    /// Starts them in a task on the current runtime; without one, requests probe.
    pub(crate) fn start(shared: &Arc<Shared>, cell: u32, generation: u32) {
        let checks = Self { shared: Arc::downgrade(shared), cell, generation };
        if let Ok(runtime) = Handle::try_current() {
            runtime.spawn(checks.run());
        }
    }

    async fn run(mut self) {
        let Some((mut ticket, probe, key)) = self.first().await else { return };
        loop {
            let Some(limit) = self.shared.upgrade().map(|shared| shared.rules().half_open) else {
                return;
            };
            let check = tokio::time::timeout(limit, probe(key));
            let healthy = check.await.unwrap_or(false);
            match self.end(ticket, healthy) {
                Some(next) => ticket = next,
                None => return,
            }
        }
    }

    /// Waits until the first check is due.
    async fn first(&mut self) -> Option<(Ticket, Probe, Key)> {
        tokio::time::sleep(self.left()?).await;
        let shared = self.shared.upgrade()?;
        let (probe, key) = (shared.probe.clone()?, shared.table.key(self.cell)?);
        let rules = shared.rules();
        let circuit = shared.table.circuit_at(self.cell);
        let (ticket, change) = circuit.check(self.generation, shared.now(), &shared.env(&rules))?;
        self.generation = ticket.generation;
        shared.tell(self.cell, change);
        Some((ticket, probe, key))
    }

    fn left(&self) -> Option<Duration> {
        let shared = self.shared.upgrade()?;
        let until = shared.table.circuit_at(self.cell).until(self.generation)?;
        Some(Duration::from_nanos(until.saturating_sub(shared.now())))
    }

    /// Counts a result; gives the ticket of the next check, if there is to be one.
    fn end(&self, ticket: Ticket, healthy: bool) -> Option<Ticket> {
        let shared = self.shared.upgrade()?;
        let (rules, circuit) = (shared.rules(), shared.table.circuit_at(self.cell));
        let ended = Ended { mark: Mark { failure: !healthy, slow: false }, retry_after: None };
        match circuit.end(ticket, &ended, shared.now(), &shared.env(&rules)) {
            Some(change) => {
                shared.tell(self.cell, change);
                None
            }
            None => circuit.check_again(self.generation),
        }
    }
}

/// Whoever ends the task before its time, a panic of the check or the end of the
/// runtime, leaves the probing to requests.
impl Drop for Checks {
    fn drop(&mut self) {
        if let Some(shared) = self.shared.upgrade() {
            shared.table.circuit_at(self.cell).uncheck(self.generation);
        }
    }
}

/// Whether health checks are to follow a transition.
pub(crate) fn follow(change: &Change) -> bool {
    change.checked && change.to == State::Open
}
