//! A store in memory, which does as it is told.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant, SystemTime};

use tower_edge_core::{Clock, Key};
use tower_edge_limit::{QuotaStore, StoreFuture, Take, Taken};

/// What several layers share; clones are the same one.
#[derive(Clone, Debug)]
pub(crate) struct Table {
    clock: Clock,
    back: Arc<Mutex<HashMap<(Key, String), Instant>>>,
    fault: Arc<Mutex<Fault>>,
    asked: Arc<AtomicU64>,
    nodes: Arc<AtomicU32>,
}

/// What becomes of what is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fault {
    None,
    Failing,
    /// The answer comes so much later; what is asked for is done at once.
    Late(Duration),
    Silent,
}

impl Table {
    pub(crate) fn new() -> Self {
        Self {
            clock: Clock::anchored(SystemTime::UNIX_EPOCH),
            back: Arc::default(),
            fault: Arc::new(Mutex::new(Fault::None)),
            asked: Arc::default(),
            nodes: Arc::new(AtomicU32::new(1)),
        }
    }

    pub(crate) fn set(&self, fault: Fault) {
        *self.fault.lock().unwrap() = fault;
    }

    pub(crate) fn set_nodes(&self, nodes: u32) {
        self.nodes.store(nodes, Ordering::SeqCst);
    }

    /// How often it was asked about a key.
    pub(crate) fn asked(&self) -> u64 {
        self.asked.load(Ordering::SeqCst)
    }

    /// The time in which all comes back that a key has used.
    pub(crate) fn used(&self, key: Key, name: &str) -> Duration {
        let back = self.back.lock().unwrap();
        let at = back.get(&(key, name.to_owned()));
        at.map_or(Duration::ZERO, |at| at.saturating_duration_since(self.clock.now()))
    }

    fn answer<'a, T: Send + 'a>(&self, told: T) -> StoreFuture<'a, T> {
        let fault = *self.fault.lock().unwrap();
        Box::pin(async move {
            match fault {
                Fault::None => {}
                Fault::Failing => return Err("it fails".into()),
                Fault::Late(time) => tokio::time::sleep(time).await,
                Fault::Silent => std::future::pending().await,
            }
            Ok(told)
        })
    }
}

impl QuotaStore for Table {
    fn take<'a>(
        &'a self,
        key: &'a Key,
        takes: &'a [Take<'a>],
        together: bool,
    ) -> StoreFuture<'a, Vec<Taken>> {
        self.asked.fetch_add(1, Ordering::SeqCst);
        if matches!(*self.fault.lock().unwrap(), Fault::Failing | Fault::Silent) {
            return self.answer(Vec::new());
        }
        let used = |take: &Take<'_>| self.used(*key, take.name);
        let taken: Vec<_> = takes.iter().map(|take| take.from(used(take))).collect();
        let lacks = takes.iter().zip(&taken).any(|(take, taken)| taken.granted < take.ask);
        let told = takes.iter().zip(taken).map(|(take, taken)| {
            let none = Take { ask: 0, ..*take };
            let taken = if together && lacks { none.from(used(take)) } else { taken };
            let at = self.clock.now() + taken.used;
            self.back.lock().unwrap().insert((*key, take.name.to_owned()), at);
            taken
        });
        let told: Vec<_> = told.collect();
        self.answer(told)
    }

    fn reset<'a>(&'a self, key: &'a Key, name: &'a str) -> StoreFuture<'a, ()> {
        self.back.lock().unwrap().remove(&(*key, name.to_owned()));
        self.answer(())
    }

    fn nodes(&self) -> StoreFuture<'_, u32> {
        self.answer(self.nodes.load(Ordering::SeqCst))
    }
}
