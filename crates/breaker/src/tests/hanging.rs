use proptest::prelude::*;

use crate::hanging::Hanging;

#[test]
fn a_call_counts_when_it_has_lasted_too_long_and_until_it_ends() {
    let hanging = Hanging::new(400);
    let (call, first) = hanging.begin(1, 50);
    assert!(first);
    let (other, first) = hanging.begin(1, 99);
    assert!(!first);
    for (now, count) in [(50, 0), (450, 0), (499, 0), (500, 2), (5_000, 2)] {
        assert_eq!(hanging.count(1, now), count, "{now}");
    }
    hanging.end(other);
    assert_eq!(hanging.count(1, 600), 1);
    // Its slot is used again.
    assert!(hanging.begin(1, 850).1);
    assert_eq!(hanging.count(1, 850), 1);
    hanging.end(call);
    assert_eq!(hanging.count(1, 850), 0);
    assert_eq!(hanging.count(1, 1_300), 1);
}

#[test]
fn calls_of_another_generation_do_not_count() {
    let hanging = Hanging::new(400);
    let (old, _) = hanging.begin(1, 0);
    let (new, first) = hanging.begin(2, 0);
    assert!(first);
    hanging.end(old);
    assert_eq!((hanging.count(1, 900), hanging.count(2, 900)), (0, 1));
    hanging.begin(2, 800);
    hanging.end(new);
    assert_eq!(hanging.count(2, 900), 0);
    let (late, first) = hanging.begin(1, 800);
    assert!(!first);
    hanging.end(late);
    assert_eq!(hanging.count(2, 1_300), 1);
}

proptest! {
    #[test]
    fn the_count_is_that_of_a_list(
        steps in prop::collection::vec((0_u64..300, any::<bool>(), 0_usize..8), 1..300),
    ) {
        let (hanging, mut list, mut now) = (Hanging::new(400), Vec::new(), 0);
        for (step, begins, which) in steps {
            now += step;
            if begins {
                list.push((now, hanging.begin(1, now).0));
            } else if !list.is_empty() {
                hanging.end(list.remove(which % list.len()).1);
            }
            let slow = list.iter().filter(|(began, _)| now / 100 - began / 100 > 4);
            prop_assert_eq!(hanging.count(1, now) as usize, slow.count());
        }
    }
}
