use std::cell::RefCell;
use std::fmt;
use std::sync::Arc;

use crate::Distribution;

/// What is measured elsewhere already and is to be had for a look.
///
/// The facade has no way to ask which recorder is behind it, or to hand it more
/// than a name. So the layer holds the offer out on this thread while it registers
/// a handle. Our own recorder takes it and answers with a handle that does nothing:
/// then a request is recorded once, however much of it is scraped. Any other
/// recorder does not know of it, and its handle is told each value.
#[derive(Clone, Debug)]
pub(crate) enum Offer {
    Gauge(Arc<dyn GaugeSource>),
    Histogram(Arc<dyn HistogramSource>),
}

/// Something that has a number.
pub(crate) trait GaugeSource: fmt::Debug + Send + Sync {
    fn value(&self) -> f64;
}

/// Something that counts values by bounds.
pub(crate) trait HistogramSource: fmt::Debug + Send + Sync {
    fn bounds(&self) -> &'static [f64];

    fn read(&self) -> Counted;
}

/// The values that a histogram counted.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Counted {
    /// How many do not exceed each bound, at last how many there are.
    pub(crate) cumulative: Vec<u64>,
    pub(crate) sum: f64,
    /// The same values by the buckets of our own histograms, where all are counted
    /// so.
    pub(crate) exponential: Option<Distribution>,
}

impl Counted {
    pub(crate) fn count(&self) -> u64 {
        self.cumulative.last().copied().unwrap_or(0)
    }

    pub(crate) fn add(&mut self, other: &Self) {
        self.cumulative.iter_mut().zip(&other.cumulative).for_each(|(sum, count)| *sum += count);
        self.sum += other.sum;
        self.exponential =
            self.exponential.take().zip(other.exponential.as_ref()).map(|(mut all, other)| {
                all.merge(other);
                all
            });
    }
}

impl Offer {
    /// Holds it out to the recorder while `register` asks for a handle by `name`.
    pub(crate) fn while_registering<R>(
        self,
        name: &'static str,
        register: impl FnOnce() -> R,
    ) -> R {
        let _withdrawn = Withdrawn;
        // A thread that is about to end offers nothing.
        let _ = HELD_OUT.try_with(|held| *held.borrow_mut() = Some((name, self)));
        register()
    }

    /// What is held out for this name.
    pub(super) fn held_out(name: &str) -> Option<Self> {
        let of_this_name = |held: &RefCell<Option<(&str, Self)>>| {
            let held = held.borrow();
            held.as_ref().filter(|(known, _)| *known == name).map(|(_, offer)| offer.clone())
        };
        HELD_OUT.try_with(of_this_name).ok().flatten()
    }
}

/// Takes an offer back, also when a recorder panics.
struct Withdrawn;

impl Drop for Withdrawn {
    fn drop(&mut self) {
        let _ = HELD_OUT.try_with(|held| held.borrow_mut().take());
    }
}

thread_local! {
    static HELD_OUT: RefCell<Option<(&'static str, Offer)>> = const { RefCell::new(None) };
}
