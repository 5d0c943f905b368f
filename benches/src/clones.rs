use crate::calls::{CHUNK, chunks};
use crate::{Stage, Work};

/// Clones a service; dropping the clones is not measured.
#[derive(Debug)]
pub struct Clones<S> {
    service: S,
    clones: Vec<S>,
}

impl<S: Clone> Clones<S> {
    /// Clones `service`.
    pub fn new(service: S) -> Self {
        Self { service, clones: Vec::with_capacity(CHUNK) }
    }
}

impl<S: Clone> Work for Clones<S> {
    fn prove(&mut self, _: &mut Stage) {}

    fn run(&mut self, times: u64, stage: &mut Stage) {
        for chunk in chunks(times) {
            stage.measure(chunk, |_| {
                self.clones.extend((0..chunk).map(|_| self.service.clone()));
            });
            self.clones.clear();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::meter::Meter;

    #[test]
    fn a_clone_is_counted_and_what_holds_it_is_not() {
        let mut clones = Clones::new(Box::new([0_u8; 48]));
        let meter = Stage::new().run(&mut clones, 100, Meter::allocations());
        let counts = meter.counts();
        assert_eq!((counts.allocations, counts.bytes), (100, 4_800));
    }
}
