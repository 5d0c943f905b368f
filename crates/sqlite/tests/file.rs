//! The tier in a file: the suite of all tiers, and what is its own.

#![expect(clippy::unwrap_used, reason = "a test fails by a panic")]

use std::fs;
use std::path::Path;
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use http::{Request, Response};
use tempfile::TempDir;
use tower::ServiceExt;
use tower_edge_cache::{CacheLayer, Change, Purge, Tier};
use tower_edge_core::Clock;
use tower_edge_sqlite::SqliteTier;
use tower_edge_testkit::{MockBody, Received, Upstream, tier};
use tower_layer::Layer;

fn open(folder: &TempDir) -> SqliteTier {
    SqliteTier::open(folder.path().join("cache.db"), 64 << 20).unwrap()
}

fn put(key: &str, record: Vec<u8>, keep: u64) -> Change {
    let (key, keep) = (Bytes::from(key.to_owned()), Duration::from_secs(keep));
    Change::Put { key, variant: 0, record: record.into(), keep, fence: None }
}

async fn has(tier: &SqliteTier, key: &str) -> bool {
    !tier.get(key.as_bytes()).await.unwrap().is_empty()
}

fn names(folder: &TempDir) -> Vec<String> {
    let name = |entry: fs::DirEntry| entry.file_name().into_string().unwrap();
    let mut names: Vec<_> =
        fs::read_dir(folder.path()).unwrap().map(|e| name(e.unwrap())).collect();
    names.sort();
    names
}

#[tokio::test]
async fn it_passes_the_suite_of_all_tiers() {
    let mut folders = Vec::new();
    let folders = std::sync::Mutex::new(&mut folders);
    tier::all(async || {
        let folder = TempDir::new().unwrap();
        let opened = open(&folder);
        folders.lock().unwrap().push(folder);
        opened
    })
    .await;
}

#[tokio::test]
async fn what_was_written_and_noted_is_there_when_it_is_opened_again() {
    let folder = TempDir::new().unwrap();
    let first = open(&folder);
    first.write(&[put("k", b"record".into(), 60)]).await.unwrap();
    let number = first.note("purge".into()).await.unwrap();
    drop(first);
    let second = open(&folder);
    assert_eq!(second.get(b"k").await.unwrap(), ["record"]);
    let notes = second.notes().await.unwrap();
    assert_eq!((notes.forgotten, notes.notes), (0, vec![(number, Bytes::from("purge"))]));
    assert!(second.note("another".into()).await.unwrap() > number);
    assert_eq!(second.set_aside(), None);
}

#[tokio::test(start_paused = true)]
async fn a_record_is_found_until_it_is_of_no_use_and_then_goes() {
    let folder = TempDir::new().unwrap();
    let clock = Clock::anchored(SystemTime::UNIX_EPOCH + Duration::from_secs(1 << 30));
    let tier = open(&folder).clock(clock);
    tier.write(&[put("short", vec![1; 1 << 20], 10), put("long", vec![2], 20)]).await.unwrap();
    tokio::time::advance(Duration::from_secs(9)).await;
    assert!(has(&tier, "short").await);
    tokio::time::advance(Duration::from_secs(1)).await;
    assert!(!has(&tier, "short").await && has(&tier, "long").await);
    tier.write(&[put("other", vec![3], 20)]).await.unwrap();
    drop(tier);
    // Its place is given back.
    assert!(folder.path().join("cache.db").metadata().unwrap().len() < 1 << 19);
}

#[tokio::test(start_paused = true)]
async fn the_file_stays_within_its_capacity_and_keeps_what_was_used_last() {
    const CAPACITY: u64 = 4 << 20;
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("cache.db");
    let clock = Clock::anchored(SystemTime::UNIX_EPOCH + Duration::from_secs(1 << 30));
    let tier = SqliteTier::open(&path, CAPACITY).unwrap().clock(clock);
    for number in 0..200 {
        let record = vec![number as u8; 50_000];
        tier.write(&[put(&number.to_string(), record, 1 << 20)]).await.unwrap();
        // Longer than what counts as just now.
        tokio::time::advance(Duration::from_secs(61)).await;
        assert!(has(&tier, "0").await, "it is used all the time: {number}");
        assert!(path.metadata().unwrap().len() <= CAPACITY + (1 << 20), "{number}");
    }
    let mut left = 0;
    for number in 0..200 {
        let found = has(&tier, &number.to_string()).await;
        assert!(found || number < 150, "{number} came late");
        left += u32::from(found);
    }
    assert!((50..80).contains(&left), "{left}");
}

#[tokio::test]
async fn a_second_one_is_refused_and_told_what_to_do() {
    let folder = TempDir::new().unwrap();
    let first = open(&folder);
    let path = folder.path().join("cache.db");
    let refused = SqliteTier::open(&path, 1 << 20).unwrap_err().to_string();
    assert!(refused.ends_with("is used by another process: name another file"), "{refused}");
    drop(first);
    SqliteTier::open(&path, 1 << 20).unwrap();
}

