use std::fmt;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use futures_util::FutureExt;
use futures_util::future::{BoxFuture, Shared};
use tokio::runtime::Handle;

use crate::address::{Address, Connection};
use crate::error::Failure;

/// One connection, made when it is needed and again when it was lost.
pub(crate) struct Link {
    address: Address,
    state: Mutex<State>,
    /// Deadlines that passed since the last answer.
    silent: AtomicU32,
}

#[derive(Default)]
struct State {
    /// Of the connection, since another takes the place of one that is lost.
    number: u64,
    opening: Option<Opening>,
}

/// A connection that is made, or that is there.
type Opening = Shared<BoxFuture<'static, Result<Connection, Failure>>>;

impl Link {
    pub(crate) fn new(address: Address) -> Self {
        Self { address, state: Mutex::default(), silent: AtomicU32::new(0) }
    }

    /// The connection and its number. It is made in a task, so that whoever does
    /// not wait to the end leaves it to the next.
    pub(crate) async fn open(&self) -> Result<(u64, Connection), Failure> {
        if let Some(opened) = self.opened() {
            return Ok(opened);
        }
        let (number, opening) = self.opening()?;
        let opened = opening.await;
        if opened.is_err() {
            self.give_up(number);
        }
        Ok((number, opened?))
    }

    /// Makes another connection for the next call, unless that was done.
    pub(crate) fn give_up(&self, number: u64) {
        let mut state = self.lock();
        if state.number == number {
            state.opening = None;
            self.silent.store(0, Ordering::Relaxed);
        }
    }

    /// Takes note that an answer came.
    pub(crate) fn answered(&self) {
        if self.silent.load(Ordering::Relaxed) > 0 {
            self.silent.store(0, Ordering::Relaxed);
        }
    }

    /// Takes note of a failure. A connection that is broken or was silent for too
    /// long is given up; a Cluster has several, and looks after them by itself.
    pub(crate) fn failed(&self, number: u64, failure: &Failure) {
        let is_silent = matches!(failure, Failure::Late)
            && self.silent.fetch_add(1, Ordering::Relaxed) + 1 >= MOST_SILENT;
        let is_of_no_use = is_silent || failure.ends_connection();
        if is_of_no_use && (!self.address.is_cluster() || matches!(failure, Failure::Foreign)) {
            self.give_up(number);
        }
    }

    /// Where it goes.
    pub(crate) fn address(&self) -> &Address {
        &self.address
    }

    /// The connection and its number, if it is there.
    fn opened(&self) -> Option<(u64, Connection)> {
        let state = self.lock();
        let connection = state.opening.as_ref()?.peek()?.as_ref().ok()?;
        Some((state.number, connection.clone()))
    }

    fn opening(&self) -> Result<(u64, Opening), Failure> {
        let mut state = self.lock();
        if let Some(opening) = &state.opening {
            return Ok((state.number, opening.clone()));
        }
        let runtime = Handle::try_current().map_err(|_| Failure::NoRuntime)?;
        let address = self.address.clone();
        let task = runtime.spawn(async move { address.connect().await });
        let opening = async move { Ok(task.await.map_err(|_| Failure::NoRuntime)??) };
        let opening = opening.boxed().shared();
        state.number += 1;
        state.opening = Some(opening.clone());
        Ok((state.number, opening))
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for Link {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Link").field("address", &self.address).finish_non_exhaustive()
    }
}

/// How many deadlines may pass without an answer between them.
const MOST_SILENT: u32 = 3;
