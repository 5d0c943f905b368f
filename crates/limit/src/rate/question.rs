//! What is asked of a store, and what becomes of the answers.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use tokio::runtime::Handle;
use tokio::time::timeout;
use tower_edge_core::{Event, Key};

use super::keeping::keep;
use super::leases::Back;
use super::outage::OnOutage;
use super::queue::Line;
use super::shared::Shared;
use super::sharing::Sharing;
use crate::lease::{AHEAD, Answer, Ask, Terms};
use crate::{Take, Taken};

impl Shared {
    /// Asks for permits of a key in a task, for all who want some.
    pub(crate) fn ask(self: &Arc<Self>, line: Line, key: Key, ask: Ask) {
        let question = Question { shared: self.clone(), line, ask, is_answered: false };
        match Handle::try_current() {
            Ok(runtime) => {
                keep(self, &runtime);
                drop(runtime.spawn(question.ask(key)));
            }
            // Then it goes without an answer.
            Err(_) => drop(question),
        }
    }

    /// What is to be done about a quota.
    pub(crate) fn take(&self, bucket: u16, ahead: u64) -> Take<'_> {
        let quota = self.quota(bucket);
        let (burst, debt) = quota.bursts().map_or((0, 0), |burst| (burst.permits(), burst.debt()));
        Take {
            name: self.name(bucket),
            permits: quota.permits().get(),
            period: quota.period(),
            burst,
            debt,
            back: 0,
            charge: 0,
            ask: 0,
            ahead: Duration::from_nanos(ahead),
        }
    }

    /// Takes note of an answer of the store, or of a failure.
    pub(crate) fn answered(&self, sharing: &Sharing, answered: bool) {
        sharing.knows(answered, self.now());
        if !answered {
            self.tell(&Event::QuotaStoreFailed);
        }
    }

    /// Asks the store, and takes note of how that went.
    pub(crate) async fn trip(
        &self,
        sharing: &Sharing,
        key: &Key,
        takes: &[Take<'_>],
        together: bool,
    ) -> Option<Vec<Taken>> {
        sharing.asked.fetch_add(1, Ordering::Relaxed);
        let told = sharing.store.take(key, takes, together).await;
        let told = told.ok().filter(|told| told.len() == takes.len());
        self.answered(sharing, told.is_some());
        told
    }
}

/// A question that is under way. Without an answer it ends as one that failed.
struct Question {
    shared: Arc<Shared>,
    line: Line,
    ask: Ask,
    is_answered: bool,
}

impl Question {
    async fn ask(mut self, key: Key) {
        let shared = self.shared.clone();
        let Some(sharing) = &shared.sharing else { return };
        let Ask { charge, permits } = self.ask;
        let ask = if shared.exact { 0 } else { permits };
        let take = Take { charge, ask, ..shared.take(self.line.bucket, AHEAD) };
        let takes = [take];
        let asked = timeout(sharing.store.deadline(), shared.trip(sharing, &key, &takes, false));
        match asked.await {
            Ok(Some(told)) => {
                if let Some(back) = self.settle(sharing, key, told[0]) {
                    shared.give_back(vec![back]).await;
                }
            }
            Ok(None) => {}
            Err(_) => shared.answered(sharing, false),
        }
    }

    /// Takes what was granted; what is to go back, if nobody wants it any more.
    fn settle(&mut self, sharing: &Sharing, key: Key, taken: Taken) -> Option<Back> {
        self.is_answered = true;
        let (shared, now) = (&self.shared, self.shared.now());
        let quota = shared.quota(self.line.bucket);
        let terms = Terms::new(&quota, sharing.nodes.load(Ordering::Relaxed));
        let answer = Answer { granted: taken.granted, used: nanos(taken.used) };
        let more = sharing.leases.known(self.line, |entry| {
            entry.terms = terms.unwrap_or(entry.terms);
            entry.lease.answered(&entry.terms, now, self.ask, answer);
            entry.answer();
            Some((entry.key, entry.lease.ask_more()?))
        });
        let Some(more) = more else {
            return Some(Back { line: self.line, key, permits: taken.granted });
        };
        if let Some((key, more)) = more {
            shared.ask(self.line, key, more);
        }
        if shared.on_outage == OnOutage::Local {
            // What this node has used is not to be there once more in an outage.
            let bucket = &shared.buckets[usize::from(self.line.bucket)];
            bucket.force(self.line.spot, now, taken.granted);
        }
        None
    }
}

impl Drop for Question {
    fn drop(&mut self) {
        if let (Some(sharing), false) = (&self.shared.sharing, self.is_answered) {
            let now = self.shared.now();
            sharing.leases.known(self.line, |entry| {
                entry.lease.failed(now);
                entry.answer();
            });
        }
    }
}

/// 584 years at the most.
pub(crate) fn nanos(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}
