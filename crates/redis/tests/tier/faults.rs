//! What happens when Redis, or the way there, fails.

use std::time::{Duration, Instant, SystemTime};

use bytes::Bytes;
use tower_edge_breaker::State;
use tower_edge_cache::{Change, Tier};
use tower_edge_core::Clock;
use tower_edge_redis::RedisTier;
use tower_edge_testkit::line::{Fault, Line};
use tower_edge_testkit::redis::{Cluster, Server};

use crate::{found, put, remove, tier};

/// A clock that follows tokio's, and what it shows.
fn now() -> (Clock, Instant) {
    let clock = Clock::anchored(SystemTime::UNIX_EPOCH);
    (clock, clock.now())
}

async fn until_open(tier: &RedisTier) {
    while tier.handle().breaker().snapshot().state != State::Open {
        drop(tier.get(b"k").await);
    }
}

async fn until_it_works(tier: &RedisTier) {
    while tier.get(b"k").await.is_err() {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

#[tokio::test]
async fn a_tier_is_there_before_redis_is_and_finds_it_by_itself() {
    let mut server = Server::start().await;
    server.kill().await;
    let tier = tier(&server.url());
    for _ in 0..5 {
        assert!(tier.get(b"k").await.is_err());
    }
    assert_eq!(tier.handle().breaker().snapshot().state, State::Open);
    server.restart().await;
    // By a health check: no request has to try.
    while tier.handle().breaker().snapshot().state != State::Closed {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    tier.write(&[put("k", 0, "record")]).await.unwrap();
    assert_eq!(found(&tier, "k").await, ["record"]);
}

#[tokio::test]
async fn while_the_circuit_is_open_nobody_waits_and_redis_is_not_asked() {
    let server = Server::start().await;
    let tier = tier(&server.url()).deadline(Duration::from_millis(50));
    until_it_works(&tier).await;
    server.signal("STOP").await;
    until_open(&tier).await;
    tokio::time::pause();
    let (clock, before) = now();
    for _ in 0..1_000 {
        let error = tier.get(b"k").await.unwrap_err();
        assert_eq!(error.to_string(), "the circuit is open");
        assert!(tier.write(&[put("k", 0, "r")]).await.is_err());
        assert!(tier.notes().await.is_err() && tier.note("n".into()).await.is_err());
    }
    assert_eq!(clock.since(before), Duration::ZERO);
    tokio::time::resume();
    server.signal("CONT").await;
    until_it_works(&tier).await;
}

#[tokio::test]
async fn no_look_takes_longer_than_its_deadline() {
    let server = Server::start().await;
    let line = Line::to(server.address()).await;
    let url = format!("redis://{}", line.address());
    let tier = tier(&url).deadline(Duration::from_millis(50));
    for fault in [Fault::Silent, Fault::Late(Duration::from_secs(60))] {
        until_it_works(&tier).await;
        line.set(fault);
        // In time that goes on only where all wait.
        tokio::time::pause();
        while tier.handle().breaker().snapshot().state != State::Open {
            let (clock, before) = now();
            assert!(tier.get(b"k").await.is_err());
            let took = clock.since(before);
            assert!(took <= Duration::from_millis(60), "{took:?}");
        }
        tokio::time::resume();
        line.set(Fault::None);
        line.cut();
    }
}

#[tokio::test]
async fn a_connection_that_falls_silent_is_replaced_and_late_answers_are_nobodys() {
    let server = Server::start().await;
    let line = Line::to(server.address()).await;
    let url = format!("redis://{}", line.address());
    let tier = tier(&url).deadline(Duration::from_millis(200));
    let keys: Vec<_> = (0..10).map(|number| number.to_string()).collect();
    let puts: Vec<_> = keys.iter().map(|key| put(key, 0, key.clone())).collect();
    until_it_works(&tier).await;
    tier.write(&puts).await.unwrap();
    line.set(Fault::Late(Duration::from_millis(150)));
    for _ in 0..5 {
        for key in &keys {
            let found = tier.get(key.as_bytes()).await.unwrap_or_default();
            assert!(found.iter().all(|record| record == key), "{key}: {found:?}");
        }
    }
    line.set(Fault::Silent);
    until_open(&tier).await;
    line.set(Fault::None);
    until_it_works(&tier).await;
    for key in &keys {
        assert_eq!(found(&tier, key).await, [&**key]);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn torn_and_garbled_answers_are_never_a_record_of_another_key() {
    let server = Server::start().await;
    let line = Line::to(server.address()).await;
    let url = format!("redis://{}", line.address());
    let tier = tier(&url).deadline(Duration::from_millis(100)).chunks(1_000);
    let text = |key: usize| format!("{key:04}").repeat(200 + 100 * (key % 5));
    let puts: Vec<_> = (0..50).map(|key| put(&key.to_string(), 0, text(key))).collect();
    until_it_works(&tier).await;
    tier.write(&puts).await.unwrap();
    let (mut whole, mut failed) = (0, 0);
    for round in 0..30 {
        line.set(match round % 3 {
            0 => Fault::Garbled(1_009 + round),
            1 => Fault::Torn,
            _ => Fault::None,
        });
        if round % 3 == 2 {
            until_it_works(&tier).await;
        }
        for key in 0..50 {
            match tier.get(key.to_string().as_bytes()).await {
                Ok(records) => {
                    for record in records {
                        // What is in it may be garbled: the checksum of the cache tells.
                        let right = text(key);
                        let pairs = record.iter().zip(right.as_bytes());
                        let same = pairs.filter(|(one, other)| one == other).count();
                        assert!(same * 10 > right.len() * 9, "{key}: {record:?}");
                        whole += 1;
                    }
                }
                Err(_) => failed += 1,
            }
        }
    }
    assert!(whole > 300 && failed > 10, "{whole} {failed}");
    line.set(Fault::None);
    line.cut();
    tokio::time::sleep(Duration::from_millis(1)).await;
    until_it_works(&tier).await;
    for key in 0..50 {
        while found_or_none(&tier, key).await.as_deref() != Some(text(key).as_bytes()) {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }
}

async fn found_or_none(tier: &RedisTier, key: usize) -> Option<Bytes> {
    tier.get(key.to_string().as_bytes()).await.ok()?.pop()
}

#[tokio::test]
async fn a_write_that_was_given_up_undoes_nothing_when_it_comes_late() {
    let server = Server::start().await;
    let line = Line::to(server.address()).await;
    let tier = tier(&format!("redis://{}", line.address()));
    tier.write(&[put("k", 0, "first")]).await.unwrap();
    line.hold();
    tokio::time::pause();
    // Three times, and the connection is replaced.
    for _ in 0..3 {
        assert!(tier.write(&[put("k", 0, "late"), put("l", 0, "late")]).await.is_err());
    }
    tokio::time::resume();
    tier.write(&[remove("k"), put("l", 0, "last")]).await.unwrap();
    let evals = async || {
        let stats = server.cli(&["INFO", "commandstats"]).await;
        let evals = stats.lines().find_map(|line| line.strip_prefix("cmdstat_eval:calls="));
        evals.map_or(0, |calls| calls.split(',').next().unwrap().parse::<u32>().unwrap())
    };
    let before = evals().await;
    line.release();
    // Two of each write.
    while evals().await < before + 6 {}
    assert_eq!(found(&tier, "k").await, [""; 0]);
    assert_eq!(found(&tier, "l").await, ["last"]);
}

#[tokio::test]
async fn what_is_removed_goes_where_there_is_no_memory_left() {
    let server = Server::start().await;
    let tier = tier(&server.url());
    tier.write(&[put("k", 0, "record")]).await.unwrap();
    server.cli(&["CONFIG", "SET", "maxmemory", "1"]).await;
    let error = tier.write(&[put("l", 0, "record")]).await.unwrap_err().to_string();
    assert!(error.contains("OOM"), "{error}");
    assert_eq!(found(&tier, "k").await, ["record"]);
    tier.write(&[remove("k")]).await.unwrap();
    assert_eq!(found(&tier, "k").await, [""; 0]);
    // Redis is well: it has answered.
    for _ in 0..20 {
        assert!(tier.write(&[put("l", 0, "record")]).await.is_err());
    }
    assert_eq!(tier.handle().breaker().snapshot().state, State::Closed);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn when_a_master_of_a_cluster_is_killed_the_others_answer() {
    let mut cluster = Cluster::start().await;
    let tier = tier(&cluster.url()).deadline(Duration::from_millis(100));
    until_it_works(&tier).await;
    let keys: Vec<_> = (0..60).map(|number| number.to_string()).collect();
    let puts: Vec<_> = keys.iter().map(|key| put(key, 0, key.clone())).collect();
    tier.write(&puts).await.unwrap();
    cluster.nodes[2].kill().await;
    let (mut hits, mut rounds) = (0, 0);
    while hits < 100 {
        rounds += 1;
        assert!(rounds < 1_000, "{hits}");
        for key in &keys {
            let found = tier.get(key.as_bytes()).await.unwrap_or_default();
            assert!(found.iter().all(|record| record == key), "{key}: {found:?}");
            hits += found.len();
        }
    }
    cluster.nodes[2].restart().await;
    let all: Vec<Change> = puts;
    while tier.write(&all).await.is_err() {
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}
