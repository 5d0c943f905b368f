//! A tier that several caches share, and that a test breaks.

use std::collections::HashMap;
use std::future::pending;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Duration, Instant};

use bytes::Bytes;
use tokio::sync::Notify;
use tokio::time::{sleep, timeout};
use tower_edge_cache::{Change, Lease, News, Notes, Tier, TierFuture};
use tower_edge_core::Clock;
use tower_edge_testkit::Gate;

use crate::play::start;

/// What the nodes share.
#[derive(Clone, Debug, Default)]
pub(crate) struct Hub {
    state: Arc<Mutex<State>>,
    news: Arc<Notify>,
}

#[derive(Debug, Default)]
struct State {
    records: HashMap<Bytes, HashMap<u128, Bytes>>,
    /// All that has happened, each by one of the nodes.
    log: Vec<(usize, Happened)>,
    /// How much of the log is no longer told.
    trimmed: usize,
    gets: u64,
    listeners: u64,
    /// Who has the right to fetch a key, by which fence, and until when.
    leases: HashMap<Bytes, (usize, u64, Instant)>,
    /// The fences of what was put last.
    fences: HashMap<Bytes, u64>,
    last_fence: u64,
}

#[derive(Clone, Debug)]
enum Happened {
    Changed(Bytes),
    Noted(Bytes),
}

/// The way of one cache to a hub; clones are the same.
#[derive(Clone, Debug)]
pub(crate) struct Node {
    hub: Hub,
    id: usize,
    place: Arc<Mutex<Place>>,
    /// Whether its purges get there.
    pub(crate) noting: Gate,
}

#[derive(Debug, Default)]
struct Place {
    heard: usize,
    cut: bool,
    /// How long each call of a request takes.
    delay: Duration,
    deaf: bool,
}

impl Hub {
    pub(crate) fn node(&self, id: usize) -> Node {
        Node { hub: self.clone(), id, place: Arc::default(), noting: Gate::opened() }
    }

    /// How often a node has looked for records.
    pub(crate) fn gets(&self) -> u64 {
        self.state().gets
    }

    /// How often somebody began to listen.
    pub(crate) fn listeners(&self) -> u64 {
        self.state().listeners
    }

    /// Who has not heard yet what there was has missed it.
    pub(crate) fn trim(&self) {
        let mut state = self.state();
        state.trimmed = state.log.len();
    }

    /// How many nodes there are still.
    pub(crate) fn nodes(&self) -> usize {
        Arc::strong_count(&self.news) - 1
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap()
    }
}

impl Node {
    /// Whether nothing reaches the hub, nor comes from there.
    pub(crate) fn cut(&self, cut: bool) {
        self.place.lock().unwrap().cut = cut;
        self.hub.news.notify_waiters();
    }

    /// How long each call of a request takes from now on.
    pub(crate) fn delay(&self, delay: Duration) {
        self.place.lock().unwrap().delay = delay;
    }

    /// Has whoever listens get no turn any more.
    pub(crate) fn deafen(&self) {
        self.place.lock().unwrap().deaf = true;
    }

    async fn listen(&self) {
        let deaf = self.place.lock().unwrap().deaf;
        if deaf {
            pending::<()>().await;
        }
    }

    async fn take_time(&self) {
        let delay = self.place.lock().unwrap().delay;
        if !delay.is_zero() {
            sleep(delay).await;
        }
    }

    fn working(&self) -> Result<MutexGuard<'_, State>, &'static str> {
        if self.place.lock().unwrap().cut { Err("the line is cut") } else { Ok(self.hub.state()) }
    }

    fn heard(&self) -> Result<Option<News>, &'static str> {
        let state = self.working()?;
        let mut place = self.place.lock().unwrap();
        let (from, to) = (place.heard, state.log.len());
        if from == to {
            return Ok(None);
        }
        place.heard = to;
        let mut news = News { missed: from < state.trimmed, ..News::default() };
        for (at, (by, happened)) in state.log.iter().enumerate().skip(from.max(state.trimmed)) {
            match happened {
                Happened::Noted(note) => {
                    let note = (*by != self.id).then(|| note.clone());
                    news.notes.push((at as u64 + 1, note));
                }
                Happened::Changed(key) if *by != self.id => news.changed.push(key.clone()),
                Happened::Changed(_) => {}
            }
        }
        Ok(Some(news))
    }
}

