use std::any::TypeId;
use std::future::Future;
use std::sync::Arc;

use bytes::Bytes;
use http::{HeaderMap, StatusCode};
use serde::Serialize;
use serde::de::DeserializeOwned;
use tower_edge_core::Event;

use super::Ttl;
use super::computing::{Computed, Join, Lead};
use crate::entry::Entry;
use crate::epochs::Ticket;
use crate::landing::FlightKey;
use crate::mark::Mark;
use crate::policy::{
    Content, RequestDirectives, Reuse, Rules, Selection, may_replace_error, reuse,
};
use crate::resource::ResourceKey;
use crate::shared::Shared;
use crate::status::{Forward, Status};
use crate::tier::{Hold, Loaded};

/// A value that is wanted.
#[derive(Clone, Debug)]
pub(super) struct Task {
    pub(super) shared: Arc<Shared>,
    pub(super) key: ResourceKey,
    pub(super) ttl: Ttl,
}

/// What memory has of a value.
pub(super) enum Found<T> {
    Fresh(T),
    /// It may be given while it is computed anew.
    Stale(T),
    Nothing,
}

impl Task {
    pub(super) fn look<T: DeserializeOwned>(&self) -> Found<T> {
        let Some(entry) = self.stored() else { return Found::Nothing };
        let now = self.shared.clock.now();
        let kept = entry.kept(now);
        let reuse = self.shared.reuse(&RequestDirectives::default(), &kept, now);
        let value = read(&entry);
        let (age, found) = match (reuse, value) {
            (Reuse::Serve { age }, Some(value)) => (age, Found::Fresh(value)),
            (Reuse::ServeAndRefresh { age }, Some(value)) => (age, Found::Stale(value)),
            _ => return Found::Nothing,
        };
        self.shared.count(Status::hit(&kept, age));
        found
    }

    /// Leads the computation for all who want a value of this type, or follows the
    /// one there is.
    pub(super) fn join<T: 'static>(&self) -> (Join, Ticket) {
        let ticket = self.shared.store.ticket(&self.key.resource());
        let variant = self.shared.seed.hash_one(TypeId::of::<T>());
        let flight = FlightKey { resource: self.key.clone(), ticket, variant };
        (self.shared.computations.join(&flight), ticket)
    }

    /// Computes the value, unless the tier behind memory has it, stores it, and
    /// tells those who wait.
    pub(super) async fn lead<T, E, F>(
        self,
        compute: impl FnOnce() -> F,
        lead: Arc<Lead>,
        ticket: Ticket,
    ) -> Result<T, Arc<E>>
    where
        T: Serialize + DeserializeOwned,
        E: Send + Sync + 'static,
        F: Future<Output = Result<T, E>>,
    {
        let (found, ticket, _hold) = self.load(&lead, ticket).await;
        if let Found::Fresh(value) = found {
            return Ok(value);
        }
        self.shared.count(Status::Forwarded(Forward::UriMiss));
        let error = match compute().await {
            Ok(value) => {
                lead.land(match rmp_serde::to_vec_named(&value) {
                    Ok(bytes) => Computed::Value(self.store(bytes.into(), ticket)),
                    Err(_) => Computed::Useless,
                });
                return Ok(value);
            }
            Err(error) => Arc::new(error),
        };
        let now = self.shared.clock.now();
        let is_current = self.shared.store.holds(ticket) && self.shared.is_believed(now);
        if let Some(entry) = self.stored().filter(|_| is_current)
            && may_replace_error(
                &Rules::default(),
                &RequestDirectives::default(),
                &entry.kept(now),
                now,
            )
            && let Some(value) = read(&entry)
        {
            self.shared.count(Status::StaleOnError(Forward::Stale, None));
            lead.land(Computed::Value(bytes(&entry)));
            return Ok(value);
        }
        lead.land(Computed::Failed(error.clone()));
        Err(error)
    }

    /// What the tier behind memory has, if memory has nothing; with the right to store
    /// what is computed after that, and to compute it alone.
    async fn load<T: DeserializeOwned>(
        &self,
        lead: &Lead,
        ticket: Ticket,
    ) -> (Found<T>, Ticket, Option<Hold>) {
        let Some(behind) = self.shared.store.behind() else {
            return (Found::Nothing, ticket, None);
        };
        if self.stored().is_some() && !behind.is_live() {
            return (Found::Nothing, ticket, None);
        }
        let loaded = self.shared.load(behind, &self.key, true).await;
        let Loaded { entries, ticket, hold, now } = loaded;
        let loaded = self.shared.store.take_in(&self.key, ticket, entries, now);
        (self.found(loaded.first(), lead), ticket, hold)
    }

    fn found<T: DeserializeOwned>(&self, entry: Option<&Arc<Entry>>, lead: &Lead) -> Found<T> {
        let Some(entry) = entry else { return Found::Nothing };
        let (now, wishes) = (self.shared.clock.now(), RequestDirectives::default());
        let kept = entry.kept(now);
        match (reuse(&wishes, &kept, now), read(entry)) {
            (Reuse::Serve { age }, Some(value)) => {
                self.shared.count(Status::hit(&kept, age));
                lead.land(Computed::Value(bytes(entry)));
                Found::Fresh(value)
            }
            _ => Found::Nothing,
        }
    }

    /// Stores a value, if it is to be; gives it back.
    fn store(&self, value: Bytes, ticket: Ticket) -> Bytes {
        let shared = &self.shared;
        if self.ttl.is_zero() {
            return value;
        }
        if value.len() as u64 > shared.max_entry {
            shared.tell(&Event::CacheNotStored { why: "too large" });
            return value;
        }
        let kept = self.ttl.kept(shared.clock.now(), shared.clock.wall());
        let content = Content::Whole(value.clone());
        let (fields, selection) = (HeaderMap::new(), Selection::default());
        let entry = Entry::new(StatusCode::OK, &fields, content, None, selection, kept, None);
        let entry = Arc::new(entry.marked(Mark::new(ticket.purge, Box::default())));
        let weight = entry.weight() as u64;
        let mut stored = false;
        shared.change(&self.key, ticket, |_| {
            stored = !shared.store.is_gone(&self.key, &entry);
            stored.then(|| vec![entry])
        });
        shared.tell(&match stored {
            true => Event::CacheStored { bytes: weight },
            false => Event::CacheNotStored { why: "outdated" },
        });
        value
    }

    fn stored(&self) -> Option<Arc<Entry>> {
        self.shared.store.get(&self.key.resource())?.first().cloned()
    }
}

/// The value that was stored; `None` if it is of another type.
fn read<T: DeserializeOwned>(entry: &Entry) -> Option<T> {
    rmp_serde::from_slice(&bytes(entry)).ok()
}

fn bytes(entry: &Entry) -> Bytes {
    match &entry.content {
        Content::Whole(bytes) => bytes.clone(),
        Content::Parts(_) => Bytes::new(),
    }
}
