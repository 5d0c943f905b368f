use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use http::{Method, Response};
use tokio::time::Sleep;
use tower_edge_core::{Event, RequestHead, Step, Trace};

use super::after::After;
use super::charges::Costs;
use super::queue::Place;
use super::shared::{Denied, Shared};

/// A request that waits for its quota.
///
/// It is charged when it is admitted and not before, so dropping it costs nothing
/// and lets those behind it move up.
#[derive(Debug)]
pub(super) struct Queued {
    shared: Arc<Shared>,
    costs: Costs,
    /// Taken at the first poll.
    place: Option<Place>,
    called: u64,
    /// When the quotas have the permits; known once it is the first.
    due: u64,
    /// Made when it is the first.
    sleep: Option<Pin<Box<Sleep>>>,
}

impl Queued {
    pub(super) fn new(shared: Arc<Shared>, costs: Costs, called: u64) -> Self {
        Self { shared, costs, place: None, called, due: 0, sleep: None }
    }

    /// Ready when it is admitted, or at once if it is refused.
    pub(super) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Denied>> {
        let place = match &self.place {
            Some(place) => place,
            None => match self.shared.enter(&self.costs, self.shared.now()) {
                Ok(place) => self.place.insert(place),
                Err(Some(refused)) => return Poll::Ready(Err(refused.into())),
                Err(None) => {
                    let charged = self.shared.charge(&self.costs, self.shared.now());
                    return Poll::Ready(charged.map_err(Denied::from));
                }
            },
        };
        ready!(place.poll_first(cx));
        loop {
            if let Some(sleep) = &mut self.sleep {
                ready!(sleep.as_mut().poll(cx));
            }
            let now = self.shared.now();
            // A timer is late by up to a millisecond, which is nobody's to lose.
            let moment = now.saturating_sub(LATE).max(self.due).min(now);
            if self.shared.charge(&self.costs, moment).is_ok() {
                self.admitted(now);
                return Poll::Ready(Ok(()));
            }
            let wait = self.shared.wait(&self.costs, moment).and_then(|refused| refused.wait);
            self.due = moment.saturating_add(wait.unwrap_or(AGAIN));
            self.sleep_until_due();
        }
    }

    pub(super) fn after(&self, method: &Method) -> After {
        After::new(&self.shared, method, &self.costs, self.shared.now())
    }

    pub(super) fn refuse(&self, head: &RequestHead<'_>, denied: Denied) -> Option<Response<Bytes>> {
        self.shared.refuse(head, Some(&self.costs), denied, self.shared.now())
    }

    fn sleep_until_due(&mut self) {
        let due = self.shared.instant(self.due);
        match &mut self.sleep {
            Some(sleep) => sleep.as_mut().reset(due.into()),
            none => *none = Some(Box::pin(tokio::time::sleep_until(due.into()))),
        }
    }

    fn admitted(&self, now: u64) {
        let time = Duration::from_nanos(now.saturating_sub(self.called));
        self.shared.counts.waited.fetch_add(1, Ordering::Relaxed);
        self.shared.tell(&Event::Waited { time });
        Trace::with(|trace| trace.push(Step::new("quota", time).note("waited")));
    }
}

const LATE: u64 = 1_000_000;
/// For a quota that was swapped for one which will never admit the cost: it may
/// be swapped again.
const AGAIN: u64 = 1_000_000_000;
