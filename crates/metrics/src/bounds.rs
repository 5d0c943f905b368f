//! The bounds by which values are counted for a scrape.

use crate::scale::{BUCKETS, bucket};

/// The place of a size among the counts by [`BYTES`], of which the last has what
/// exceeds all.
pub(crate) fn size(bytes: u64) -> usize {
    let bits = u64::BITS - bytes.saturating_sub(1).leading_zeros();
    (bits.saturating_sub(7) as usize / 2).min(BYTES.len())
}

/// The place of the bound of [`SECONDS`] that lies in this bucket of a histogram,
/// if one does.
pub(crate) fn inside(bucket: usize) -> Option<usize> {
    usize::from(INSIDE[bucket]).checked_sub(1)
}

/// Those that OpenTelemetry recommends, from 5 ms to 10 s, and more below and
/// above: services that answer in less than 5 ms would all be alike.
pub(crate) static SECONDS: [f64; NANOS.len()] = {
    let (mut seconds, mut i) = ([0.0; NANOS.len()], 0);
    while i < NANOS.len() {
        seconds[i] = NANOS[i] as f64 / 1e9;
        i += 1;
    }
    seconds
};

/// The same in nanoseconds.
pub(crate) const NANOS: [u64; 21] = [
    100_000,
    250_000,
    500_000,
    1_000_000,
    2_500_000,
    5_000_000,
    10_000_000,
    25_000_000,
    50_000_000,
    75_000_000,
    100_000_000,
    250_000_000,
    500_000_000,
    750_000_000,
    1_000_000_000,
    2_500_000_000,
    5_000_000_000,
    7_500_000_000,
    10_000_000_000,
    30_000_000_000,
    60_000_000_000,
];

/// From 256 B to 1 GiB, each four times the one before.
pub(crate) static BYTES: [f64; 12] = [
    256.0,
    1_024.0,
    4_096.0,
    16_384.0,
    65_536.0,
    262_144.0,
    1_048_576.0,
    4_194_304.0,
    16_777_216.0,
    67_108_864.0,
    268_435_456.0,
    1_073_741_824.0,
];

/// One more than the place of the bound in each bucket, or 0.
static INSIDE: [u8; BUCKETS] = {
    let (mut inside, mut i) = ([0; BUCKETS], 0);
    while i < NANOS.len() {
        inside[bucket(NANOS[i])] = i as u8 + 1;
        i += 1;
    }
    inside
};

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn those_that_the_conventions_recommend_are_among_them() {
        let recommended =
            [0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1.0, 2.5, 5.0, 7.5, 10.0];
        assert!(recommended.iter().all(|bound| SECONDS.contains(bound)));
        assert!(SECONDS.is_sorted() && BYTES.is_sorted());
    }

    #[test]
    fn no_bucket_has_two_of_them() {
        let found: Vec<_> = (0..BUCKETS).filter_map(inside).collect();
        assert_eq!(found, (0..NANOS.len()).collect::<Vec<_>>());
    }

    proptest! {
        #[test]
        fn a_size_is_counted_below_the_first_bound_that_holds_it(
            bytes in prop_oneof![0..5_000_u64, 0..1_u64 << 33]
        ) {
            prop_assert_eq!(size(bytes), BYTES.partition_point(|bound| *bound < bytes as f64));
        }
    }

    #[test]
    fn a_bound_of_sizes_includes_its_value() {
        for (i, bound) in BYTES.iter().enumerate() {
            let bound = *bound as u64;
            assert_eq!((size(bound), size(bound + 1)), (i, i + 1));
        }
        assert_eq!((size(0), size(u64::MAX)), (0, 12));
    }
}
