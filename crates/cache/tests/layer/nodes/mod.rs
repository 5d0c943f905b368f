//! Caches that share a tier: what one of them does, and what the others answer.

mod leases;
mod story;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use http::Uri;
use tower_edge_cache::{OnOutage, Purge};
use tower_edge_core::RequestHead;
use tower_edge_testkit::{Answer, Gate};

use crate::hub::{BEAT, Hub, Node, SILENCE};
use crate::play::{Got, Play, answer, cache, request, tasks};

const FRESH: (&str, &str) = ("cache-control", "max-age=600, stale-if-error=600");

/// Nodes before one origin, whose pages all have the same version.
struct Nodes {
    hub: Hub,
    lines: Vec<Node>,
    plays: Vec<Play>,
    version: Arc<AtomicU64>,
    /// Whether the origin fails.
    fails: Arc<AtomicU64>,
}

impl Nodes {
    fn new(count: usize) -> Self {
        Self::with(count, OnOutage::Miss)
    }

    fn with(count: usize, on_outage: OnOutage) -> Self {
        let (hub, version, fails) = (Hub::default(), Arc::default(), Arc::default());
        let lines: Vec<_> = (0..count).map(|id| hub.node(id)).collect();
        let play = |line: &Node| {
            let layer = cache().tier(line.clone()).on_outage(on_outage);
            Play::with(layer, origin(&version, &fails))
        };
        let plays = lines.iter().map(play).collect();
        Self { hub, lines, plays, version, fails }
    }

    async fn ask(&self, node: usize, target: &str) -> Got {
        let got = self.plays[node].ask(request("GET", target, &[])).await;
        tasks().await;
        got
    }

    /// What a client of a node gets, and what the cache did for that.
    async fn get(&self, node: usize) -> (String, String) {
        let got = self.ask(node, "/").await;
        (got.text(), got.did().to_owned())
    }

    fn change(&self) {
        self.version.fetch_add(1, Ordering::Relaxed);
    }

    /// Purges on a node; whether all others will know of it.
    async fn purge(&self, node: usize, purge: Purge) -> bool {
        let cache = &self.plays[node].cache;
        cache.purge(&Uri::from_static("http://origin.example/"), purge);
        let told = cache.flush().await;
        tasks().await;
        told.is_ok()
    }

    fn calls(&self) -> u64 {
        self.plays.iter().map(|play| play.origin.calls()).sum()
    }
}

