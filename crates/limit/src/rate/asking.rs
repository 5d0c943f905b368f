use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use http::{Method, Response};
use tower_edge_core::{RequestHead, Step, Trace};

use super::after::After;
use super::charges::Costs;
use super::shared::{Denied, Shared};

/// A request that waits for what a store says, not longer than its deadline.
///
/// What it waits for goes on when it is dropped, for others to use.
pub(super) struct Asking {
    shared: Arc<Shared>,
    costs: Costs,
    called: u64,
    work: Pin<Box<dyn Future<Output = Result<(), Denied>> + Send>>,
}

impl Asking {
    pub(super) fn new(
        shared: &Arc<Shared>,
        head: &RequestHead<'_>,
        costs: Costs,
        called: u64,
    ) -> Self {
        let (asked, keys) = (shared.clone(), shared.keys(head));
        let work = Box::pin(async move { asked.ask_store(&costs, &keys).await });
        Self { shared: shared.clone(), costs, called, work }
    }

    pub(super) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Denied>> {
        let decided = ready!(self.work.as_mut().poll(cx));
        let time = Duration::from_nanos(self.shared.now().saturating_sub(self.called));
        Trace::with(|trace| trace.push(Step::new("quota", time).note("asked")));
        Poll::Ready(decided)
    }

    pub(super) fn after(&self, method: &Method) -> After {
        let told = |nanos| self.shared.told_by_store(&self.costs, nanos);
        After::telling(&self.shared, method, &self.costs, || told(self.shared.now()))
    }

    pub(super) fn refuse(&self, head: &RequestHead<'_>, denied: Denied) -> Option<Response<Bytes>> {
        self.shared.refuse(head, Some(&self.costs), denied, self.shared.now())
    }
}

impl fmt::Debug for Asking {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Asking").field("costs", &self.costs).finish_non_exhaustive()
    }
}
