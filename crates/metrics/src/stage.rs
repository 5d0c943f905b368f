use std::sync::Arc;
use std::time::Instant;

use tower_edge_core::{Clock, Step, Trace};

use crate::records::Records;

/// Measures a stage of a request until it is dropped; from
/// [`LatencyHandle::stage`](crate::LatencyHandle::stage).
///
/// ```
/// use tower_edge_metrics::LatencyLayer;
///
/// let handle = LatencyLayer::new().handle();
/// {
///     let _stage = handle.stage("render");
///     // What takes time.
/// }
/// assert_eq!(handle.snapshot().stage("render").unwrap().count(), 1);
/// ```
#[derive(Debug)]
#[must_use = "it measures until it is dropped"]
pub struct Stage {
    name: &'static str,
    start: Instant,
    clock: Clock,
    records: Arc<Records>,
}

impl Stage {
    pub(crate) fn begin(name: &'static str, clock: Clock, records: Arc<Records>) -> Self {
        Self { name, start: clock.now(), clock, records }
    }
}

impl Drop for Stage {
    fn drop(&mut self) {
        let elapsed = self.clock.since(self.start);
        self.records.stage(self.name, elapsed);
        Trace::with(|trace| trace.push(Step::new(self.name, elapsed)));
    }
}
