//! The suite that every cache tier passes: what was written is what is read.
//!
//! Each law is a function over a way to open a tier, which is empty at first; and
//! [`all`] runs them, each with a tier of its own.

use std::time::Duration;

use bytes::Bytes;
use futures_util::FutureExt;
use futures_util::future::{join, join_all};
use tower_edge_cache::{Change, Tier};

/// Runs all laws.
///
/// # Panics
///
/// If one of them does not hold.
pub async fn all<T: Tier>(open: impl AsyncFn() -> T) {
    what_was_put_is_found_by_its_key_and_no_other(&open().await).await;
    a_variant_takes_the_place_of_itself_only(&open().await).await;
    changes_are_made_in_their_order(&open().await).await;
    what_goes_is_what_was_named(&open().await).await;
    records_of_any_size_come_back(&open().await).await;
    what_is_of_no_use_any_more_may_go_and_the_rest_stays(&open().await).await;
    notes_are_numbered_in_their_order_and_stay(&open().await).await;
    who_reads_meanwhile_finds_what_was_or_what_is(&open().await).await;
    a_future_that_is_dropped_breaks_nothing(&open().await).await;
}

async fn what_was_put_is_found_by_its_key_and_no_other(tier: &impl Tier) {
    let long = |last: &str| format!("http://h/{}{last}", "x".repeat(60_000));
    let keys = ["", "\0", "a", "a\nb", "http://h/", "http://h/%00?a=b", "ä"].map(str::to_owned);
    let keys: Vec<_> = keys.into_iter().chain([long("1"), long("2")]).collect();
    let puts: Vec<_> = keys.iter().map(|key| put(key, 0, &format!("of {}", key.len()))).collect();
    for key in &keys {
        assert_eq!(found(tier, key).await, [""; 0], "{key:.20}");
    }
    tier.write(&puts).await.expect("it writes");
    for key in &keys {
        assert_eq!(found(tier, key).await, [format!("of {}", key.len())], "{key:.20}");
    }
    assert_eq!(found(tier, "b").await, [""; 0]);
}

async fn a_variant_takes_the_place_of_itself_only(tier: &impl Tier) {
    let puts = [put("k", 0, "0"), put("k", u128::MAX, "max"), put("k", 1 << 64, "high")];
    tier.write(&puts).await.expect("it writes");
    tier.write(&[put("k", u128::MAX, "new")]).await.expect("it writes");
    assert_eq!(found(tier, "k").await, ["0", "high", "new"]);
}

async fn changes_are_made_in_their_order(tier: &impl Tier) {
    let changes = [
        put("k", 0, "first"),
        remove("k", None),
        put("k", 1, "second"),
        put("k", 2, "third"),
        remove("k", Some(1)),
        put("k", 2, "last"),
    ];
    tier.write(&changes).await.expect("it writes");
    assert_eq!(found(tier, "k").await, ["last"]);
    tier.write(&[Change::Clear, put("l", 0, "after")]).await.expect("it writes");
    assert_eq!((found(tier, "k").await.len(), found(tier, "l").await), (0, vec!["after".into()]));
}

async fn what_goes_is_what_was_named(tier: &impl Tier) {
    let puts = ["a", "ab", "b"].map(|key| [put(key, 0, "0"), put(key, 1, "1")]).concat();
    tier.write(&puts).await.expect("it writes");
    tier.write(&[remove("a", None), remove("b", Some(0)), remove("c", None), remove("b", Some(9))])
        .await
        .expect("it writes");
    for (key, left) in [("a", &[][..]), ("ab", &["0", "1"]), ("b", &["1"])] {
        assert_eq!(found(tier, key).await, left, "{key}");
    }
    tier.write(&[Change::Clear]).await.expect("it writes");
    assert_eq!(found(tier, "ab").await, [""; 0]);
}