impl Tier for Node {
    fn name(&self) -> &'static str {
        "hub"
    }

    fn budget(&self) -> Duration {
        BUDGET
    }

    fn silence(&self) -> Duration {
        SILENCE
    }

    fn get<'a>(&'a self, key: &'a [u8]) -> TierFuture<'a, Vec<Bytes>> {
        Box::pin(async move {
            self.take_time().await;
            let mut state = self.working()?;
            state.gets += 1;
            let records = state.records.get(key).into_iter().flat_map(HashMap::values);
            Ok(records.cloned().collect())
        })
    }

    fn write<'a>(&'a self, changes: &'a [Change]) -> TierFuture<'a, ()> {
        Box::pin(async move {
            let mut state = self.working()?;
            for change in changes.iter().cloned() {
                let changed = match change {
                    Change::Put { key, fence: Some(fence), .. }
                        if fence < state.fences.get(&key).copied().unwrap_or_default() =>
                    {
                        None
                    }
                    Change::Put { key, variant, record, fence, .. } => {
                        state.fences.extend(fence.map(|fence| (key.clone(), fence)));
                        state.records.entry(key.clone()).or_default().insert(variant, record);
                        Some(key)
                    }
                    Change::Remove { key, variant: Some(variant), .. } => {
                        state.records.entry(key.clone()).or_default().remove(&variant);
                        Some(key)
                    }
                    Change::Remove { key, .. } => {
                        state.records.remove(&key);
                        Some(key)
                    }
                    Change::Release { key, fence } => {
                        state.leases.retain(|_, (_, held, _)| *held != fence);
                        Some(key)
                    }
                    _ => {
                        state.records.clear();
                        None
                    }
                };
                state.log.extend(changed.map(|key| (self.id, Happened::Changed(key))));
            }
            self.hub.news.notify_waiters();
            Ok(())
        })
    }

    fn note(&self, note: Bytes) -> TierFuture<'_, u64> {
        Box::pin(async move {
            self.noting.pass().await;
            let mut state = self.working()?;
            state.log.push((self.id, Happened::Noted(note)));
            self.hub.news.notify_waiters();
            Ok(state.log.len() as u64)
        })
    }

    fn notes(&self) -> TierFuture<'_, Notes> {
        Box::pin(async move {
            let mut state = self.working()?;
            state.listeners += 1;
            self.place.lock().unwrap().heard = state.log.len();
            let mut notes = Vec::new();
            for (at, (_, happened)) in state.log.iter().enumerate() {
                if let Happened::Noted(note) = happened {
                    notes.push((at as u64 + 1, note.clone()));
                }
            }
            Ok(Notes { forgotten: 0, notes })
        })
    }

    fn is_shared(&self) -> bool {
        true
    }

    fn news(&self) -> TierFuture<'_, News> {
        Box::pin(async move {
            let something = self.hub.news.notified();
            if let Some(news) = self.heard()? {
                return Ok(news);
            }
            drop(timeout(BEAT, something).await);
            self.listen().await;
            Ok(self.heard()?.unwrap_or_default())
        })
    }

    fn lease<'a>(&'a self, key: &'a [u8]) -> TierFuture<'a, Lease> {
        Box::pin(async move {
            self.take_time().await;
            let mut state = self.working()?;
            let now = Clock::anchored(start()).now();
            let held = state.leases.get(key).copied().filter(|(_, _, until)| *until > now);
            let fence = match held {
                Some((id, fence, _)) if id == self.id => fence,
                Some(_) => return Ok(Lease::Taken),
                None => {
                    state.last_fence += 1;
                    state.last_fence
                }
            };
            state.leases.insert(Bytes::copy_from_slice(key), (self.id, fence, now + LEASE));
            Ok(Lease::Held { fence, lasts: LEASE })
        })
    }
}

/// How long somebody has the right to fetch.
pub(crate) const LEASE: Duration = Duration::from_secs(3);

/// How long a request may wait.
pub(crate) const BUDGET: Duration = Duration::from_millis(50);

/// How long a node believes what it has without news.
pub(crate) const SILENCE: Duration = Duration::from_millis(250);

/// How long a node waits for news.
pub(crate) const BEAT: Duration = Duration::from_millis(100);
