use proptest::prelude::*;

use crate::call_ring::{CallRing, Sums};
use crate::window::{Counts, Mark};

const OK: Mark = Mark { failure: false, slow: false };
const BAD: Mark = Mark { failure: true, slow: false };

#[test]
fn sums_are_what_was_packed() {
    for failures in [-70_000, -1, 0, 1, 65_535, 8_388_607, -8_388_608] {
        for slow in -65_535..=65_535 {
            let sums = Sums::unpack(Sums { failures, slow }.pack());
            assert_eq!((sums.failures, sums.slow), (failures, slow));
        }
    }
}

#[test]
fn only_the_last_calls_count_however_many_came_before() {
    let ring = CallRing::new(10);
    (0..100_000).for_each(|_| ring.record(1, OK));
    for failures in 1..=10 {
        ring.record(1, BAD);
        assert_eq!(ring.counts(1), Counts { calls: 10, failures, slow: 0 });
    }
    ring.record(1, BAD);
    assert_eq!(ring.counts(1), Counts { calls: 10, failures: 10, slow: 0 });
}

#[test]
fn generations_do_not_mix() {
    let ring = CallRing::new(3);
    ring.record(1, BAD);
    ring.record(1, BAD);
    ring.record(2, BAD);
    ring.record(1, OK);
    assert_eq!(ring.counts(2), Counts { calls: 1, failures: 1, slow: 0 });
    assert_eq!(ring.counts(1), Counts::default());
    (0..2).for_each(|_| ring.record(2, OK));
    assert_eq!(ring.counts(2), Counts { calls: 3, failures: 1, slow: 0 });
    ring.record(2, OK);
    assert_eq!(ring.counts(2), Counts { calls: 3, failures: 0, slow: 0 });
}

proptest! {
    #[test]
    fn the_window_is_the_end_of_a_list(
        size in 1_u16..40,
        calls in prop::collection::vec((any::<bool>(), any::<bool>()), 1..300),
    ) {
        let (ring, mut list) = (CallRing::new(size), Vec::new());
        for (failure, slow) in calls {
            ring.record(1, Mark { failure, slow });
            list.push((failure, slow));
            let last = &list[list.len().saturating_sub(size.into())..];
            let count = |of: fn(&(bool, bool)) -> bool| {
                last.iter().filter(|call| of(call)).count() as u32
            };
            let calls = last.len() as u32;
            let expected = Counts { calls, failures: count(|c| c.0), slow: count(|c| c.1) };
            prop_assert_eq!(ring.counts(1), expected);
        }
    }
}
