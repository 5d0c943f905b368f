//! Calls to Redis: within a time, and behind a circuit.

use std::future::Future;
use std::num::{NonZeroU8, NonZeroU32};
use std::time::Duration;

use tokio::time::timeout;
use tower_edge_breaker::{BreakerHandle, BreakerLayer, CircuitHandle, Trip, Window};
use tower_edge_core::{Clock, Outcome};

use crate::address::Connection;
use crate::error::Failure;
use crate::link::Link;

/// A circuit that opens after a few failures, and finds out by itself when Redis
/// `is_well` again.
pub(crate) fn breaker<F>(
    clock: Clock,
    is_well: impl Fn() -> F + Send + Sync + 'static,
) -> BreakerHandle
where
    F: Future<Output = bool> + Send + 'static,
{
    BreakerLayer::new()
        .trip_on([
            Trip::consecutive(FAILURES),
            Trip::failure_rate(0.5, Window::time(Duration::from_secs(10))),
        ])
        .open_for(Duration::from_millis(200), Duration::from_secs(5))
        .probes(NonZeroU8::MIN)
        .clock(clock)
        .probe(move |_| is_well())
        .handle()
}

/// Asks Redis, unless the circuit is open, within `deadline`.
pub(crate) async fn call<T, F>(
    circuit: &CircuitHandle,
    link: &Link,
    deadline: Duration,
    work: impl FnOnce(Connection) -> F,
) -> Result<T, Failure>
where
    F: Future<Output = Result<T, Failure>>,
{
    let admitted = circuit.admit().map_err(|_| Failure::Open)?;
    let mut number = None;
    let asked = async {
        let (opened, connection) = link.open().await?;
        number = Some(opened);
        work(connection).await
    };
    let done = timeout(deadline, asked).await.unwrap_or(Err(Failure::Late));
    match &done {
        Ok(_) => link.answered(),
        Err(failure) => {
            if let Some(number) = number {
                link.failed(number, failure);
            }
        }
    }
    let is_trouble = done.as_ref().is_err_and(Failure::is_trouble);
    admitted.end(if is_trouble { Outcome::Failure } else { Outcome::Success });
    done
}

/// How many failures in a row open the circuit.
const FAILURES: NonZeroU32 = NonZeroU32::new(5).unwrap();
