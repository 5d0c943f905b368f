use crate::Distribution;
use crate::detail::CacheUse;

/// What was measured of the requests of one series, or of several.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Measurements {
    /// From the call to the first byte: to the moment at which the head of the
    /// response could be sent, with what there was of its body by then. Requests
    /// without a response are not in it.
    pub first_byte: Distribution,
    /// From the call to the end of the body, or to the moment at which the
    /// request failed or was abandoned: every request is in it.
    pub total: Distribution,
    /// How the requests ended.
    pub outcomes: Outcomes,
    /// Those that one of our layers refused, among [`Outcomes::ignored`].
    pub refusals: Refusals,
    /// What the nearest cache did, as it says in `Cache-Status`.
    pub cache: CacheUses,
    /// The bytes of the request bodies, as they were announced; bodies of unknown
    /// length are not in it.
    pub request_bytes: u64,
    /// The bytes of the response bodies that were read.
    pub response_bytes: u64,
}

impl Measurements {
    /// The number of requests that ended.
    pub fn count(&self) -> u64 {
        self.total.count()
    }

    /// Adds others, as if they had been measured together.
    pub fn merge(&mut self, other: &Self) {
        self.first_byte.merge(&other.first_byte);
        self.total.merge(&other.total);
        self.outcomes.merge(&other.outcomes);
        self.refusals.merge(&other.refusals);
        self.cache.merge(&other.cache);
        self.request_bytes += other.request_bytes;
        self.response_bytes += other.response_bytes;
    }

    /// What was measured after `earlier`, of the same series.
    pub(crate) fn since(&self, earlier: &Self) -> Self {
        Self {
            first_byte: self.first_byte.since(&earlier.first_byte),
            total: self.total.since(&earlier.total),
            outcomes: self.outcomes.since(&earlier.outcomes),
            refusals: self.refusals.since(&earlier.refusals),
            cache: self.cache.since(&earlier.cache),
            request_bytes: self.request_bytes.saturating_sub(earlier.request_bytes),
            response_bytes: self.response_bytes.saturating_sub(earlier.response_bytes),
        }
    }

    /// The bytes that it owns beside itself, nearly.
    pub(crate) fn memory(&self) -> usize {
        self.first_byte.memory() + self.total.memory()
    }

    /// Makes a whole of what was read between the steps of writers.
    pub(crate) fn settled(mut self) -> Self {
        self.first_byte = self.first_byte.settled();
        self.total = self.total.settled();
        self
    }
}

/// Counts requests by their [`Outcome`](tower_edge_core::Outcome).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Outcomes {
    /// `Outcome::Success`.
    pub success: u64,
    /// `Outcome::Failure`, errors of the service among them.
    pub failure: u64,
    /// `Outcome::Slow`.
    pub slow: u64,
    /// `Outcome::Abandoned`.
    pub abandoned: u64,
    /// `Outcome::Ignored`: refused by one of our layers.
    pub ignored: u64,
}

/// Counts refusals by their [`Reason`](tower_edge_core::Reason): each is one layer's.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Refusals {
    /// `Reason::RateLimited`.
    pub rate_limited: u64,
    /// `Reason::Overloaded`.
    pub overloaded: u64,
    /// `Reason::CircuitOpen`.
    pub circuit_open: u64,
    /// `Reason::DeadlineExceeded`.
    pub deadline_exceeded: u64,
    /// Others.
    pub other: u64,
}

/// Counts responses by what the nearest cache did; those of no cache are in none.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct CacheUses {
    /// Answered with what was stored and fresh.
    pub hit: u64,
    /// Answered with what was stored and no longer fresh.
    pub stale: u64,
    /// Asked for again, because what was stored was no longer fresh.
    pub revalidated: u64,
    /// Asked for, because nothing was stored that fitted.
    pub miss: u64,
    /// Passed by: no cache may answer this.
    pub bypass: u64,
}

impl CacheUses {
    /// The place of a use among the counts.
    pub(crate) fn kind(found: CacheUse) -> usize {
        match found {
            CacheUse::Hit => 0,
            CacheUse::Stale => 1,
            CacheUse::Revalidated => 2,
            CacheUse::Miss => 3,
            CacheUse::Bypass => 4,
        }
    }
}

/// A type of counts, and what is done with all of them alike.
macro_rules! counts {
    ($name:ident: $($field:ident),+) => {
        impl $name {
            pub(crate) const KINDS: usize = [$(stringify!($field)),+].len();

            pub(crate) fn from_counts([$($field),+]: [u64; Self::KINDS]) -> Self {
                Self { $($field),+ }
            }

            fn merge(&mut self, other: &Self) {
                $(self.$field += other.$field;)+
            }

            fn since(&self, earlier: &Self) -> Self {
                Self { $($field: self.$field.saturating_sub(earlier.$field)),+ }
            }
        }
    };
}

counts!(Outcomes: success, failure, slow, abandoned, ignored);
counts!(Refusals: rate_limited, overloaded, circuit_open, deadline_exceeded, other);
counts!(CacheUses: hit, stale, revalidated, miss, bypass);
