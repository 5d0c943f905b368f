//! Writes to a tier, behind the back of clients.

use std::sync::Arc;

use tokio::runtime::Handle;
use tower_edge_core::BoxError;

use super::Change;
use super::behind::Behind;
use super::pending::{Batch, Step};
use super::record::{self, Moment};
use crate::entry::Entry;
use crate::resource::ResourceKey;
use crate::shared::Shared;
use crate::sync::lock;

impl Shared {
    /// Sees to it that the tier behind memory learns what has changed, in a task on
    /// the current runtime; outside of one it does with the next change inside.
    pub(crate) fn write_behind(&self) {
        let Some(behind) = self.store.behind() else { return };
        let Ok(runtime) = Handle::try_current() else { return };
        {
            let mut pending = lock(&behind.pending);
            if pending.scheduled || pending.is_empty() {
                return;
            }
            pending.scheduled = true;
        }
        let (shared, behind) = (self.clone(), behind.clone());
        // What failed was told, and waits for the next change.
        runtime.spawn(async move { drop(shared.flush(&behind).await) });
    }

    /// Tells the tier what it does not know yet, until that is nothing or it fails.
    pub(crate) async fn flush(&self, behind: &Arc<Behind>) -> Result<(), BoxError> {
        let _pen = behind.pen.lock().await;
        let _turn = Turn(behind);
        self.learn(behind).await?;
        while let Some(step) = behind.next() {
            match step {
                Step::Note(number, note) => {
                    let noted = behind.tier.note(note.write()).await;
                    let theirs = noted.inspect_err(|_| self.tell_tier_failed(behind, "note"))?;
                    if let Some(line) = &behind.line {
                        // Else nobody knows what was purged before it: it is noted
                        // once more then.
                        line.told(theirs).await?;
                    }
                    let at = (self.clock.now(), self.clock.wall());
                    behind.noted(self.store.purges(), (number, theirs), &note, at);
                }
                Step::Write(batch) => {
                    let written = behind.tier.write(&self.changes(behind, &batch)).await;
                    lock(&behind.pending).ended(&batch, written.is_ok());
                    written.inspect_err(|_| self.tell_tier_failed(behind, "write"))?;
                }
            }
        }
        Ok(())
    }

    fn changes(&self, behind: &Behind, batch: &Batch) -> Vec<Change> {
        let mut changes: Vec<_> = batch.clear.map(|_| Change::Clear).into_iter().collect();
        for (resource, of) in &batch.changes {
            let key = resource.to_bytes();
            if of.all_gone {
                changes.push(Change::Remove { key: key.clone(), variant: None });
            }
            let fence = of.release.or_else(|| lock(&behind.pending).fence(resource));
            for (variant, entry) in &of.variants {
                let (key, variant) = (key.clone(), *variant);
                let put = entry
                    .as_ref()
                    .and_then(|entry| self.put(behind, resource, (variant, fence), entry));
                changes.push(put.unwrap_or(Change::Remove { key, variant: Some(variant) }));
            }
            changes.extend(of.release.map(|fence| Change::Release { key, fence }));
        }
        changes
    }

    /// What stores a response, unless it was purged, or has tags that its fields
    /// no longer tell of.
    fn put(
        &self,
        behind: &Behind,
        resource: &ResourceKey,
        (variant, fence): (u128, Option<u64>),
        entry: &Arc<Entry>,
    ) -> Option<Change> {
        let is_told = *entry.mark().tags() == *self.tags(&entry.fields);
        if !is_told || self.store.is_gone(resource, entry) {
            return None;
        }
        let key = resource.to_bytes();
        let moment = Moment { now: self.clock.now(), wall: self.clock.wall() };
        let seen = lock(&behind.numbers).theirs(entry.mark().seen());
        let record = record::write(&key, entry, seen, moment)?;
        let keep = record::keep(entry, moment.now);
        Some(Change::Put { key, variant, record, keep, fence })
    }
}

/// Whoever writes has done what there was, has failed, or was dropped: the next
/// change calls somebody.
struct Turn<'a>(&'a Behind);

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        lock(&self.0.pending).scheduled = false;
    }
}
