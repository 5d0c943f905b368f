//! `RFC.md` names tests that exist, and every section that asks for something.

#![expect(clippy::unwrap_used, reason = "a test fails by a panic")]

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

#[test]
fn every_test_that_the_page_names_exists() {
    let missing: Vec<_> = named().into_iter().filter(|name| !exists(name)).collect();
    assert!(missing.is_empty(), "no such tests: {missing:#?}");
    assert!(named().len() > 80, "the page is not read as it should be");
}

#[test]
fn every_section_that_asks_for_something_is_listed() {
    for (title, asking) in [("## RFC 9111", RFC_9111), ("## RFC 9110", RFC_9110)] {
        let listed: BTreeSet<_> = rows(title).map(|row| row[0]).collect();
        let missing: Vec<_> =
            asking.split(' ').filter(|section| !listed.contains(section)).collect();
        assert!(missing.is_empty(), "{title} lacks {missing:?}");
    }
}

#[test]
fn every_row_names_a_test_or_says_why_not() {
    for (title, columns) in [("## RFC 9111", 3), ("## RFC 9110", 3), ("## Faults", 2)] {
        assert!(rows(title).count() > 30, "{title}");
        for row in rows(title) {
            assert_eq!(row.len(), columns, "{row:?}");
            assert!(row.iter().all(|cell| !cell.is_empty()), "{row:?}");
        }
    }
}

#[test]
fn a_wrong_name_is_found() {
    assert!(exists("rules::variants_are_kept_apart"));
    for wrong in ["rules::variants_are_kept", "missing::variants_are_kept_apart", "play::answer"] {
        assert!(!exists(wrong), "{wrong}");
    }
}

/// The tests in back quotes: `file::name`.
fn named() -> BTreeSet<&'static str> {
    PAGE.split('`').skip(1).step_by(2).filter(|text| text.contains("::")).collect()
}

fn rows(title: &str) -> impl Iterator<Item = Vec<&'static str>> {
    let (_, rest) = PAGE.split_once(title).unwrap();
    let section = rest.split("\n## ").next().unwrap();
    let rows = section.lines().filter(|line| line.starts_with('|')).skip(2);
    rows.map(|row| row.trim_matches('|').split('|').map(str::trim).collect())
}

/// Whether a file has a function of this name with an attribute of tests, or one
/// inside `proptest!`, where that is the same attribute.
fn exists(test: &str) -> bool {
    let (file, name) = test.rsplit_once("::").unwrap();
    let crate_ = Path::new(env!("CARGO_MANIFEST_DIR"));
    let places = ["tests/layer", "src", "..", "../.."];
    let files = places.map(|place| crate_.join(place).join(file).with_extension("rs"));
    let Some(source) = files.iter().find_map(read) else { return false };
    let lines: Vec<_> = source.lines().map(str::trim).collect();
    let found = lines.iter().position(|line| {
        let signature = line.strip_prefix("async ").unwrap_or(line).strip_prefix("fn ");
        signature.is_some_and(|signature| signature.split('(').next() == Some(name))
    });
    found.is_some_and(|at| {
        let attributes = lines[..at].iter().rev().take_while(|line| line.starts_with("#["));
        attributes.into_iter().any(|line| line.starts_with("#[test") || line.contains("::test"))
    })
}

fn read(path: &PathBuf) -> Option<String> {
    std::fs::read_to_string(path).ok()
}

const PAGE: &str = include_str!("../RFC.md");

/// The sections with a requirement in capitals, of any party.
const RFC_9111: &str = "1.2.2 3 3.1 3.2 3.3 3.4 3.5 4 4.1 4.2 4.2.2 4.2.3 4.2.4 4.3.2 4.3.3 4.3.4 \
    4.3.5 4.4 5.1 5.2 5.2.1 5.2.1.1 5.2.1.2 5.2.1.3 5.2.1.5 5.2.1.7 5.2.2 5.2.2.1 5.2.2.2 5.2.2.3 \
    5.2.2.4 5.2.2.5 5.2.2.6 5.2.2.7 5.2.2.8 5.2.2.10 5.2.3 5.2.4 5.3";

/// Those of §§8.8, 12.5.5, 13, 14, 15.3.7 and 15.4.5.
const RFC_9110: &str = "8.8.1 8.8.2.1 8.8.3 8.8.3.1 12.5.5 13.1.1 13.1.2 13.1.3 13.1.4 13.1.5 13.2.1 \
    13.2.2 14.1.2 14.2 14.3 14.4 14.5 15.3.7 15.3.7.1 15.3.7.2 15.3.7.3 15.4.5";
