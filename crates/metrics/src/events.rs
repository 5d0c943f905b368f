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
#[derive(Debug)]
pub struct EventCounters {
    refusals: ByLabel,
    limit_shadow_refusals: Total,
    limit_waits: Total,
    limit_evictions: Total,
    limit_store_failures: Total,
    limit_unknown: ByLabel,
    breaker_transitions: ByLabel,
    compress_responses: ByLabel,
    compress_plain_size: Total,
    compress_encoded_size: Total,
    cache_lookups: ByLabel,
    cache_stores: Total,
    cache_stored_size: Total,
    cache_not_stored: ByLabel,
    cache_invalidations: Total,
    cache_purges_collapsed: Total,
    cache_tier_failures: ByLabel,
    series_overflows: Total,
}

impl Default for EventCounters {
    fn default() -> Self {
        Self::new()
    }
}

impl EventCounters {
    /// Makes it; nothing is registered before the first event.
    pub fn new() -> Self {
        Self {
            refusals: ByLabel::new(
                ("tower_edge.refusals", "reason"),
                "Requests that a layer refused.",
            ),
            limit_shadow_refusals: Total::new(
                ("tower_edge.limit.shadow_refusals", Unit::Count),
                "Requests that a layer which only watches would have refused.",
            ),
            limit_waits: Total::new(
                ("tower_edge.limit.waits", Unit::Count),
                "Requests that waited for their quota.",
            ),
            limit_evictions: Total::new(
                ("tower_edge.limit.evictions", Unit::Count),
                "Keys in use that a rate limit forgot for want of room.",
            ),
            limit_store_failures: Total::new(
                ("tower_edge.limit.store.failures", Unit::Count),
                "Times that the store of quotas gave no answer.",
            ),
            limit_unknown: ByLabel::new(
                ("tower_edge.limit.unknown", "choice"),
                "Requests that were decided without the store of their quota.",
            ),
            breaker_transitions: ByLabel::new(
                ("tower_edge.breaker.transitions", "to"),
                "Transitions of circuits, by the state that they went to.",
            ),
            compress_responses: ByLabel::new(
                ("tower_edge.compress.responses", "coding"),
                "Responses that were encoded, by their coding.",
            ),
            compress_plain_size: Total::new(
                ("tower_edge.compress.plain.size", Unit::Bytes),
                "Bytes of responses before they were encoded.",
            ),
            compress_encoded_size: Total::new(
                ("tower_edge.compress.encoded.size", Unit::Bytes),
                "Bytes that responses were encoded to.",
            ),
            cache_lookups: ByLabel::new(
                ("tower_edge.cache.lookups", "found"),
                "Requests that a cache saw, by what it found.",
            ),
            cache_stores: Total::new(
                ("tower_edge.cache.stores", Unit::Count),
                "Responses that a cache stored.",
            ),
            cache_stored_size: Total::new(
                ("tower_edge.cache.stored.size", Unit::Bytes),
                "Bytes that a cache stored.",
            ),
            cache_not_stored: ByLabel::new(
                ("tower_edge.cache.not_stored", "why"),
                "Responses that a cache could have stored and did not.",
            ),
            cache_invalidations: Total::new(
                ("tower_edge.cache.invalidations", Unit::Count),
                "Targets of which a cache dropped what it held.",
            ),
            cache_purges_collapsed: Total::new(
                ("tower_edge.cache.purges_collapsed", Unit::Count),
                "Times that a cache took its oldest purge for one of all that is older.",
            ),
            cache_tier_failures: ByLabel::new(
                ("tower_edge.cache.tier.failures", "doing"),
                "Times that the tier behind a cache failed, by what it was to do.",
            ),
            series_overflows: Total::new(
                ("tower_edge.series.overflows", Unit::Count),
                "Times that requests had more labels than there may be series.",
            ),
        }
    }
}

impl Observe for EventCounters {
    fn event(&self, event: &Event<'_>) {
        match event {
            Event::Refused { refusal, .. } => self.refusals.count(meter::reason(refusal.reason())),
            Event::WouldRefuse { .. } => self.limit_shadow_refusals.add(1),
            Event::Waited { .. } => self.limit_waits.add(1),
            Event::KeyEvicted => self.limit_evictions.add(1),
            Event::QuotaStoreFailed => self.limit_store_failures.add(1),
            Event::QuotaUnknown { choice } => self.limit_unknown.count(choice),
            Event::CircuitChanged { to, .. } => self.breaker_transitions.count(to),
            Event::Encoded { coding, plain, encoded } => {
                self.compress_responses.count(coding);
                self.compress_plain_size.add(*plain);
                self.compress_encoded_size.add(*encoded);
            }
            Event::CacheLookup { found } => self.cache_lookups.count(found),
            Event::CacheStored { bytes } => {
                self.cache_stores.add(1);
                self.cache_stored_size.add(*bytes);
            }
            Event::CacheNotStored { why } => self.cache_not_stored.count(why),
            Event::CacheInvalidated => self.cache_invalidations.add(1),
            Event::CachePurgesCollapsed { .. } => self.cache_purges_collapsed.add(1),
            Event::CacheTierFailed { doing, .. } => self.cache_tier_failures.count(doing),
            Event::SeriesLimitReached { .. } => self.series_overflows.add(1),
            _ => {}
        }
    }
}

/// One counter of the facade.
#[derive(Debug)]
struct Total {
    name: &'static str,
    unit: Unit,
    about: &'static str,
    counter: Lazy<Counter>,
}

impl Total {
    fn new((name, unit): (&'static str, Unit), about: &'static str) -> Self {
        Self { name, unit, about, counter: Lazy::default() }
    }

    fn add(&self, number: u64) {
        let register = || meter::counter(self.name, self.unit, self.about, None);
        if let Some(counter) = self.counter.get(register) {
            counter.increment(number);
        }
    }
}

/// A counter for each value of a label.
#[derive(Debug)]
struct ByLabel {
    name: &'static str,
    label: &'static str,
    about: &'static str,
    counters: Named<Lazy<Counter>>,
}

impl ByLabel {
    fn new((name, label): (&'static str, &'static str), about: &'static str) -> Self {
        Self { name, label, about, counters: Named::default() }
    }

    fn count(&self, value: &'static str) {
        let (value, counter) = self.counters.get(value);
        let label = Some((self.label, value));
        let register = || meter::counter(self.name, Unit::Count, self.about, label);
        if let Some(counter) = counter.get(register) {
            counter.increment(1);
        }
    }
}
