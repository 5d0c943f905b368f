use std::collections::HashMap;
use std::time::Duration;

use proptest::prelude::*;
use tower_edge_core::Key;

use crate::admission::Admission;
use crate::table::Table;
use crate::window::{Mark, Window};
use crate::word::Mode;

const BAD: Mark = Mark { failure: true, slow: false };

fn table(room: usize) -> Table {
    Table::new(room, true, &[Window::time(Duration::from_secs(10))], None)
}

fn key(number: u64) -> Key {
    Key::new(number.to_be_bytes())
}

/// Many of them want the same places.
fn hash(number: u64) -> u64 {
    ((number + 1) << 30) | (number % 4)
}

#[test]
fn a_key_is_found_again_as_long_as_there_is_room() {
    for room in [1, 2, 3, 100, 1_000] {
        let table = table(room);
        let places: Vec<_> =
            (0..room as u64).map(|n| table.take(&key(n), hash(n), 0).unwrap()).collect();
        for (number, place) in (0..).zip(&places) {
            assert_eq!(table.find(hash(number)), Some(*place));
            assert_eq!(table.take(&key(number), hash(number), 0), Ok(*place));
            assert_eq!(table.key(place.cell), Some(key(number)));
        }
        assert_eq!(table.all().len(), room);
    }
}

#[test]
fn what_was_counted_for_a_key_that_is_gone_is_gone() {
    let table = table(1);
    let old = table.take(&key(0), hash(0), 0).unwrap();
    let ticket = table.admit_closed(old).unwrap();
    table.circuit(old).record(ticket, BAD, 0);
    let new = table.take(&key(1), hash(1), 0).unwrap();
    assert_eq!((table.find(hash(0)), table.find(hash(1))), (None, Some(new)));
    assert!(!table.circuit(new).record(ticket, BAD, 0), "a call of the old key");
    assert_eq!(table.circuit(new).view(0).counts.calls, 0);
    assert_eq!((table.key(old.cell), table.admit_closed(old)), (Some(key(1)), None));
    let (admission, _) = table.admit(old, |circuit| {
        (circuit.admit_closed().map_or(Admission::Pass, Admission::Count), ())
    });
    assert_eq!(admission, Admission::Pass);
}

#[test]
fn circuits_in_use_and_circuits_of_another_mode_stay() {
    let table = table(3);
    for number in 0..3 {
        table.take(&key(number), hash(number), 0).unwrap();
    }
    let forced = table.find(hash(1)).unwrap();
    table.circuit(forced).set_mode(Mode::ForcedClosed);
    for number in 3..100 {
        assert!(table.find(hash(0)).is_some(), "in use");
        table.take(&key(number), hash(number), 0).unwrap();
        assert_eq!(table.key(forced.cell), Some(key(1)));
    }
    assert!(table.find(hash(0)).is_some());
}

proptest! {
    #[test]
    fn a_key_is_where_the_table_says_or_not_there(
        room in 1_usize..20, numbers in prop::collection::vec(0_u64..60, 1..500),
    ) {
        let (table, mut last) = (table(room), HashMap::new());
        for number in numbers {
            let place = table.take(&key(number), hash(number), 0).unwrap();
            prop_assert_eq!(table.find(hash(number)), Some(place));
            last.insert(number, place);
            for (number, place) in &last {
                let found = table.find(hash(*number));
                prop_assert!(found.is_none_or(|found| table.key(found.cell) == Some(key(*number))));
                prop_assert_eq!(found.is_some(), table.key(place.cell) == Some(key(*number)));
            }
            prop_assert!(table.all().len() <= room);
        }
    }
}
