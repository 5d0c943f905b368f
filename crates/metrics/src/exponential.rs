use crate::Distribution;
use crate::scale::{self, PER_OCTAVE};

/// A [`Distribution`] as OpenTelemetry and Prometheus write exponential
/// histograms, in seconds; from [`Distribution::exponential`].
///
/// - In OTLP these are the fields of an `ExponentialHistogramDataPoint`, with the
///   buckets as its `positive` ones.
/// - For Prometheus it is a native histogram whose schema is the scale; its
///   buckets have numbers greater by one, since they are named by their upper
///   bound: [`spans`](Self::spans) and [`deltas`](Self::deltas).
///
/// No value is moved to another bucket on the way: the buckets are the same. Only
/// what lasted longer than an hour is in the bucket of an hour.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct ExponentialHistogram {
    /// Buckets double in width every 2^scale of them: bucket `i` has the values
    /// above `2^(i / 2^scale)`, up to `2^((i + 1) / 2^scale)`. It is 5.
    pub scale: i32,
    /// All that is not longer than this counts as zero: about 1 us.
    pub zero_threshold: f64,
    /// The number of values that count as zero.
    pub zero_count: u64,
    /// The number of the first bucket.
    pub offset: i32,
    /// The counts of that bucket and of those after it; the last one is not zero.
    pub bucket_counts: Vec<u64>,
    /// The number of values.
    pub count: u64,
    /// All values added up.
    pub sum: f64,
    /// The least value; `None` where there is none.
    pub min: Option<f64>,
    /// The greatest value.
    pub max: Option<f64>,
}

impl ExponentialHistogram {
    pub(crate) fn of(all: &Distribution) -> Self {
        let zero = scale::SHORTEST;
        let (mut offset, mut bucket_counts) = (0, Vec::new());
        for (bucket, count) in all.counts().filter(|(bucket, _)| *bucket != zero) {
            let number = number(bucket);
            if bucket_counts.is_empty() {
                offset = number;
            }
            bucket_counts.resize((number - offset) as usize, 0);
            bucket_counts.push(count);
        }
        Self {
            scale: PER_OCTAVE.ilog2() as i32,
            zero_threshold: (f64::from(number(zero) + 1) / PER_OCTAVE as f64).exp2(),
            zero_count: all.counts().find(|(bucket, _)| *bucket == zero).map_or(0, |(_, n)| n),
            offset,
            bucket_counts,
            count: all.count(),
            sum: all.sum().as_secs_f64(),
            min: all.min().map(|min| min.as_secs_f64()),
            max: all.max().map(|max| max.as_secs_f64()),
        }
    }

    /// The positive spans of a native histogram: how many buckets are left out, the
    /// first time from number 0 on, and how many follow that do have values.
    pub fn spans(&self) -> Vec<(i32, u32)> {
        let (mut spans, mut next) = (Vec::new(), 0);
        for (number, _) in self.native() {
            match spans.last_mut() {
                Some((_, length)) if number == next => *length += 1,
                _ => spans.push((number - next, 1)),
            }
            next = number + 1;
        }
        spans
    }

    /// The positive deltas of a native histogram: for each bucket of the
    /// [`spans`](Self::spans) how much its count exceeds that of the one before.
    pub fn deltas(&self) -> Vec<i64> {
        let mut before = 0;
        let delta = |(_, count): (i32, u64)| {
            let delta = count.wrapping_sub(before) as i64;
            before = count;
            delta
        };
        self.native().map(delta).collect()
    }

    /// The buckets that have values, by the numbers that Prometheus gives them.
    fn native(&self) -> impl Iterator<Item = (i32, u64)> {
        let all = (self.offset + 1..).zip(self.bucket_counts.iter().copied());
        all.filter(|(_, count)| *count > 0)
    }
}

/// The number of a bucket in OpenTelemetry's counting: the one above 1 s is 0.
fn number(bucket: usize) -> i32 {
    bucket as i32 - scale::ABOVE_ONE_SECOND as i32
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use proptest::prelude::*;

    use super::*;
    use crate::Histogram;

    fn exported(nanos: &[u64]) -> ExponentialHistogram {
        let histogram = Histogram::new();
        nanos.iter().for_each(|nanos| histogram.record(Duration::from_nanos(*nanos)));
        histogram.snapshot().exponential()
    }

    #[test]
    fn a_few_values_are_where_the_formats_have_them() {
        // 2 s is the end of bucket 31, 1 s the end of bucket -1.
        let all = exported(&[500, 2_000_000_000, 1_000_000_000, 2_000_000_000, 1_000_000_001]);
        assert_eq!((all.scale, all.zero_count, all.count, all.offset), (5, 1, 5, -1));
        assert_eq!(all.bucket_counts.len(), 33);
        assert_eq!([0, 1, 32].map(|i| all.bucket_counts[i]), [1, 1, 2]);
        assert_eq!(all.sum, 6.000_000_501);
        assert_eq!((all.min, all.max), (Some(5e-7), Some(2.0)));
        // Prometheus: number 0 ends with 1 s, number 32 with 2 s.
        assert_eq!(all.spans(), [(0, 2), (30, 1)]);
        assert_eq!(all.deltas(), [1, 0, 1]);
        assert!((1e-6..1.02e-6).contains(&all.zero_threshold));
    }

    #[test]
    fn nothing_is_a_histogram_without_buckets() {
        let none = exported(&[]);
        assert_eq!((none.count, none.bucket_counts.len(), none.min), (0, 0, None));
        assert!(none.spans().is_empty() && none.deltas().is_empty());
    }

    proptest! {
        #[test]
        fn each_value_is_in_the_bucket_whose_bounds_hold_it(
            nanos in prop::collection::vec(0..3_600_000_000_000_u64, 1..50)
        ) {
            let all = exported(&nanos);
            prop_assert_eq!(all.zero_count + all.bucket_counts.iter().sum::<u64>(), all.count);
            let bound = |number: i32| (f64::from(number) / 32.0).exp2();
            for (i, count) in all.bucket_counts.iter().enumerate() {
                let number = all.offset + i as i32;
                // Half a nanosecond is the rounding of a bound that is no whole number.
                let (low, high) = (bound(number) * 1e9, bound(number + 1) * 1e9);
                let inside = nanos.iter().map(|nanos| *nanos as f64);
                let inside = inside.filter(|nanos| *nanos > low && *nanos <= high).count() as u64;
                prop_assert_eq!(*count, inside, "bucket {}", number);
            }
        }

        #[test]
        fn spans_and_deltas_are_the_same_buckets(
            nanos in prop::collection::vec(0..3_600_000_000_000_u64, 0..50)
        ) {
            let all = exported(&nanos);
            let (mut number, mut count, mut deltas) = (0, 0, all.deltas().into_iter());
            let mut found = Vec::new();
            for (gap, length) in all.spans() {
                number += gap;
                for _ in 0..length {
                    count += deltas.next().unwrap();
                    found.push((number, count as u64));
                    number += 1;
                }
            }
            prop_assert_eq!(deltas.next(), None);
            let numbered = (all.offset + 1..).zip(all.bucket_counts.iter().copied());
            prop_assert_eq!(found, numbered.filter(|(_, n)| *n > 0).collect::<Vec<_>>());
        }
    }
}
