//! Who of several nodes is to fetch.

use std::time::Duration;

use bytes::Bytes;
use tower_edge_cache::{Change, Lease, Tier};
use tower_edge_redis::RedisTier;
use tower_edge_testkit::redis::{Cluster, Server};

use crate::{PATIENCE, found};

fn nodes(url: &str, lasts: Duration) -> [RedisTier; 3] {
    [0, 1, 2].map(|_| {
        let node = RedisTier::new(url).unwrap().prefix("shared").deadline(PATIENCE);
        node.lease_for(lasts).chunks(10)
    })
}

async fn fence(node: &RedisTier, key: &str) -> Option<u64> {
    match node.lease(key.as_bytes()).await.unwrap() {
        Lease::Held { fence, .. } => Some(fence),
        Lease::Taken => None,
    }
}

fn put(key: &str, record: &str, fence: u64) -> Change {
    Change::Put {
        key: Bytes::from(key.to_owned()),
        variant: 0,
        record: record.to_owned().into(),
        keep: Duration::from_secs(600),
        fence: Some(fence),
    }
}

fn release(key: &str, fence: u64) -> Change {
    Change::Release { key: Bytes::from(key.to_owned()), fence }
}

async fn one_node_has_a_lease_at_a_time(url: &str) {
    let [one, other, third] = nodes(url, Duration::from_secs(600));
    let first = fence(&one, "k").await.unwrap();
    assert_eq!(fence(&other, "k").await, None);
    // Who has it keeps it.
    assert_eq!(fence(&one, "k").await, Some(first));
    let elsewhere = fence(&other, "l").await.unwrap();
    third.notes().await.unwrap();
    one.write(&[put("k", "of the first", first), release("k", first)]).await.unwrap();
    // Who waits hears of it.
    while !third.news().await.unwrap().changed.iter().any(|key| key == "k") {}
    let second = fence(&other, "k").await.unwrap();
    assert!(second > first && fence(&one, "k").await.is_none());
    // It has nothing to give back any more, and nothing to put.
    let late = [release("k", first), put("k", "too late, and in chunks", first)];
    one.write(&late).await.unwrap();
    assert_eq!(found(&one, "k").await, ["of the first"]);
    assert_eq!(fence(&third, "k").await, None);
    other.write(&[put("k", "of the second, in chunks", second)]).await.unwrap();
    assert_eq!(found(&one, "k").await, ["of the second, in chunks"]);
    assert_eq!(fence(&other, "l").await, Some(elsewhere));
}

#[tokio::test]
async fn one_node_of_one_redis_has_a_lease_at_a_time() {
    let server = Server::start().await;
    one_node_has_a_lease_at_a_time(&server.url()).await;
    // Of the last put there are three chunks, of the others none.
    let keys = server.cli(&["KEYS", "*:?"]).await;
    assert_eq!(keys.lines().count(), 3, "{keys}");
}

#[tokio::test]
async fn one_node_of_a_cluster_has_a_lease_at_a_time() {
    let cluster = Cluster::start().await;
    one_node_has_a_lease_at_a_time(&cluster.url()).await;
}

#[tokio::test]
async fn a_lease_ends_by_itself_and_its_fence_is_known_for_longer() {
    let server = Server::start().await;
    let [one, other, _] = nodes(&server.url(), Duration::from_millis(20));
    let first = fence(&one, "k").await.unwrap();
    let second = loop {
        if let Some(fence) = fence(&other, "k").await {
            break fence;
        }
    };
    assert!(second > first);
    one.write(&[put("k", "overtaken", first)]).await.unwrap();
    assert_eq!(found(&one, "k").await, [""; 0]);
    // And again for who had it before, though all is forgotten meanwhile.
    server.cli(&["FLUSHALL"]).await;
    assert!(fence(&one, "k").await.unwrap() > second);
}
