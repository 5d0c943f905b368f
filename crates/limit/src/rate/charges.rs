//! Several quotas charged together or not at all.

use super::bucket::Bucket;
use super::rule::Verdict;
use super::table::Spot;

/// What a request costs by one quota.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Charge<'a> {
    pub(crate) bucket: &'a Bucket,
    pub(crate) spot: Spot,
    pub(crate) cost: u32,
}

/// The quota that refuses for the longest time, by its place among the charges.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Refused {
    pub(crate) by: usize,
    /// In nanoseconds; none if it will never admit that cost.
    pub(crate) wait: Option<u64>,
}

/// Charges all or none; tells how many keys in use lost their places.
///
/// All are asked before one is charged. Who is charged and then outrun at the
/// next quota is refunded, which may refuse others meanwhile and never admits too
/// many. A refusal by one quota alone writes nothing.
pub(crate) fn charge_all(charges: &[Charge<'_>], nanos: u64) -> Result<usize, Refused> {
    if charges.len() > 1
        && let Some(refused) = longest(charges, nanos, |_| 0)
    {
        return Err(refused);
    }
    let mut evicted = 0;
    for (by, charge) in charges.iter().enumerate() {
        let tried = charge.bucket.charge(charge.spot, nanos, charge.cost);
        evicted += usize::from(tried.evicted);
        if let Verdict::Refuse { wait } = tried.verdict {
            for done in &charges[..by] {
                done.bucket.refund(done.spot, nanos, done.cost);
            }
            return Err(Refused { by, wait });
        }
    }
    Ok(evicted)
}

/// The quota that would refuse for the longest time, if so much more were asked
/// of each before.
pub(crate) fn longest(
    charges: &[Charge<'_>],
    nanos: u64,
    before: impl Fn(usize) -> u64,
) -> Option<Refused> {
    let waits = charges.iter().enumerate().filter_map(|(by, charge)| {
        let before = before(by);
        let wait = match charge.bucket.check(charge.spot, nanos, charge.cost) {
            Verdict::Refuse { wait: Some(wait) } => {
                Some(wait.saturating_add(charge.bucket.time_for(before)))
            }
            Verdict::Refuse { wait: None } => None,
            Verdict::Admit { .. } if before == 0 => return None,
            Verdict::Admit { .. } => Some(charge.bucket.time_for(before)),
        };
        Some(Refused { by, wait })
    });
    // The first of those that wait equally long.
    waits.reduce(|longest, next| {
        let longer = match (longest.wait, next.wait) {
            (None, _) => false,
            (Some(_), None) => true,
            (Some(longest), Some(next)) => next > longest,
        };
        if longer { next } else { longest }
    })
}
