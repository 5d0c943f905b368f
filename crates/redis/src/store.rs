//! What a cache asks of the tier.

use std::future::Future;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use tokio::runtime::Handle;
use tokio::time::timeout;
use tower_edge_breaker::CircuitHandle;
use tower_edge_cache::{Change, Lease, News, Notes, Tier, TierFuture};

use crate::address::Connection;
use crate::calling;
use crate::error::Failure;
use crate::keys::Digest;
use crate::link::Link;
use crate::shared::Shared;
use crate::tier::RedisTier;

impl Tier for RedisTier {
    fn name(&self) -> &'static str {
        "redis"
    }

    fn budget(&self) -> Duration {
        self.plan.deadline
    }

    fn get<'a>(&'a self, key: &'a [u8]) -> TierFuture<'a, Vec<Bytes>> {
        let shared = &self.shared;
        let look = move |connection| shared.look(connection, Digest::of(key));
        Box::pin(async move {
            Ok(call(shared, &self.circuit, &shared.looks, self.plan.deadline, look).await?)
        })
    }

    fn write<'a>(&'a self, changes: &'a [Change]) -> TierFuture<'a, ()> {
        let (shared, changes) = (&self.shared, changes.to_vec());
        Box::pin(async move {
            let now = shared.watch.nanos();
            let (fence, doubt) = (shared.fence.number(now), shared.fence.begin(now));
            let make = |connection| shared.make(connection, changes, fence);
            call(shared, &self.circuit, &shared.writes, WRITING, make).await?;
            doubt.end();
            Ok(())
        })
    }

    fn note(&self, note: Bytes) -> TierFuture<'_, u64> {
        let shared = &self.shared;
        let add = move |connection| shared.note(connection, note);
        Box::pin(
            async move { Ok(call(shared, &self.circuit, &shared.writes, WRITING, add).await?) },
        )
    }

    /// Requests wait for it, but there may be many: they are read in a task, which
    /// whoever does not wait to the end leaves to the next.
    fn notes(&self) -> TierFuture<'_, Notes> {
        Box::pin(async move {
            let kept = lock(&self.notes).take();
            let mut reading = match kept {
                Some(reading) => reading,
                None => {
                    let runtime = Handle::try_current().map_err(|_| Failure::NoRuntime)?;
                    let (shared, circuit) = (self.shared.clone(), self.circuit.clone());
                    runtime.spawn(async move {
                        let read = |connection| shared.notes(connection);
                        call(&shared, &circuit, &shared.writes, READING, read).await
                    })
                }
            };
            match timeout(self.plan.deadline, &mut reading).await {
                Ok(Ok(read)) => {
                    let (notes, position) = read?;
                    *lock(&self.position) = Some(position);
                    Ok(notes)
                }
                Ok(Err(_)) => Err(Failure::NoRuntime.into()),
                Err(_) => {
                    *lock(&self.notes) = Some(reading);
                    Err(Failure::Late.into())
                }
            }
        })
    }

    fn is_shared(&self) -> bool {
        true
    }

    fn silence(&self) -> Duration {
        2 * self.plan.heartbeat + self.plan.deadline
    }

    fn lease<'a>(&'a self, key: &'a [u8]) -> TierFuture<'a, Lease> {
        let (shared, lasts) = (&self.shared, self.plan.lease);
        let ask = move |connection| shared.lease(connection, Digest::of(key), lasts);
        Box::pin(async move {
            Ok(call(shared, &self.circuit, &shared.looks, self.plan.deadline, ask).await?)
        })
    }

    /// Not behind the circuit: to wait is what it is for, and it is asked for by one
    /// task, with pauses when it fails.
    fn news(&self) -> TierFuture<'_, News> {
        Box::pin(async move {
            let Some(from) = *lock(&self.position) else {
                return Ok(News { missed: true, ..News::default() });
            };
            let (shared, heartbeat) = (&self.shared, self.plan.heartbeat);
            let (number, connection) = shared.news.open().await?;
            let told = shared.news(connection, from, heartbeat);
            let (silence, asked) = (self.silence(), shared.watch.nanos());
            let told = timeout(silence, told).await;
            // What was stopped meanwhile finds an answer that was true then.
            let took = Duration::from_nanos(shared.watch.nanos().saturating_sub(asked));
            match told.ok().filter(|_| took <= silence).unwrap_or(Err(Failure::Late)) {
                Ok((news, position)) => {
                    *lock(&self.position) = Some(position);
                    Ok(news)
                }
                Err(failure) => {
                    shared.news.give_up(number);
                    shared.tell(&shared.news, Some(&failure));
                    Err(failure.into())
                }
            }
        })
    }
}

/// Asks Redis, unless the circuit is open, within `deadline`, and logs trouble.
async fn call<'a, T, F>(
    shared: &'a Shared,
    circuit: &CircuitHandle,
    link: &'a Link,
    deadline: Duration,
    work: impl FnOnce(Connection) -> F,
) -> Result<T, Failure>
where
    F: Future<Output = Result<T, Failure>>,
{
    let done = calling::call(circuit, link, deadline, work).await;
    shared.tell(link, done.as_ref().err());
    done
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// How long a write may take, for which nobody waits.
const WRITING: Duration = Duration::from_secs(1);

/// How long reading all notes may take, which goes on beside the requests.
const READING: Duration = Duration::from_secs(10);
