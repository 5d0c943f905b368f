use std::fmt;

use crate::{Stage, Work};

/// Does some work inside of something: with a recorder of metrics of its own,
/// say.
pub(crate) struct Within<W, F> {
    work: W,
    within: F,
}

impl<W, F> Within<W, F> {
    /// `within` runs what it is given, once.
    pub(crate) fn new(work: W, within: F) -> Self {
        Self { work, within }
    }
}

impl<W: Work, F: Fn(&mut dyn FnMut())> Work for Within<W, F> {
    fn prove(&mut self, stage: &mut Stage) {
        (self.within)(&mut || self.work.prove(stage));
    }

    fn run(&mut self, times: u64, stage: &mut Stage) {
        (self.within)(&mut || self.work.run(times, stage));
    }
}

impl<W: fmt::Debug, F> fmt::Debug for Within<W, F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Within").field(&self.work).finish()
    }
}
