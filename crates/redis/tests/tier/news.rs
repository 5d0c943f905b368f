//! What nodes hear of each other.

use std::time::Duration;

use bytes::Bytes;
use tower_edge_cache::{Change, News, Tier};
use tower_edge_redis::RedisTier;
use tower_edge_testkit::line::{Fault, Line};
use tower_edge_testkit::redis::{Cluster, Server};

use crate::{PATIENCE, put, remove};

/// A node among others, which has read the notes.
async fn node(url: &str) -> RedisTier {
    let node = RedisTier::new(url).unwrap().prefix("shared").deadline(PATIENCE);
    node.notes().await.unwrap();
    node
}

/// All there is of news, until there is none any more.
async fn heard(node: &RedisTier) -> News {
    let mut all = News::default();
    loop {
        let news = node.news().await.unwrap();
        if news == News::default() {
            return all;
        }
        all.missed |= news.missed;
        all.changed.extend(news.changed);
        all.notes.extend(news.notes);
    }
}

async fn nodes_hear_of_each_other(url: &str) {
    let (one, other) = (node(url).await, node(url).await);
    assert_eq!(heard(&one).await, News::default());
    one.write(&[put("a", 0, "1"), put("a", 1, "2"), remove("b")]).await.unwrap();
    let first = one.note("first".into()).await.unwrap();
    let second = other.note("second".into()).await.unwrap();
    let (mut at_one, mut at_other) = (heard(&one).await, heard(&other).await);
    at_other.changed.sort();
    assert_eq!(at_other.changed, ["a", "b"]);
    at_one.changed.sort();
    assert_eq!(at_one.changed, [""; 0], "it knows what it has done");
    let (note, text) = (|number| (number, None), |text: &str| Some(Bytes::from(text.to_owned())));
    assert_eq!(at_one.notes, [note(first), (second, text("second"))]);
    assert_eq!(at_other.notes, [(first, text("first")), note(second)]);
    assert!(!at_one.missed && !at_other.missed);
    one.write(&[Change::Clear]).await.unwrap();
    assert!(heard(&other).await.missed);
}

#[tokio::test]
async fn nodes_of_one_redis_hear_of_each_other() {
    let server = Server::start().await;
    nodes_hear_of_each_other(&server.url()).await;
}

#[tokio::test]
async fn nodes_of_a_cluster_hear_of_each_other() {
    let cluster = Cluster::start().await;
    nodes_hear_of_each_other(&cluster.url()).await;
}

#[tokio::test]
async fn news_come_at_once_and_in_order_however_many() {
    let server = Server::start().await;
    let (one, other) = (node(&server.url()).await, node(&server.url()).await);
    let keys: Vec<_> = (0..2_000).map(|number| format!("{number:0>200}")).collect();
    let all: Vec<_> = keys.iter().map(|key| put(key, 0, "r")).collect();
    let mut numbers = Vec::new();
    for some in all.chunks(100) {
        one.write(some).await.unwrap();
        numbers.push(one.note("n".into()).await.unwrap());
    }
    let mut news = heard(&other).await;
    news.changed.sort();
    assert_eq!(news.changed, keys);
    assert!(news.notes.iter().map(|(number, _)| *number).eq(numbers) && !news.missed);
}

#[tokio::test]
async fn what_was_dropped_before_it_was_told_is_missed() {
    let server = Server::start().await;
    for stream in ["notes", "changes"] {
        let (one, other) = (node(&server.url()).await, node(&server.url()).await);
        for _ in 0..3 {
            one.note("n".into()).await.unwrap();
            one.write(&[put("k", 0, "r")]).await.unwrap();
        }
        let name = format!("shared:{{log}}:{stream}");
        server.cli(&["XTRIM", &name, "MAXLEN", "1"]).await;
        assert!(other.news().await.unwrap().missed, "{stream}");
    }
}

#[tokio::test]
async fn a_log_that_was_lost_is_missed_whatever_has_come_since() {
    let server = Server::start().await;
    for how in ["FLUSHALL", "DEL shared:{log}:notes", "DEL shared:{log}:changes"] {
        let how: Vec<_> = how.split(' ').collect();
        for with_more in [false, true] {
            let (one, other) = (node(&server.url()).await, node(&server.url()).await);
            one.note("before".into()).await.unwrap();
            heard(&other).await;
            server.cli(&how).await;
            if with_more {
                one.note("after".into()).await.unwrap();
                one.write(&[put("k", 0, "r")]).await.unwrap();
            }
            assert!(other.news().await.unwrap().missed, "{how:?} {with_more}");
            other.notes().await.unwrap();
            assert_eq!(heard(&other).await, News::default());
        }
    }
}

#[tokio::test]
async fn what_a_fail_over_has_lost_is_missed_by_who_had_heard_of_it() {
    let mut cluster = Cluster::with_replicas().await;
    let (url, master) = (cluster.url(), cluster.master_of("{log}").await);
    let (one, other) = (node(&url).await, node(&url).await);
    let kept = one.note("kept".into()).await.unwrap();
    assert_eq!(heard(&other).await.notes.len(), 1);
    cluster.replicated(master).await;
    cluster.replicas[master].signal("STOP").await;
    // Or it would find what comes now in its buffer.
    cluster.nodes[master].cli(&["CLIENT", "KILL", "TYPE", "replica"]).await;
    one.note("lost".into()).await.unwrap();
    assert_eq!(heard(&other).await.notes.len(), 1);
    cluster.nodes[master].kill().await;
    cluster.replicas[master].signal("CONT").await;
    while !cluster.has_failed_over(master).await {}
    let missed = loop {
        if let Ok(news) = other.news().await {
            break news.missed;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    };
    assert!(missed);
    let notes = other.notes().await.unwrap();
    assert_eq!(notes.notes, [(kept, Bytes::from("kept"))]);
    let after = one.note("after".into()).await.unwrap();
    assert_eq!(heard(&other).await.notes, [(after, Some(Bytes::from("after")))]);
}

#[tokio::test]
async fn who_has_not_read_the_notes_may_have_missed_something() {
    let server = Server::start().await;
    let node = RedisTier::new(&server.url()).unwrap().deadline(PATIENCE);
    assert!(node.news().await.unwrap().missed);
}

#[tokio::test]
async fn a_line_that_falls_silent_is_an_error_and_what_was_missed_is_told_then() {
    let server = Server::start().await;
    let line = Line::to(server.address()).await;
    let [url, direct] = [line.address(), server.address()].map(|at| format!("redis://{at}"));
    let (one, other) = (node(&direct).await, node(&url).await);
    heard(&other).await;
    line.set(Fault::Silent);
    one.note("meanwhile".into()).await.unwrap();
    tokio::time::pause();
    assert!(other.news().await.is_err());
    tokio::time::resume();
    line.set(Fault::None);
    assert_eq!(heard(&other).await.notes.len(), 1);
    // News that are dropped come again.
    one.note("again".into()).await.unwrap();
    let soon = tokio::time::timeout(Duration::from_nanos(1), other.news()).await;
    let told = soon.map_or(0, |news| news.unwrap().notes.len());
    assert_eq!(told + heard(&other).await.notes.len(), 1);
}
