use tower_edge_core::Outcome;

use crate::Distribution;

/// What was measured of the requests of one series, or of several.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Measurements {
    /// From the call to the head of the response; requests without one are not
    /// in it.
    pub first_byte: Distribution,
    /// From the call to the end of the body, or to the moment at which the
    /// request failed or was abandoned: every request is in it.
    pub total: Distribution,
    /// How the requests ended.
    pub outcomes: Outcomes,
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
        self.response_bytes += other.response_bytes;
    }

    /// Makes a whole of what was read between the steps of writers.
    pub(crate) fn settled(mut self) -> Self {
        self.first_byte = self.first_byte.settled();
        self.total = self.total.settled();
        self
    }
}

/// Counts requests by their [`Outcome`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Outcomes {
    /// [`Outcome::Success`].
    pub success: u64,
    /// [`Outcome::Failure`], errors of the service among them.
    pub failure: u64,
    /// [`Outcome::Slow`].
    pub slow: u64,
    /// [`Outcome::Abandoned`].
    pub abandoned: u64,
    /// [`Outcome::Ignored`]: refused by one of our layers.
    pub ignored: u64,
}

impl Outcomes {
    pub(crate) const KINDS: usize = 5;

    pub(crate) fn from_counts(counts: [u64; Self::KINDS]) -> Self {
        let [success, failure, slow, abandoned, ignored] = counts;
        Self { success, failure, slow, abandoned, ignored }
    }

    /// The place of an outcome among the counts.
    pub(crate) fn kind(outcome: Outcome) -> usize {
        match outcome {
            Outcome::Success => 0,
            Outcome::Failure => 1,
            Outcome::Slow => 2,
            Outcome::Abandoned { .. } => 3,
            _ => 4,
        }
    }

    fn merge(&mut self, other: &Self) {
        self.success += other.success;
        self.failure += other.failure;
        self.slow += other.slow;
        self.abandoned += other.abandoned;
        self.ignored += other.ignored;
    }
}
