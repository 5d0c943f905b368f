use std::process::Command;

use tower_edge_tests::is_long;

/// Fills a cache of so many MiB in a process of its own, so that nothing else is
/// measured.
fn fills(kind: &str, mib: u64, targets: u64) {
    let arguments = [kind, &mib.to_string(), &targets.to_string()];
    let fill = Command::new(env!("CARGO_BIN_EXE_fill")).args(arguments).output();
    let printed = String::from_utf8(fill.unwrap().stdout).unwrap();
    let numbers: Vec<u64> =
        printed.split_whitespace().map(|number| number.parse().unwrap()).collect();
    let [setting, held, resident, most] = numbers[..] else { panic!("{printed}") };
    let shown =
        format!("{kind}, KiB: {setting} set, {held} held, {resident} resident, {most} most");
    println!("{shown}");
    // It is full, but for what is set aside and what one more would take.
    assert!(held <= setting && held > setting * 9 / 10, "{shown}");
    assert!(resident > setting * 3 / 4 && most < setting * 5 / 4, "{shown}");
}

/// So many times as much in the long form, of what is larger as well.
fn times(times: u64) -> u64 {
    if is_long() { times } else { 1 }
}

#[test]
fn a_cache_of_small_responses_takes_what_it_is_set_to() {
    fills("small", 8 * times(8), 4_000 * times(16));
}

#[test]
fn a_cache_of_large_responses_takes_what_it_is_set_to() {
    fills("large", 128 * times(4), 200 * times(8));
}

#[test]
fn a_cache_of_all_sizes_takes_what_it_is_set_to() {
    fills("mixed", 32 * times(8), 3_600 * times(16));
}

/// With variants, tags and purges: nothing that is noted beside them grows.
#[test]
fn any_number_of_targets_takes_no_more_than_the_cache_is_set_to() {
    fills("tiny", 8 * times(4), 200_000 * times(50));
}
