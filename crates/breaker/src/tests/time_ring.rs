use proptest::prelude::*;

use crate::time_ring::{MAX, Tag, TimeRing};
use crate::window::{Counts, Mark};

const OK: Mark = Mark { failure: false, slow: false };
const BAD: Mark = Mark { failure: true, slow: false };

fn counts(ring: &TimeRing, now: u64) -> (u32, u32, u32) {
    let Counts { calls, failures, slow } = ring.counts(1, now);
    (calls, failures, slow)
}

#[test]
fn what_is_older_than_the_window_counts_no_more() {
    let ring = TimeRing::new(1_600);
    ring.record(1, 0, BAD);
    ring.record(1, 99, Mark { failure: false, slow: true });
    ring.record(1, 800, OK);
    for (now, expected) in [
        (800, (3, 1, 1)),
        (1_599, (3, 1, 1)),
        (1_600, (1, 0, 0)),
        (2_399, (1, 0, 0)),
        (2_400, (0, 0, 0)),
    ] {
        assert_eq!(counts(&ring, now), expected, "{now}");
    }
}

#[test]
fn a_slot_is_not_taken_for_that_of_another_lap_however_long_nobody_called() {
    for laps in 1..2_000 {
        let ring = TimeRing::new(1_600);
        (0..1_600).step_by(100).for_each(|now| ring.record(1, now, BAD));
        let later = laps * 1_600 + 700;
        ring.record(1, later, OK);
        let old = if laps == 1 { 8 } else { 0 };
        assert_eq!(counts(&ring, later), (old + 1, old, 0), "{laps}");
    }
}

#[test]
fn generations_do_not_mix() {
    let ring = TimeRing::new(1_600);
    ring.record(1, 0, BAD);
    ring.record(2, 0, OK);
    ring.record(1, 0, BAD);
    ring.record(1, 100, BAD);
    assert_eq!(ring.counts(2, 100), Counts { calls: 1, failures: 0, slow: 0 });
    ring.record(2, 100, BAD);
    assert_eq!(ring.counts(2, 100), Counts { calls: 2, failures: 1, slow: 0 });
    ring.record(u16::MAX, 100, OK);
    assert_eq!(ring.counts(2, 100).calls, 2);
}

#[test]
fn a_full_slot_stays_full() {
    let ring = TimeRing::new(1_600);
    (0..MAX + 10).for_each(|_| ring.record(1, 0, OK));
    assert_eq!(counts(&ring, 0), (MAX as u32, 0, 0));
    ring.record(1, 0, BAD);
    assert_eq!(counts(&ring, 0), (MAX as u32, 0, 0));
    ring.record(1, 100, BAD);
    assert_eq!(counts(&ring, 100), (MAX as u32 + 1, 1, 0));
}

#[test]
fn a_tag_is_what_was_packed_whatever_is_counted_beside_it() {
    for generation in 0..=u16::MAX {
        for lap in 0..=u8::MAX {
            let tag = Tag { generation, lap };
            assert_eq!(Tag::of(tag.empty()), tag);
            assert_eq!(Tag::of(tag.empty() | MAX | MAX << 20), tag);
            assert!(!tag.is_after(tag));
        }
    }
}

proptest! {
    #[test]
    fn the_window_is_that_of_a_list(
        calls in prop::collection::vec((0_u64..400, any::<bool>(), any::<bool>()), 1..300),
    ) {
        let (ring, mut list, mut now) = (TimeRing::new(1_600), Vec::new(), 0);
        for (step, failure, slow) in calls {
            now += step;
            ring.record(1, now, Mark { failure, slow });
            list.push((now / 100, failure, slow));
            let last = list.iter().filter(|(at, ..)| at + 16 > now / 100);
            let expected = last.fold((0, 0, 0), |(calls, failures, slow_calls), one| {
                (calls + 1, failures + u32::from(one.1), slow_calls + u32::from(one.2))
            });
            prop_assert_eq!(counts(&ring, now), expected);
        }
    }
}
