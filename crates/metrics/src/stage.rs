use std::sync::Arc;
use std::time::Duration;

use tower_edge_core::{Step, Stopwatch, Trace};

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
    start_nanos: u64,
    watch: Stopwatch,
    records: Arc<Records>,
}

impl Stage {
    pub(crate) fn begin(name: &'static str, watch: Stopwatch, records: Arc<Records>) -> Self {
        Self { name, start_nanos: watch.nanos(), watch, records }
    }
}

impl Drop for Stage {
    fn drop(&mut self) {
        let nanos = self.watch.nanos().saturating_sub(self.start_nanos);
        let elapsed = Duration::from_nanos(nanos);
        self.records.stage(self.name, elapsed);
        Trace::with(|trace| trace.push(Step::new(self.name, elapsed)));
    }
}
