use std::alloc::System;
use std::time::Duration;

use alloc_tracker::{Allocator, Operation, Session};
use tower_edge_core::Clock;

/// Measures that part of the work which a scenario is about.
#[derive(Debug)]
pub(crate) struct Meter(Kind);

impl Meter {
    /// Runs the work and measures nothing: for proof and warm-up.
    pub(crate) fn off() -> Self {
        Self(Kind::Off)
    }

    /// Leaves it to a profiler to measure.
    pub(crate) fn profiled() -> Self {
        Self(Kind::Profiled)
    }

    /// Measures the time that the work takes.
    pub(crate) fn time() -> Self {
        Self(Kind::Time { clock: Clock::system(), total: Duration::ZERO })
    }

    /// Counts what the work allocates on this thread.
    pub(crate) fn allocations() -> Self {
        let session = Session::new().no_stdout().no_file();
        let operation = session.operation(OPERATION);
        Self(Kind::Allocations { session, operation })
    }

    /// Runs `work`, which does the scenario's part `times` times.
    pub(crate) fn measure(&mut self, times: u64, work: impl FnOnce()) {
        match &mut self.0 {
            Kind::Off => work(),
            Kind::Profiled => measured(work),
            Kind::Time { clock, total } => {
                let start = clock.now();
                measured(work);
                *total += clock.since(start);
            }
            Kind::Allocations { operation, .. } => {
                let _span = operation.measure_thread().iterations(times);
                measured(work);
            }
        }
    }

    /// The time that was measured; zero unless this meter measures time.
    pub(crate) fn elapsed(&self) -> Duration {
        match self.0 {
            Kind::Time { total, .. } => total,
            _ => Duration::ZERO,
        }
    }

    /// What was allocated; nothing unless this meter counts allocations.
    pub(crate) fn counts(&self) -> Counts {
        let Kind::Allocations { session, .. } = &self.0 else { return Counts::default() };
        let report = session.to_report();
        let counted = report.operations().find(|(name, _)| *name == OPERATION);
        counted.map_or(Counts::default(), |(_, counted)| Counts {
            times: counted.total_iterations(),
            allocations: counted.total_allocations_count(),
            bytes: counted.total_bytes_allocated(),
        })
    }
}

/// How often something was allocated, and how much, while the work was done so
/// many times. A reallocation counts as an allocation of the new size.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Counts {
    pub(crate) times: u64,
    pub(crate) allocations: u64,
    pub(crate) bytes: u64,
}

impl Counts {
    /// The mean number of allocations, to a tenth, without `.0`.
    pub(crate) fn allocations_each(&self) -> String {
        let tenths = (self.allocations * 10 + self.times / 2) / self.times.max(1);
        match tenths % 10 {
            0 => format!("{}", tenths / 10),
            tenth => format!("{}.{tenth}", tenths / 10),
        }
    }

    /// The mean number of bytes.
    pub(crate) fn bytes_each(&self) -> u64 {
        (self.bytes + self.times / 2) / self.times.max(1)
    }
}

#[derive(Debug)]
enum Kind {
    Off,
    Profiled,
    Time { clock: Clock, total: Duration },
    Allocations { session: Session, operation: Operation },
}

/// A function of its own, for profiles that begin and end with it.
#[inline(never)]
fn measured(work: impl FnOnce()) {
    work();
}

#[global_allocator]
static ALLOCATOR: Allocator<System> = Allocator::system();

const OPERATION: &str = "measured";

#[cfg(test)]
mod tests {
    use std::hint::black_box;

    use super::*;

    #[test]
    fn what_the_work_allocates_is_counted_and_nothing_else() {
        let mut meter = Meter::allocations();
        for _ in 0..100 {
            let outside = black_box(vec![0_u8; 50]);
            meter.measure(2, || {
                drop(black_box(Box::new([0_u8; 24])));
                let mut grown = black_box(Vec::<u8>::with_capacity(10));
                grown.reserve_exact(30);
                drop(black_box(grown));
            });
            drop(outside);
        }
        assert_eq!(meter.counts(), Counts { times: 200, allocations: 300, bytes: 6_400 });
        meter.measure(1, || _ = black_box([0_u8; 24]));
        assert_eq!(meter.counts().allocations, 300);
    }

    #[test]
    fn means_are_whole_or_have_a_tenth() {
        for (times, allocations, bytes, shown) in [
            (4_096, 4_096 * 19, 4_096 * 512, ("19", 512)),
            (4_096, 0, 0, ("0", 0)),
            (1_000, 34_020, 34_499, ("34", 34)),
            (1_000, 400, 500, ("0.4", 1)),
            (1_000, 12_960, 499, ("13", 0)),
            (0, 0, 0, ("0", 0)),
        ] {
            let counts = Counts { times, allocations, bytes };
            assert_eq!((counts.allocations_each().as_str(), counts.bytes_each()), shown);
        }
    }

    #[test]
    fn work_runs_once_whatever_is_measured() {
        for meter in [Meter::off, Meter::profiled, Meter::time, Meter::allocations] {
            let (mut meter, mut ran) = (meter(), 0);
            meter.measure(1, || ran += 1);
            assert_eq!(ran, 1);
            assert_eq!(meter.counts().allocations, 0);
        }
    }
}
