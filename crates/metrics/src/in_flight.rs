use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::Relaxed;

use metrics::Gauge;

use crate::labels::Protocol;
use crate::meter::{self, Lazy};
use crate::prometheus::GaugeSource;
use crate::stripes::{Clear, Stripes};

/// How many requests are in flight, by method and scheme.
#[derive(Debug)]
pub(crate) struct InFlight {
    stripes: Stripes<Counts>,
}

impl Default for InFlight {
    fn default() -> Self {
        Self { stripes: Stripes::new() }
    }
}

impl InFlight {
    pub(crate) fn begin(&self, protocol: Protocol) {
        self.add(protocol, 1);
    }

    pub(crate) fn end(&self, protocol: Protocol) {
        self.add(protocol, u64::MAX);
    }

    pub(crate) fn all(&self) -> u64 {
        (0..Protocol::COUNT).map(|index| self.of(index)).sum()
    }

    /// The bytes they take by now.
    pub(crate) fn memory(&self) -> usize {
        self.stripes.memory(|_| 0)
    }

    #[inline]
    fn add(&self, protocol: Protocol, number: u64) {
        let (counts, access) = self.stripes.own_ever();
        access.add(&counts.0[protocol.index()], number);
    }

    fn of(&self, index: usize) -> u64 {
        let add = |sum: u64, counts: &Counts| sum.wrapping_add(counts.0[index].load(Relaxed));
        let sum = self.stripes.iter().fold(0, add);
        // A reader can see the end of a request and not its beginning.
        if sum > u64::MAX / 2 { 0 } else { sum }
    }
}

/// The gauges of the facade for the same.
#[derive(Debug, Default)]
pub(crate) struct ActiveRequests([Lazy<Gauge>; Protocol::COUNT]);

impl ActiveRequests {
    pub(crate) fn gauge(&self, protocol: Protocol, in_flight: &Arc<InFlight>) -> Option<&Gauge> {
        self.0[protocol.index()].get(|| {
            let source = Part { in_flight: in_flight.clone(), index: protocol.index() };
            meter::active_requests(protocol, Arc::new(source))
        })
    }
}

/// A request may end on another thread than it began, whose number then goes below
/// zero: only the sum means something.
#[derive(Debug, Default)]
struct Counts([AtomicU64; Protocol::COUNT]);

impl Clear for Counts {
    /// They are never reset.
    fn clear(&self) {}
}

/// Those of one method and scheme.
#[derive(Debug)]
struct Part {
    in_flight: Arc<InFlight>,
    index: usize,
}

impl GaugeSource for Part {
    fn value(&self) -> f64 {
        self.in_flight.of(self.index) as f64
    }
}
