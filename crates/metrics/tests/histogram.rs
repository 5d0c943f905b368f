//! The histogram against a sorted list of the same values.

use std::sync::Barrier;
use std::thread;
use std::time::Duration;

use proptest::prelude::*;
use tower_edge_metrics::{Distribution, Histogram};

fn nanos() -> impl Strategy<Value = u64> {
    prop_oneof![1_000..10_000_000_u64, 1_000..3_600_000_000_000_u64]
}

fn recorded(values: &[u64]) -> Distribution {
    let histogram = Histogram::new();
    values.iter().for_each(|nanos| histogram.record(Duration::from_nanos(*nanos)));
    histogram.snapshot()
}

proptest! {
    #[test]
    fn quantiles_are_within_the_stated_error(mut values in prop::collection::vec(nanos(), 1..400)) {
        let all = recorded(&values);
        values.sort_unstable();
        for q in [0.0, 0.001, 0.5, 0.9, 0.95, 0.99, 0.999, 1.0] {
            let rank = ((q * values.len() as f64).ceil() as usize).max(1);
            let exact = values[rank - 1];
            let error = (all.quantile(q).unwrap().as_nanos() as u64).abs_diff(exact);
            prop_assert!(error as f64 <= exact as f64 * 0.0109 + 0.5, "p{q}: {exact} ns off {error}");
        }
    }

    #[test]
    fn count_sum_least_and_greatest_are_exact(values in prop::collection::vec(nanos(), 1..400)) {
        let all = recorded(&values);
        let sum: u64 = values.iter().sum();
        prop_assert_eq!(all.count(), values.len() as u64);
        prop_assert_eq!(all.sum(), Duration::from_nanos(sum));
        prop_assert_eq!(all.mean(), Some(Duration::from_nanos(sum / values.len() as u64)));
        prop_assert_eq!(all.min(), values.iter().min().map(|min| Duration::from_nanos(*min)));
        prop_assert_eq!(all.max(), values.iter().max().map(|max| Duration::from_nanos(*max)));
    }

    #[test]
    fn merging_is_recording_everything_in_one(
        mut one in prop::collection::vec(nanos(), 0..200),
        other in prop::collection::vec(nanos(), 0..200),
    ) {
        let mut merged = recorded(&one);
        merged.merge(&recorded(&other));
        one.extend(other);
        prop_assert_eq!(merged, recorded(&one));
    }
}

#[test]
fn threads_record_into_one_histogram() {
    let histogram = Histogram::new();
    thread::scope(|scope| {
        for _ in 0..20 {
            scope.spawn(|| (1..=1_000).for_each(|i| histogram.record(Duration::from_micros(i))));
        }
    });
    let all = histogram.snapshot();
    assert_eq!(all.count(), 20_000);
    assert_eq!(all.sum(), Duration::from_micros(20 * 500_500));
    assert_eq!(all.max(), Some(Duration::from_millis(1)));
}

#[test]
fn a_thread_starts_again_after_a_reset_by_another() {
    let histogram = Histogram::new();
    let (came, wait) = (Barrier::new(11), Barrier::new(11));
    thread::scope(|scope| {
        for _ in 0..10 {
            scope.spawn(|| {
                histogram.record(Duration::from_millis(7));
                came.wait();
                wait.wait();
                histogram.record(Duration::from_millis(5));
            });
        }
        came.wait();
        histogram.reset();
        assert_eq!(histogram.snapshot(), Distribution::default());
        wait.wait();
    });
    let all = histogram.snapshot();
    assert_eq!((all.count(), all.sum()), (10, Duration::from_millis(50)));
    assert_eq!(all.max(), Some(Duration::from_millis(5)));
}

#[test]
fn what_is_out_of_range_is_in_the_end_buckets_and_exact_elsewhere() {
    let day = Duration::from_hours(24);
    let histogram = Histogram::new();
    [Duration::ZERO, day, day * 2].into_iter().for_each(|value| histogram.record(value));
    let all = histogram.snapshot();
    assert_eq!((all.min(), all.max()), (Some(Duration::ZERO), Some(day * 2)));
    assert_eq!(all.sum(), day * 3);
    let hour = all.quantile(0.5).unwrap();
    assert!(hour.abs_diff(Duration::from_hours(1)) < Duration::from_mins(1), "{hour:?}");
}

#[test]
fn the_sum_goes_on_past_64_bits_of_nanoseconds() {
    let histogram = Histogram::new();
    let longest = Duration::from_nanos(u64::MAX);
    for times in 1..=3 {
        histogram.record(if times == 3 { Duration::MAX } else { longest });
        assert_eq!(histogram.snapshot().sum(), longest * times);
    }
    assert_eq!(histogram.snapshot().mean(), Some(longest));
}

#[test]
fn an_empty_histogram_has_no_quantiles() {
    let histogram = Histogram::new();
    assert_eq!(histogram.snapshot(), Distribution::default());
    assert_eq!(histogram.snapshot().quantile(0.5), None);
    assert_eq!(histogram.snapshot().mean(), None);
    histogram.record(Duration::from_millis(5));
    assert_eq!(histogram.snapshot().quantile(0.5), Some(Duration::from_millis(5)));
    histogram.reset();
    assert_eq!(histogram.snapshot(), Distribution::default());
}

#[test]
fn a_typical_stripe_takes_less_than_2_kib() {
    let histogram = Histogram::new();
    let empty = histogram.memory();
    (1..=30).for_each(|i| histogram.record(Duration::from_millis(i)));
    assert!(histogram.memory() - empty <= 2_048, "{} bytes", histogram.memory() - empty);
    let full = histogram.memory();
    (1..=30).for_each(|i| histogram.record(Duration::from_millis(i)));
    assert_eq!(histogram.memory(), full);
}
