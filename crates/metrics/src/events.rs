use metrics::{Counter, Unit};
use tower_edge_core::{Event, Observe};

use crate::meter::{self, Lazy};
use crate::named::Named;

/// Counts the [`Event`]s of layers in the `metrics` facade: give it to their
/// `observe`.
///
/// The table at the top of this crate has the names. Labels are bounded: of a
/// client's key nothing is kept. An event costs a look at a short table, and
/// nothing is allocated once a counter is registered.
///
/// ```
/// use tower_edge_core::{Event, Observe};
/// use tower_edge_metrics::EventCounters;
///
/// let counters = EventCounters::new();
/// counters.event(&Event::CacheLookup { found: "hit" });
/// ```
#[derive(Debug, Default)]
pub struct EventCounters {
    refusals: Named<Lazy<Counter>>,
    lookups: Named<Lazy<Counter>>,
    not_stored: Named<Lazy<Counter>>,
    stored: Lazy<Counter>,
    stored_bytes: Lazy<Counter>,
    invalidations: Lazy<Counter>,
    overflows: Lazy<Counter>,
}

impl EventCounters {
    /// Makes it; nothing is registered before the first event.
    pub fn new() -> Self {
        Self::default()
    }
}

impl Observe for EventCounters {
    fn event(&self, event: &Event<'_>) {
        match event {
            Event::Refused { refusal, .. } => {
                let reason = meter::reason(refusal.reason());
                let about = "Requests that a layer refused.";
                count(&self.refusals, "tower_edge.refusals", about, ("reason", reason));
            }
            Event::CacheLookup { found } => {
                let about = "Requests that a cache saw, by what it found.";
                count(&self.lookups, "tower_edge.cache.lookups", about, ("found", found));
            }
            Event::CacheStored { bytes } => {
                let about = "Responses that a cache stored.";
                add(&self.stored, 1, "tower_edge.cache.stores", Unit::Count, about);
                let about = "Bytes that a cache stored.";
                add(&self.stored_bytes, *bytes, "tower_edge.cache.stored.size", Unit::Bytes, about);
            }
            Event::CacheNotStored { why } => {
                let about = "Responses that a cache could have stored and did not.";
                count(&self.not_stored, "tower_edge.cache.not_stored", about, ("why", why));
            }
            Event::CacheInvalidated => {
                let about = "Targets of which a cache dropped what it held.";
                let name = "tower_edge.cache.invalidations";
                add(&self.invalidations, 1, name, Unit::Count, about);
            }
            Event::SeriesLimitReached { .. } => {
                let about = "Times that requests had more labels than there may be series.";
                add(&self.overflows, 1, "tower_edge.series.overflows", Unit::Count, about);
            }
            _ => {}
        }
    }
}

fn count(
    counters: &Named<Lazy<Counter>>,
    name: &'static str,
    about: &'static str,
    (key, value): (&'static str, &'static str),
) {
    let (value, counter) = counters.get(value);
    let register = || meter::counter(name, Unit::Count, about, Some((key, value)));
    if let Some(counter) = counter.get(register) {
        counter.increment(1);
    }
}

fn add(counter: &Lazy<Counter>, number: u64, name: &'static str, unit: Unit, about: &'static str) {
    if let Some(counter) = counter.get(|| meter::counter(name, unit, about, None)) {
        counter.increment(number);
    }
}