fn origin(
    version: &Arc<AtomicU64>,
    fails: &Arc<AtomicU64>,
) -> impl FnMut(u64, &RequestHead<'_>) -> Answer + Send + 'static {
    let (version, fails) = (version.clone(), fails.clone());
    move |_, request| {
        let version = version.load(Ordering::Relaxed);
        let tag = format!("\"{version}\"");
        if fails.load(Ordering::Relaxed) > 0 {
            return answer(500, &[], "failed");
        }
        if request.method() == "POST" {
            return answer(204, &[], "");
        }
        let known = request.headers().get("if-none-match");
        match known.is_some_and(|known| known == tag.as_str()) {
            true => answer(304, &[FRESH, ("etag", &tag)], ""),
            false => answer(200, &[FRESH, ("etag", &tag)], &format!("version {version}")),
        }
    }
}

fn pair(text: &str, did: &str) -> (String, String) {
    (text.to_owned(), did.to_owned())
}

const MISS: &str = "fwd=uri-miss; stored";

#[tokio::test(start_paused = true)]
async fn what_one_node_has_fetched_the_others_have() {
    let nodes = Nodes::new(3);
    assert_eq!(nodes.get(0).await, pair("version 0", MISS));
    for node in [1, 2, 1, 0] {
        assert_eq!(nodes.get(node).await, pair("version 0", "hit"));
    }
    // Who is to fetch looks once more, when nobody else is at it.
    assert_eq!((nodes.calls(), nodes.hub.gets()), (1, 4));
}

#[tokio::test(start_paused = true)]
async fn however_many_begin_at_once_one_listens() {
    let nodes = Arc::new(Nodes::new(1));
    let client = |page| {
        let nodes = nodes.clone();
        tokio::spawn(async move { nodes.ask(0, &format!("/{page}")).await })
    };
    for client in (0..50).map(client).collect::<Vec<_>>() {
        assert_eq!(client.await.unwrap().did(), MISS);
    }
    tokio::time::sleep(3 * BEAT).await;
    assert_eq!(nodes.hub.listeners(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_purge_on_one_node_takes_from_the_memory_of_all() {
    for purge in [Purge::Hard, Purge::Soft] {
        let nodes = Nodes::new(3);
        for node in 0..3 {
            nodes.get(node).await;
        }
        nodes.change();
        assert!(nodes.purge(1, purge).await);
        for node in [2, 0, 1] {
            assert_eq!(nodes.get(node).await.0, "version 1", "{purge:?} {node}");
        }
        // Who was first has shared it: what came after the purge is good.
        assert_eq!(nodes.calls(), 2, "{purge:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn an_unsafe_request_to_one_node_takes_from_the_memory_of_all() {
    let nodes = Nodes::new(2);
    nodes.get(0).await;
    nodes.get(1).await;
    nodes.change();
    nodes.plays[0].ask(request("POST", "/", &[])).await;
    tasks().await;
    assert_eq!(nodes.get(1).await.0, "version 1");
    assert_eq!(nodes.get(0).await, pair("version 1", "hit"));
}

#[tokio::test(start_paused = true)]
async fn a_newer_response_of_one_node_comes_to_all() {
    let nodes = Nodes::new(2);
    nodes.get(0).await;
    nodes.get(1).await;
    nodes.change();
    // A client who wants no other makes the first node ask.
    nodes.plays[0].get(&[("cache-control", "no-cache")]).await;
    tasks().await;
    assert_eq!(nodes.get(1).await, pair("version 1", "hit"));
    assert_eq!(nodes.calls(), 2);
}

#[tokio::test(start_paused = true)]
async fn what_was_asked_for_before_a_purge_elsewhere_is_believed_by_nobody() {
    let nodes = Nodes::new(2);
    // Both hear each other.
    for node in 0..2 {
        nodes.ask(node, "/other").await;
    }
    let gate = Gate::closed();
    let (held, version) = (gate.clone(), nodes.version.clone());
    let slow = Play::with(cache().tier(nodes.hub.node(2)), move |_, _| {
        let body = format!("version {}", version.load(Ordering::Relaxed));
        answer(200, &[FRESH], &body).hold(&held)
    });
    let early = tokio::spawn(async move { (slow.get(&[]).await.text(), slow) });
    tasks().await;
    nodes.change();
    assert!(nodes.purge(0, Purge::Hard).await);
    gate.open();
    let (got, slow) = early.await.unwrap();
    assert_eq!(got, "version 0");
    slow.cache.flush().await.unwrap();
    tasks().await;
    for node in 0..2 {
        assert_eq!(nodes.get(node).await.0, "version 1");
    }
    assert_eq!(slow.get(&[]).await.text(), "version 1");
}

#[tokio::test(start_paused = true)]
async fn who_hears_nothing_asks_the_origin_about_what_it_has() {
    let nodes = Nodes::new(2);
    nodes.get(0).await;
    nodes.get(1).await;
    nodes.lines[1].cut(true);
    tasks().await;
    assert_eq!(nodes.get(1).await, pair("version 0", "fwd=stale; fwd-status=304"));
    nodes.change();
    assert!(nodes.purge(0, Purge::Hard).await);
    nodes.fails.store(1, Ordering::Relaxed);
    // It may have been purged: nothing stands in for the error.
    assert_eq!(nodes.ask(1, "/").await.status, 500);
    nodes.fails.store(0, Ordering::Relaxed);
    assert_eq!(nodes.get(1).await.0, "version 1");
    nodes.lines[1].cut(false);
    tokio::time::sleep(20 * BEAT).await;
    assert_eq!(nodes.get(1).await.0, "version 1");
    assert_eq!(nodes.get(1).await.1, "hit");
}

#[tokio::test(start_paused = true)]
async fn who_gets_no_turn_to_hear_believes_what_it_has_for_a_while_only() {
    let nodes = Nodes::new(2);
    nodes.get(0).await;
    nodes.get(1).await;
    nodes.lines[1].deafen();
    nodes.change();
    assert!(nodes.purge(0, Purge::Hard).await);
    assert_eq!(nodes.get(1).await, pair("version 0", "hit"));
    tokio::time::sleep(SILENCE + Duration::from_millis(1)).await;
    assert_eq!(nodes.get(1).await.0, "version 1");
    nodes.change();
    assert_eq!(nodes.get(1).await.0, "version 2");
}

#[tokio::test(start_paused = true)]
async fn who_has_missed_nothing_believes_what_it_has_again() {
    let nodes = Nodes::new(2);
    nodes.get(0).await;
    nodes.get(1).await;
    nodes.lines[1].cut(true);
    tasks().await;
    nodes.lines[1].cut(false);
    tokio::time::sleep(20 * BEAT).await;
    let gets = nodes.hub.gets();
    assert_eq!(nodes.get(1).await, pair("version 0", "hit"));
    assert_eq!((nodes.hub.gets(), nodes.calls()), (gets, 1));
}

#[tokio::test(start_paused = true)]
async fn who_has_missed_something_believes_nothing_that_it_has() {
    let nodes = Nodes::new(2);
    nodes.get(0).await;
    nodes.get(1).await;
    nodes.lines[1].cut(true);
    tasks().await;
    nodes.change();
    assert!(nodes.purge(0, Purge::Hard).await);
    nodes.hub.trim();
    nodes.lines[1].cut(false);
    tokio::time::sleep(20 * BEAT).await;
    assert_eq!(nodes.plays[1].cache.stats().entries, 0);
    assert_eq!(nodes.get(1).await, pair("version 1", MISS));
    assert_eq!(nodes.get(0).await, pair("version 1", "hit"));
}

#[tokio::test(start_paused = true)]
async fn an_operator_may_prefer_what_may_be_purged() {
    let nodes = Nodes::with(2, OnOutage::Stale);
    nodes.get(0).await;
    nodes.get(1).await;
    nodes.lines[1].cut(true);
    tasks().await;
    nodes.change();
    assert!(nodes.purge(0, Purge::Hard).await);
    assert_eq!(nodes.get(1).await, pair("version 0", "hit"));
    nodes.lines[1].cut(false);
    tokio::time::sleep(20 * BEAT).await;
    assert_eq!(nodes.get(1).await.0, "version 1");
}

#[tokio::test(start_paused = true)]
async fn what_cannot_be_told_is_told_when_the_line_is_back() {
    let nodes = Nodes::new(2);
    nodes.get(1).await;
    nodes.lines[0].cut(true);
    tasks().await;
    nodes.change();
    assert!(!nodes.purge(0, Purge::Hard).await);
    assert_eq!(nodes.get(0).await.0, "version 1");
    nodes.lines[0].cut(false);
    tokio::time::sleep(20 * BEAT).await;
    tasks().await;
    assert_eq!(nodes.get(1).await.0, "version 1");
}

#[tokio::test(start_paused = true)]
async fn a_purge_that_is_told_late_is_about_what_was_fetched_before_it() {
    let nodes = Nodes::new(3);
    nodes.get(2).await;
    nodes.lines[2].cut(true);
    tasks().await;
    nodes.change();
    assert!(nodes.purge(0, Purge::Hard).await);
    nodes.get(0).await;
    nodes.change();
    assert!(!nodes.purge(2, Purge::Hard).await);
    // It hears of the other purge before its own is noted.
    nodes.lines[2].noting.close();
    nodes.lines[2].cut(false);
    tokio::time::sleep(20 * BEAT).await;
    assert_eq!(nodes.get(2).await.0, "version 2");
    nodes.lines[2].noting.open();
    tokio::time::sleep(BEAT).await;
    nodes.change();
    for node in [2, 1, 0] {
        assert_ne!(nodes.get(node).await.0, "version 1", "{node}");
    }
}

#[tokio::test(start_paused = true)]
async fn what_another_wrote_before_ones_own_purge_is_gone_when_that_is_noted() {
    let nodes = Nodes::new(2);
    nodes.get(1).await;
    nodes.lines[1].cut(true);
    tasks().await;
    nodes.change();
    assert!(nodes.purge(0, Purge::Hard).await);
    nodes.get(0).await;
    nodes.change();
    assert!(!nodes.purge(1, Purge::Hard).await);
    nodes.lines[1].cut(false);
    tokio::time::sleep(20 * BEAT).await;
    assert_eq!(nodes.get(1).await.0, "version 2");
}

#[tokio::test(start_paused = true)]
async fn nobody_listens_for_a_cache_that_is_gone() {
    let nodes = Nodes::new(2);
    nodes.get(0).await;
    nodes.get(1).await;
    let (hub, before) = (nodes.hub.clone(), nodes.hub.nodes());
    drop(nodes);
    tokio::time::sleep(2 * BEAT).await;
    assert!(hub.nodes() <= 1, "{} of {before}", hub.nodes());
}
