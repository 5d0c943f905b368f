use std::process::Command;

use tower_edge_tests::is_long;

/// Fills a cache in a process of its own, so that nothing else is measured.
fn fills(kind: &str, mib: u64) {
    let mib = if is_long() { 8 * mib } else { mib };
    let fill = Command::new(env!("CARGO_BIN_EXE_fill")).args([kind, &mib.to_string()]).output();
    let printed = String::from_utf8(fill.unwrap().stdout).unwrap();
    let numbers: Vec<u64> =
        printed.split_whitespace().map(|number| number.parse().unwrap()).collect();
    let [setting, held, resident, most] = numbers[..] else { panic!("{printed}") };
    let shown =
        format!("{kind}, KiB: {setting} set, {held} held, {resident} resident, {most} most");
    println!("{shown}");
    // It is full, or nearly: one more would not fit.
    assert!(held <= setting && held > setting * 95 / 100, "{shown}");
    assert!(resident > setting * 3 / 4 && most < setting * 5 / 4, "{shown}");
}

#[test]
fn a_cache_of_small_responses_takes_what_it_is_set_to() {
    fills("small", 8);
}

#[test]
fn a_cache_of_large_responses_takes_what_it_is_set_to() {
    fills("large", 64);
}

#[test]
fn a_cache_of_all_sizes_takes_what_it_is_set_to() {
    fills("mixed", 32);
}
