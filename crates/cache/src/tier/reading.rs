//! Looks into a tier.

use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use tokio::time::timeout;
use tower_edge_core::{BoxError, Event};

use super::behind::Behind;
use super::budget::Budget;
use super::leasing::Hold;
use super::record::{self, Moment, variant};
use crate::entry::Entry;
use crate::epochs::Ticket;
use crate::mark::Mark;
use crate::policy::is_reusable;
use crate::resource::ResourceKey;
use crate::shared::Shared;
use crate::sync::lock;

/// What a tier has of a resource.
#[derive(Debug)]
pub(crate) struct Loaded {
    pub(crate) entries: Vec<Arc<Entry>>,
    /// Drawn before it was asked for.
    pub(crate) ticket: Ticket,
    /// There if it is to be fetched, and others who share the tier leave it to this one.
    pub(crate) hold: Option<Hold>,
    /// When the tier answered.
    pub(crate) now: Instant,
}

impl Shared {
    /// What the tier behind memory has of a resource, that was not purged for good;
    /// nothing if it fails.
    ///
    /// Where others share the tier, who `leads` waits while one of them fetches the
    /// resource, though not for long, or else gets the right to do so.
    pub(crate) async fn load(
        &self,
        behind: &Arc<Behind>,
        key: &ResourceKey,
        leads: bool,
    ) -> Loaded {
        let (mut hold, mut budget) = (None, Budget::new(self.clock, behind.tier.budget()));
        let (hash, begun) = (key.hash(), budget.now());
        loop {
            let line = behind.line.as_ref().filter(|_| leads && hold.is_none());
            let changed = line.map(|line| line.changed(hash));
            let ticket = self.store.ticket(&key.resource());
            let (entries, answered) = self.look(behind, key, &mut budget).await;
            let now = budget.now();
            let is_there = entries.iter().any(|entry| is_reusable(&entry.kept(now), now));
            let is_late = now.saturating_duration_since(begun) >= LONGEST_WAIT;
            let (Some(line), Some(changed)) = (line, changed) else {
                return Loaded { entries, ticket, hold: hold.filter(|_| !is_there), now };
            };
            // Nobody waits twice for a tier that does not answer.
            if !answered || is_there || is_late || !line.is_live() {
                return Loaded { entries, ticket, hold, now };
            }
            // Boxed, as whatever is rare here, not to make each look as large.
            match budget.spend(Box::pin(self.lease(behind, key))).await {
                // Who had it before has put what it fetched: look once more.
                Some(Ok(Some(held))) => hold = Some(held),
                Some(Ok(None)) => {
                    drop(timeout(WAIT, changed).await);
                    budget.skip();
                }
                Some(Err(_)) | None => return Loaded { entries, ticket, hold, now },
            }
        }
    }

    /// What the tier has now, and whether it has answered.
    async fn look(
        &self,
        behind: &Arc<Behind>,
        key: &ResourceKey,
        budget: &mut Budget,
    ) -> (Vec<Arc<Entry>>, bool) {
        if !behind.is_live() {
            let learned = budget.spend(Box::pin(self.learn(behind))).await;
            if !matches!(learned, Some(Ok(()))) {
                return (Vec::new(), false);
            }
        }
        let before = lock(&behind.pending).of(key);
        let mut answered = true;
        let records = match before {
            Some(changes) if changes.all_gone => Vec::new(),
            _ => {
                let bytes = key.to_bytes();
                let read = budget.spend(behind.tier.get(&bytes)).await.and_then(Result::ok);
                behind.figures.count(budget.took(), read.as_ref().map(Vec::len));
                let records = read.unwrap_or_else(|| {
                    answered = false;
                    self.tell_tier_failed(behind, "get");
                    Vec::new()
                });
                let now = budget.now();
                let read = |record| self.readable(behind, &bytes, record, now);
                records.iter().filter_map(read).collect()
            }
        };
        let mut all: Vec<_> = records;
        let changes = lock(&behind.pending).of(key);
        if let Some(changes) = changes {
            let is_changed = |id| changes.variants.iter().any(|(changed, _)| *changed == id);
            all.retain(|entry| !changes.all_gone && !is_changed(variant(&entry.selection)));
            all.extend(changes.variants.into_iter().filter_map(|(_, entry)| entry));
        }
        all.retain(|entry| !self.store.is_gone(key, entry));
        (all, answered)
    }

    /// Takes over the purges that a tier has noted, once; of one that others write to
    /// as well, it is waited until they are known.
    pub(super) async fn learn(&self, behind: &Arc<Behind>) -> Result<(), BoxError> {
        if let Some(line) = &behind.line {
            return self.listen(behind, line).await;
        }
        let learn = async || {
            let noted = behind.tier.notes().await.inspect_err(|_| {
                self.tell_tier_failed(behind, "notes");
            })?;
            let (now, wall) = (self.clock.now(), self.clock.wall());
            behind.take_over(self.store.purges(), noted, now, wall);
            Ok(())
        };
        behind.learned.get_or_try_init(learn).await.copied()
    }

    fn readable(
        &self,
        behind: &Behind,
        key: &[u8],
        record: &Bytes,
        now: Instant,
    ) -> Option<Arc<Entry>> {
        let moment = Moment { now, wall: self.clock.wall() };
        let read = record::read(key, record, moment);
        if read.is_none() {
            self.tell_tier_failed(behind, "read");
        }
        let mut read = read?;
        let seen = behind.seen(read.seen)?;
        let mark = Mark::new(seen, self.tags(&read.entry.fields));
        if let Some((since, doubtful)) = read.purged {
            mark.stale(since, doubtful);
        }
        read.entry.mark_now(mark);
        Some(read.entry)
    }

    pub(super) fn tell_tier_failed(&self, behind: &Behind, doing: &'static str) {
        self.tell(&Event::CacheTierFailed { tier: behind.tier.name(), doing });
    }
}

/// How long somebody waits for another node, and how long at once: news may be lost.
const LONGEST_WAIT: Duration = Duration::from_secs(5);
const WAIT: Duration = Duration::from_millis(500);
