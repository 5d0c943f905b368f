use tower_edge_core::{Outcome, Reason};

use crate::{Outcomes, Refusals};

/// How a request ended: what is counted for each of these is kept apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ending {
    Success,
    Failure,
    Slow,
    Abandoned,
    Ignored,
    Refused(Reason),
}

impl Ending {
    pub(crate) const COUNT: usize = Outcomes::KINDS + Refusals::KINDS;

    pub(crate) fn of(outcome: Outcome, refused: Option<Reason>) -> Self {
        match (refused, outcome) {
            (Some(reason), _) => Self::Refused(reason),
            (None, Outcome::Success) => Self::Success,
            (None, Outcome::Failure) => Self::Failure,
            (None, Outcome::Slow) => Self::Slow,
            (None, Outcome::Abandoned { .. }) => Self::Abandoned,
            (None, _) => Self::Ignored,
        }
    }

    /// A number below [`COUNT`](Self::COUNT): the outcomes, then the reasons for
    /// refusals, in the order of their counts.
    pub(crate) fn index(self) -> usize {
        match self {
            Self::Success => 0,
            Self::Failure => 1,
            Self::Slow => 2,
            Self::Abandoned => 3,
            Self::Ignored => IGNORED,
            Self::Refused(Reason::RateLimited) => Outcomes::KINDS,
            Self::Refused(Reason::Overloaded) => Outcomes::KINDS + 1,
            Self::Refused(Reason::CircuitOpen) => Outcomes::KINDS + 2,
            Self::Refused(Reason::DeadlineExceeded) => Outcomes::KINDS + 3,
            Self::Refused(_) => Outcomes::KINDS + 4,
        }
    }

    /// Makes outcomes and refusals of the counts by [`index`](Self::index).
    pub(crate) fn told_apart(counts: [u64; Self::COUNT]) -> (Outcomes, Refusals) {
        let (mut outcomes, mut refusals) = ([0; Outcomes::KINDS], [0; Refusals::KINDS]);
        outcomes.copy_from_slice(&counts[..Outcomes::KINDS]);
        refusals.copy_from_slice(&counts[Outcomes::KINDS..]);
        outcomes[IGNORED] += refusals.iter().sum::<u64>();
        (Outcomes::from_counts(outcomes), Refusals::from_counts(refusals))
    }
}

const IGNORED: usize = 4;