async fn records_of_any_size_come_back(tier: &impl Tier) {
    for size in [0, 1, 100, 4_096, 65_537, 3 << 20] {
        let record: Vec<u8> = (0..size).map(|at: usize| (at * 31 + at / 251) as u8).collect();
        let change = Change::Put {
            key: Bytes::from_static(b"k"),
            variant: 7,
            record: record.clone().into(),
            keep: HOUR,
            fence: None,
        };
        tier.write(&[change]).await.expect("it writes");
        let found = tier.get(b"k").await.expect("it reads");
        assert!(found.len() == 1 && found[0] == record, "{size}");
    }
}

async fn what_is_of_no_use_any_more_may_go_and_the_rest_stays(tier: &impl Tier) {
    let ended = Change::Put {
        key: "ended".into(),
        variant: 0,
        record: "ended".into(),
        keep: Duration::ZERO,
        fence: None,
    };
    let for_ever = Change::Put {
        key: "stays".into(),
        variant: 0,
        record: "stays".into(),
        keep: Duration::MAX,
        fence: None,
    };
    tier.write(&[ended, for_ever]).await.expect("it writes");
    tier.get(b"ended").await.expect("it reads");
    assert_eq!(found(tier, "stays").await, ["stays"]);
}

async fn notes_are_numbered_in_their_order_and_stay(tier: &impl Tier) {
    assert_eq!(tier.notes().await.expect("it reads").notes, []);
    let mut noted = Vec::new();
    for text in ["first", "", "third"] {
        let number = tier.note(text.into()).await.expect("it notes");
        noted.push((number, Bytes::from(text)));
    }
    tier.write(&[Change::Clear]).await.expect("it writes");
    let known = tier.notes().await.expect("it reads");
    assert_eq!(known.notes, noted);
    let rising = noted.windows(2).all(|pair| pair[0].0 < pair[1].0);
    assert!(rising && noted[0].0 > known.forgotten, "{known:?}");
}

async fn who_reads_meanwhile_finds_what_was_or_what_is(tier: &impl Tier) {
    tier.write(&[put("k", 0, "0")]).await.expect("it writes");
    for round in 1..20 {
        let (now, before) = (round.to_string(), (round - 1).to_string());
        let change = [put("k", 0, &now)];
        let reads = join_all((0..10).map(|_| found(tier, "k")));
        let (written, reads) = join(tier.write(&change), reads).await;
        written.expect("it writes");
        for read in reads {
            assert!(read == [now.clone()] || read == [before.clone()], "{read:?} in {round}");
        }
        assert_eq!(found(tier, "k").await, [now]);
    }
}

async fn a_future_that_is_dropped_breaks_nothing(tier: &impl Tier) {
    for round in 0..20 {
        let text = round.to_string();
        let change = [put("k", 0, &text)];
        drop(tier.write(&change).now_or_never());
        drop(tier.get(b"k").now_or_never());
        drop(tier.note("note".into()).now_or_never());
        tier.write(&change).await.expect("it writes");
        assert_eq!(found(tier, "k").await, [text]);
    }
    let numbers = tier.notes().await.expect("it reads").notes;
    assert!(numbers.windows(2).all(|pair| pair[0].0 < pair[1].0));
}

/// The records of a key, in order.
async fn found(tier: &impl Tier, key: &str) -> Vec<String> {
    let records = tier.get(key.as_bytes()).await.expect("it reads");
    let text = |record: Bytes| String::from_utf8_lossy(&record).into_owned();
    let mut texts: Vec<_> = records.into_iter().map(text).collect();
    texts.sort();
    texts
}

fn put(key: &str, variant: u128, record: &str) -> Change {
    let (key, record) = (key.to_owned().into(), record.to_owned().into());
    Change::Put { key, variant, record, keep: HOUR, fence: None }
}

fn remove(key: &str, variant: Option<u128>) -> Change {
    Change::Remove { key: key.to_owned().into(), variant }
}

const HOUR: Duration = Duration::from_secs(3_600);
