//! Looks into a tier.

use std::sync::Arc;

use bytes::Bytes;
use tower_edge_core::{BoxError, Event};

use super::behind::Behind;
use super::record::{self, Moment, variant};
use crate::entry::Entry;
use crate::mark::Mark;
use crate::resource::ResourceKey;
use crate::shared::Shared;
use crate::sync::lock;

impl Shared {
    /// What the tier behind memory has of a resource, that was not purged for good;
    /// nothing if it fails.
    pub(crate) async fn load(&self, behind: &Arc<Behind>, key: &ResourceKey) -> Vec<Arc<Entry>> {
        if let Err(_failed) = self.learn(behind).await {
            return Vec::new();
        }
        let before = lock(&behind.pending).of(key);
        let records = match before {
            Some(changes) if changes.all_gone => Vec::new(),
            _ => {
                let bytes = key.to_bytes();
                let read = behind.tier.get(&bytes).await;
                let records = read.unwrap_or_else(|_| {
                    self.tell_tier_failed(behind, "get");
                    Vec::new()
                });
                records.iter().filter_map(|record| self.readable(behind, &bytes, record)).collect()
            }
        };
        let changes = lock(&behind.pending).of(key).unwrap_or_default();
        let replaced = |entry: &Arc<Entry>| {
            let id = variant(&entry.selection);
            changes.all_gone || changes.variants.iter().any(|(changed, _)| *changed == id)
        };
        let records = records.into_iter().filter(|entry| !replaced(entry));
        let pending = changes.variants.iter().filter_map(|(_, entry)| entry.clone());
        records.chain(pending).filter(|entry| !self.store.is_gone(key, entry)).collect()
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

    fn readable(&self, behind: &Behind, key: &[u8], record: &Bytes) -> Option<Arc<Entry>> {
        let moment = Moment { now: self.clock.now(), wall: self.clock.wall() };
        let read = record::read(key, record, moment);
        if read.is_none() {
            self.tell_tier_failed(behind, "read");
        }
        let read = read?;
        let seen = behind.seen(read.seen)?;
        let mark = Mark::new(seen, self.tags(&read.entry.fields));
        if let Some((since, doubtful)) = read.purged {
            mark.stale(since, doubtful);
        }
        Some(Arc::new(read.entry.marked(mark)))
    }

    pub(super) fn tell_tier_failed(&self, behind: &Behind, doing: &'static str) {
        self.tell(&Event::CacheTierFailed { tier: behind.tier.name(), doing });
    }
}
