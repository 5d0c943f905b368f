use super::bucket::Standing;
use super::charges::{Costs, MOST};

/// What a client is told about the quotas that apply to it, in few bytes: it is
/// kept until the response is there.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Told {
    pub(crate) standing: Standing,
    /// The bucket that this is about.
    pub(crate) by: u16,
    buckets: [u16; MOST],
    len: u8,
}

impl Told {
    /// How it stands by the quota at the place `by` of the costs.
    pub(crate) fn new(costs: &Costs, by: usize, standing: Standing) -> Self {
        let (costs, mut buckets) = (costs.as_slice(), [0; MOST]);
        buckets.iter_mut().zip(costs).for_each(|(bucket, cost)| *bucket = cost.bucket);
        Self { standing, by: costs[by].bucket, buckets, len: costs.len() as u8 }
    }

    /// All quotas that apply.
    pub(crate) fn buckets(&self) -> &[u16] {
        &self.buckets[..usize::from(self.len)]
    }
}
