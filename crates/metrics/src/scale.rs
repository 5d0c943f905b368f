//! The buckets of a base-2 exponential histogram of scale 5.
//!
//! Bucket `i` holds the seconds in `(2^((i - 640) / 32), 2^((i - 639) / 32)]`,
//! which are the bounds that OpenTelemetry's exponential histograms have at
//! scale 5 and Prometheus's native ones have at schema 5.

/// The bucket of a duration, by integers alone; what is shorter than 1 us or
/// longer than 1 h belongs to the first or last one.
pub(crate) const fn bucket(nanos: u64) -> usize {
    let nanos = match nanos {
        ..SHORTEST_NANOS => SHORTEST_NANOS,
        LONGEST_NANOS.. => LONGEST_NANOS,
        _ => nanos,
    };
    let wide = ((nanos << SPARE_BITS) as u128) * PER_NANO;
    let seconds = (wide >> 64) as u64;
    let zeros = seconds.leading_zeros();
    let octave = (LONGEST_ZEROS + OCTAVES as u32 - 1 - zeros) as usize;
    let mantissa = seconds << zeros;
    let cell = (mantissa >> CELL_SHIFT) as usize % CELLS;
    let guess = GUESSES[cell] as usize;
    octave * PER_OCTAVE + guess + (mantissa > BOUNDS[guess + 1]) as usize
}

/// The nanoseconds that stand for all in a bucket: no value in it is further
/// away than 1.09 % of itself.
pub(crate) fn middle(bucket: usize) -> u64 {
    let exponent = bucket as f64 / PER_OCTAVE as f64 + FIRST_EXPONENT;
    let step = (1.0 / PER_OCTAVE as f64).exp2();
    (exponent.exp2() * 2.0 * step / (1.0 + step) * 1e9).round() as u64
}

pub(crate) const OCTAVES: usize = 32;
pub(crate) const PER_OCTAVE: usize = 32;
pub(crate) const BUCKETS: usize = OCTAVES * PER_OCTAVE;

/// The first bucket that is ever used: it has all that is shorter as well.
pub(crate) const SHORTEST: usize = bucket(SHORTEST_NANOS);

/// The bucket that begins at a second.
pub(crate) const ABOVE_ONE_SECOND: usize = 20 * PER_OCTAVE;

const SHORTEST_NANOS: u64 = 1_000;
const LONGEST_NANOS: u64 = 3_600_000_000_000;

/// 1 us is a little more than 2^-20 s.
const FIRST_EXPONENT: f64 = -20.0;

/// An hour in nanoseconds leaves this many bits of a word free.
const SPARE_BITS: u32 = 22;

/// Turns nanoseconds into seconds times 2^51, of which an hour has one leading
/// zero. It is rounded down, so that a power of two of seconds stays below it:
/// buckets include their upper bound.
const PER_NANO: u128 = (1 << 93) / 1_000_000_000;
const LONGEST_ZEROS: u32 = 1;

/// `BOUNDS[i]` is 2^(i/32) in units of 2^-63.
const BOUNDS: [u64; PER_OCTAVE + 1] = bounds();

/// For each of 64 equal parts of an octave, the bucket that its start is in. No
/// part is as wide as a bucket, so that each holds one bound at most.
const GUESSES: [u8; CELLS] = guesses();
const CELLS: usize = 64;
const CELL_SHIFT: u32 = 57;

const fn bounds() -> [u64; PER_OCTAVE + 1] {
    let mut bounds = [u64::MAX; PER_OCTAVE + 1];
    let mut i = 0;
    while i < PER_OCTAVE {
        let (mut bound, mut root, mut bit) = (1_u128 << 63, 1_u128 << 64, PER_OCTAVE / 2);
        while bit > 0 {
            root = (root << 63).isqrt();
            if i & bit != 0 {
                bound = (bound * root) >> 63;
            }
            bit /= 2;
        }
        bounds[i] = bound as u64;
        i += 1;
    }
    bounds
}

const fn guesses() -> [u8; CELLS] {
    let mut guesses = [0; CELLS];
    let (mut cell, mut guess) = (0, 0);
    while cell < CELLS {
        let start = (1 << 63) | ((cell as u64) << CELL_SHIFT);
        while BOUNDS[guess + 1] <= start {
            guess += 1;
        }
        guesses[cell] = guess as u8;
        cell += 1;
    }
    guesses
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn lower_bound(bucket: usize) -> f64 {
        (bucket as f64 / 32.0 - 20.0).exp2() * 1e9
    }

    #[test]
    fn every_bucket_begins_right_above_its_lower_bound() {
        let first = bucket(SHORTEST_NANOS) + 1;
        for i in first..=bucket(LONGEST_NANOS) {
            let last_below = lower_bound(i).floor() as u64;
            assert_eq!((bucket(last_below), bucket(last_below + 1)), (i - 1, i), "{last_below} ns");
        }
    }

    #[test]
    fn a_power_of_two_of_seconds_is_the_end_of_its_bucket() {
        for (nanos, exponent) in
            [(1_953_125, -9), (500_000_000, -1), (1_000_000_000, 0), (2_048_000_000_000, 11)]
        {
            assert_eq!(bucket(nanos) as i32, (exponent + 20) * 32 - 1);
            assert_eq!(bucket(nanos + 1) as i32, (exponent + 20) * 32);
        }
    }

    #[test]
    fn what_is_out_of_range_belongs_to_the_ends() {
        assert_eq!(bucket(0), bucket(SHORTEST_NANOS));
        assert_eq!(bucket(u64::MAX), bucket(LONGEST_NANOS));
        assert!(bucket(u64::MAX) < BUCKETS);
    }

    proptest! {
        #[test]
        fn the_middle_is_within_the_stated_error(nanos in SHORTEST_NANOS..=LONGEST_NANOS) {
            let error = middle(bucket(nanos)).abs_diff(nanos) as f64;
            // Half a nanosecond is the rounding of the middle itself.
            prop_assert!(error <= nanos as f64 * 0.0109 + 0.5, "{nanos} ns");
        }
    }
}
