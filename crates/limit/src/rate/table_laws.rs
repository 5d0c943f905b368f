//! The table as one thread sees it; what several threads see is in the models.

use std::collections::HashMap;
use std::time::Duration;

use proptest::prelude::*;

use super::quota::{Quota, SECOND};
use super::rule::{Rule, Verdict};
use super::sync::WAYS;
use super::table::{Spot, Table, Tried};
use crate::nonzero;

/// Spreads numbers over all bits.
fn spot(number: u64) -> Spot {
    let mixed = (number ^ (number >> 31)).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    let mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    Spot::new(mixed ^ (mixed >> 27))
}

fn admitted(tried: Tried) -> bool {
    matches!(tried.verdict, Verdict::Admit { .. })
}

#[test]
fn a_key_takes_sixteen_bytes() {
    for keys in [1, 8, 9, 1_000] {
        let bytes = Table::new(keys).memory();
        assert!(bytes <= 16 * keys.next_multiple_of(8), "{keys}: {bytes}");
    }
}

#[test]
fn at_its_capacity_less_than_a_thousandth_of_the_keys_lose_their_place() {
    let (keys, rule) = (200_000, Rule::new(&Quota::per_hour(nonzero!(10))));
    let table = Table::new(keys);
    let evicted = (0..keys as u64).filter(|key| table.force(&rule, spot(*key), 0, 1)).count();
    assert!(evicted > 0 && evicted * 1_000 < keys, "{evicted}");
    let kept = (0..keys as u64).filter(|key| table.state(spot(*key)).is_some()).count();
    assert_eq!(kept + evicted, keys);
}

#[test]
fn the_key_that_is_at_rest_the_soonest_goes_first() {
    let rule = Rule::new(&Quota::per_second(nonzero!(10)).burst(nonzero!(100)));
    let table = Table::new(1);
    for key in 0..WAYS as u64 {
        assert!(!table.force(&rule, spot(key), 0, 20 + ((key * 7) % 16) as u32));
    }
    // Key 0 has used the least, key 7 one more.
    assert!(table.force(&rule, spot(100), 0, 90));
    assert_eq!(table.state(spot(0)), None);
    assert!(table.state(spot(7)).is_some());
    // By then everybody else is at rest, and nothing is lost.
    let moment = rule.moment(4 * SECOND);
    assert!(!table.force(&rule, spot(101), moment, 1));
    assert!(table.state(spot(100)).is_some());
}

#[test]
fn a_refusal_writes_nothing() {
    let rule = Rule::new(&Quota::per_second(nonzero!(10)).burst(nonzero!(2)));
    let table = Table::new(1);
    assert!(!admitted(table.charge(&rule, spot(1), 0, 3)));
    assert_eq!(table.state(spot(1)), None);
    assert!(admitted(table.charge(&rule, spot(1), 0, 2)));
    let before = table.state(spot(1));
    assert!(!admitted(table.charge(&rule, spot(1), 0, 1)));
    assert_eq!(table.state(spot(1)), before);
}

#[test]
fn a_reset_leaves_the_others_alone() {
    let rule = Rule::new(&Quota::per_second(nonzero!(10)));
    let table = Table::new(1);
    (0..10).for_each(|key| assert!(!table.force(&rule, spot(key), 0, 10)));
    table.reset(&rule, spot(3), 0);
    table.reset(&rule, spot(77), 0);
    for key in 0..10 {
        assert_eq!(admitted(table.charge(&rule, spot(key), 0, 1)), key == 3, "{key}");
    }
    table.clear();
    assert!((0..10).all(|key| table.state(spot(key)).is_none()));
}

proptest! {
    #[test]
    fn a_table_with_room_decides_as_one_state_for_each_key(
        strict: bool,
        calls in prop::collection::vec((0..12_u64, 0..400_000_000_u64, 1..4_u32, 0..8_u8), 1..300),
    ) {
        let quota = match strict {
            true => Quota::in_any(nonzero!(5), Duration::from_secs(1)),
            false => Quota::per_second(nonzero!(3)).burst(nonzero!(5)),
        };
        let (rule, table) = (Rule::new(&quota), Table::new(8));
        let mut model: HashMap<u64, u64> = HashMap::new();
        let mut nanos = 0;
        for (key, step, cost, what) in calls {
            nanos += step;
            let moment = rule.moment(nanos);
            let state = model.entry(key).or_insert_with(|| rule.fresh(moment));
            match what {
                0 => {
                    prop_assert!(!table.force(&rule, spot(key), moment, cost));
                    *state = rule.charged(*state, moment, cost);
                }
                1 => {
                    table.refund(&rule, spot(key), moment, cost);
                    *state = rule.refunded(*state, moment, cost);
                }
                _ => {
                    let verdict = rule.decide(*state, moment, cost);
                    let tried = table.charge(&rule, spot(key), moment, cost);
                    prop_assert_eq!(tried, Tried { verdict, evicted: false });
                    if let Verdict::Admit { state: after } = verdict {
                        *state = after;
                    }
                }
            }
        }
    }
}
