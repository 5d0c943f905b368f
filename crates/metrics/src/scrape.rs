use std::sync::Arc;

use crate::bounds::{BYTES, SECONDS};
use crate::prometheus::{Counted, HistogramSource};
use crate::tally::{SizeCounts, Tally};

/// Shows the times of a tally to our own recorder, when somebody scrapes.
#[derive(Debug)]
pub(crate) struct Durations(pub(crate) Arc<Tally>);

impl HistogramSource for Durations {
    fn bounds(&self) -> &'static [f64] {
        &SECONDS
    }

    fn read(&self) -> Counted {
        let (all, below) = self.0.durations();
        let cumulative = below.into_iter().chain([all.count()]).collect();
        Counted { cumulative, sum: all.sum().as_secs_f64(), exponential: Some(all) }
    }
}

/// The same for the sizes of requests.
#[derive(Debug)]
pub(crate) struct RequestSizes(pub(crate) Arc<Tally>);

impl HistogramSource for RequestSizes {
    fn bounds(&self) -> &'static [f64] {
        &BYTES
    }

    fn read(&self) -> Counted {
        counted(&self.0.request_sizes())
    }
}

/// The same for the sizes of responses.
#[derive(Debug)]
pub(crate) struct ResponseSizes(pub(crate) Arc<Tally>);

impl HistogramSource for ResponseSizes {
    fn bounds(&self) -> &'static [f64] {
        &BYTES
    }

    fn read(&self) -> Counted {
        counted(&self.0.response_sizes())
    }
}

fn counted(sizes: &SizeCounts) -> Counted {
    let up_to = sizes.by_bound.iter().scan(0, |below, count| {
        *below += count;
        Some(*below)
    });
    Counted { cumulative: up_to.collect(), sum: sizes.sum as f64, exponential: None }
}
