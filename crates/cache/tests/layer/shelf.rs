//! A tier that a test looks into, holds up and breaks.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use bytes::Bytes;
use tower_edge_cache::{Change, Notes, Tier, TierFuture};
use tower_edge_testkit::Gate;

/// Clones are one shelf: it outlives the cache that it stands behind.
#[derive(Clone, Debug)]
pub(crate) struct Shelf {
    state: Arc<Mutex<State>>,
    pub(crate) reads: Gate,
    pub(crate) writes: Gate,
}

#[derive(Debug, Default)]
pub(crate) struct State {
    pub(crate) records: HashMap<(Bytes, u128), (Bytes, Duration)>,
    pub(crate) notes: Notes,
    pub(crate) gets: u64,
    pub(crate) batches: u64,
    pub(crate) fails: bool,
}

impl Shelf {
    pub(crate) fn new() -> Self {
        Self { state: Arc::default(), reads: Gate::opened(), writes: Gate::opened() }
    }

    pub(crate) fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap()
    }

    fn working(&self) -> Result<MutexGuard<'_, State>, &'static str> {
        let state = self.state();
        if state.fails { Err("the shelf is out of order") } else { Ok(state) }
    }
}

impl State {
    /// Forgets the first purge.
    pub(crate) fn forget(&mut self) {
        (self.notes.forgotten, _) = self.notes.notes.remove(0);
    }
}

impl Tier for Shelf {
    fn name(&self) -> &'static str {
        "shelf"
    }

    fn get<'a>(&'a self, key: &'a [u8]) -> TierFuture<'a, Vec<Bytes>> {
        self.state().gets += 1;
        Box::pin(async move {
            self.reads.pass().await;
            let state = self.working()?;
            let of_key = state.records.iter().filter(|((known, _), _)| known == key);
            Ok(of_key.map(|(_, (record, _))| record.clone()).collect())
        })
    }

    fn write<'a>(&'a self, changes: &'a [Change]) -> TierFuture<'a, ()> {
        Box::pin(async move {
            self.writes.pass().await;
            let mut state = self.working()?;
            state.batches += 1;
            for change in changes.iter().cloned() {
                match change {
                    Change::Put { key, variant, record, keep, .. } => {
                        state.records.insert((key, variant), (record, keep));
                    }
                    Change::Remove { key, variant: Some(variant), .. } => {
                        state.records.remove(&(key, variant));
                    }
                    Change::Remove { key, variant: None, .. } => {
                        state.records.retain(|(known, _), _| *known != key);
                    }
                    Change::Clear => state.records.clear(),
                    _ => return Err("what is that".into()),
                }
            }
            Ok(())
        })
    }

    fn note(&self, note: Bytes) -> TierFuture<'_, u64> {
        Box::pin(async move {
            self.writes.pass().await;
            let mut state = self.working()?;
            let last =
                state.notes.notes.last().map_or(state.notes.forgotten, |(number, _)| *number);
            state.notes.notes.push((last + 10, note));
            Ok(last + 10)
        })
    }

    fn notes(&self) -> TierFuture<'_, Notes> {
        Box::pin(async move { Ok(self.working()?.notes.clone()) })
    }
}