#[tokio::test]
async fn a_database_of_something_else_is_not_touched() {
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("cache.db");
    let other = rusqlite::Connection::open(&path).unwrap();
    other.execute_batch("CREATE TABLE accounts (name TEXT)").unwrap();
    drop(other);
    let before = fs::read(&path).unwrap();
    let refused = SqliteTier::open(&path, 1 << 20).unwrap_err().to_string();
    assert!(refused.contains("is a database, but not of a cache"), "{refused}");
    assert_eq!(fs::read(&path).unwrap(), before);
}

#[test]
fn a_place_that_cannot_be_written_is_an_error_with_its_cause() {
    let error = SqliteTier::open(Path::new("/nowhere/at/all.db"), 1 << 20).unwrap_err();
    assert_eq!(error.to_string(), "cannot use the cache file /nowhere/at/all.db");
    assert!(std::error::Error::source(&error).unwrap().to_string().contains("No such file"));
}

#[tokio::test]
async fn a_damaged_file_and_one_of_another_version_are_set_aside() {
    let overwrite = |path: &Path| fs::write(path, b"no database at all, but long enough").unwrap();
    let tear = |path: &Path| {
        let mut bytes = fs::read(path).unwrap();
        bytes[100..4_000].fill(0x5a);
        fs::write(path, bytes).unwrap();
    };
    let update = |path: &Path| {
        let open = rusqlite::Connection::open(path).unwrap();
        open.pragma_update(None, "user_version", 99).unwrap();
    };
    let ways: [&dyn Fn(&Path); 3] = [&overwrite, &tear, &update];
    for (at, damage) in ways.into_iter().enumerate() {
        let folder = TempDir::new().unwrap();
        let first = open(&folder);
        first.write(&[put("k", b"record".into(), 60)]).await.unwrap();
        drop(first);
        damage(&folder.path().join("cache.db"));
        let second = open(&folder);
        assert_eq!(second.set_aside().unwrap(), folder.path().join("cache.db.aside-1"), "{at}");
        assert!(!has(&second, "k").await);
        second.write(&[put("k", b"new".into(), 60)]).await.unwrap();
        drop(second);
        assert!(has(&open(&folder), "k").await);
        assert!(names(&folder).contains(&"cache.db.aside-1".to_owned()));
    }
}

#[tokio::test]
async fn a_file_that_is_damaged_while_it_is_used_is_set_aside_too() {
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("cache.db");
    let tier = open(&folder);
    let number = tier.note("purge".into()).await.unwrap();
    for key in 0..500 {
        tier.write(&[put(&key.to_string(), vec![key as u8; 20_000], 600)]).await.unwrap();
    }
    // All but the first page, in place; what is in memory of it is soon gone.
    let file = fs::OpenOptions::new().write(true).open(&path).unwrap();
    let length = file.metadata().unwrap().len();
    for at in (4_096..length).step_by(4_096) {
        std::os::unix::fs::FileExt::write_all_at(&file, &[0x5a; 4_096], at).unwrap();
    }
    let mut failed = false;
    for key in 0..500 {
        match tier.get(key.to_string().as_bytes()).await {
            Ok(found) => assert!(found.iter().all(|record| record.len() == 20_000)),
            Err(_) => failed = true,
        }
    }
    assert!(failed);
    tier.write(&[put("k", b"new".into(), 60)]).await.ok();
    tier.write(&[put("k", b"new".into(), 60)]).await.unwrap();
    assert_eq!(tier.get(b"k").await.unwrap(), ["new"]);
    let notes = tier.notes().await.unwrap();
    assert_eq!((notes.forgotten, notes.notes), (number, Vec::new()));
    assert!(tier.note("another".into()).await.unwrap() > number);
    assert!(names(&folder).contains(&"cache.db.aside-1".to_owned()));
}

#[tokio::test(start_paused = true)]
async fn a_cache_is_warm_after_a_restart_but_for_what_was_purged() {
    let folder = TempDir::new().unwrap();
    let cache = || {
        let cache = CacheLayer::new(1 << 20).tier(open(&folder));
        let (upstream, origin) = Upstream::new(|number, _| {
            let response = Response::builder().header("cache-control", "max-age=600");
            response.body(MockBody::new().data(format!("call {number}"))).unwrap().into()
        });
        (cache.handle(), origin, cache.layer(upstream))
    };
    let get = |path: &str| Request::get(format!("http://h{path}")).body(MockBody::new()).unwrap();
    let (handle, _, service) = cache();
    for path in ["/a", "/b"] {
        Received::from(service.clone().oneshot(get(path)).await.unwrap().into_body()).await;
    }
    handle.purge(&"http://h/b".parse().unwrap(), Purge::Hard);
    handle.flush().await.unwrap();
    drop((handle, service));
    // So that the task ends which would have written.
    tokio::time::sleep(Duration::from_millis(1)).await;
    let (_, origin, service) = cache();
    let got = service.clone().oneshot(get("/a")).await.unwrap();
    assert_eq!(Received::from(got.into_body()).await.bytes(), "call 0");
    assert_eq!(origin.calls(), 0);
    Received::from(service.oneshot(get("/b")).await.unwrap().into_body()).await;
    assert_eq!(origin.calls(), 1);
}
