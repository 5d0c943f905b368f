//! What it costs to record one value.
//!
//! - `one_thread`: nobody else records;
//! - `two_threads`: another thread records into the same histogram all the time.
//!
//! `hdrhistogram` is its synchronised recorder; `metrics` is a handle of the
//! facade, registered once, in front of the recorder of axum-prometheus.

use std::process::ExitCode;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use axum_prometheus::PrometheusMetricLayer;
use axum_prometheus::metrics_exporter_prometheus::PrometheusHandle;
use tower_edge::metrics::Histogram;
use tower_edge_benches::{Bench, Stage, Work};

fn main() -> ExitCode {
    let mut bench = Bench::new("record");
    for (scenario, others) in [("one_thread", 0), ("two_threads", 1)] {
        bench.case(scenario, "tower-edge", move || {
            let histogram = Arc::new(Histogram::new());
            let recorder = || {
                let histogram = histogram.clone();
                move |nanos| histogram.record(Duration::from_nanos(nanos))
            };
            Records::new(others, recorder, || ())
        });
        bench.case(scenario, "hdrhistogram", move || {
            let histogram = hdrhistogram::Histogram::<u64>::new_with_bounds(1_000, HOUR_NANOS, 2);
            let histogram = histogram.expect("these bounds are valid").into_sync();
            let recorder = || {
                let mut recorder = histogram.recorder();
                move |nanos| recorder.saturating_record(nanos)
            };
            Records::new(others, recorder, || ())
        });
        bench.case(scenario, "metrics", move || {
            let installed = installed();
            let recorder = || {
                let histogram = axum_prometheus::metrics::histogram!("record");
                move |nanos| histogram.record(nanos as f64 / 1e9)
            };
            // It keeps what is recorded until then.
            Records::new(others, recorder, || installed.run_upkeep())
        });
    }
    bench.run()
}

fn installed() -> &'static PrometheusHandle {
    static RECORDER: OnceLock<PrometheusHandle> = OnceLock::new();
    RECORDER.get_or_init(|| PrometheusMetricLayer::pair().1)
}

/// Records values on this thread, while others may do the same.
struct Records<R, U> {
    record: R,
    upkeep: U,
    stop: Arc<AtomicBool>,
    others: Vec<JoinHandle<()>>,
}

impl<R, U> Records<R, U>
where
    R: FnMut(u64) + Send + 'static,
    U: FnMut(),
{
    fn new(others: usize, recorder: impl Fn() -> R, upkeep: U) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let spawned = (0..others).map(|_| {
            let (mut record, stop) = (recorder(), stop.clone());
            thread::spawn(move || {
                while !stop.load(Ordering::Relaxed) {
                    values().take(1_024).for_each(&mut record);
                }
            })
        });
        let others = spawned.collect();
        Self { record: recorder(), upkeep, stop, others }
    }
}

impl<R: FnMut(u64), U: FnMut()> Work for Records<R, U> {
    fn prove(&mut self, _: &mut Stage) {}

    fn run(&mut self, mut times: u64, stage: &mut Stage) {
        while times > 0 {
            let part = times.min(CHUNK);
            stage.measure(part, |_| values().take(part as usize).for_each(&mut self.record));
            (self.upkeep)();
            times -= part;
        }
    }
}

impl<R, U> Drop for Records<R, U> {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        for other in self.others.drain(..) {
            // Its panic was told when it happened.
            let _ = other.join();
        }
    }
}

/// From 1 to 33 ms, as a service may have them.
fn values() -> impl Iterator<Item = u64> {
    let next = |state: &u64| Some(state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1));
    std::iter::successors(Some(1_u64), next).map(|state| 1_000_000 + (state >> 39))
}

const CHUNK: u64 = 65_536;
const HOUR_NANOS: u64 = 3_600_000_000_000;
