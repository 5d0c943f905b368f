//! Caches that share a tier: what one of them does, and what the others answer.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use http::Uri;
use proptest::prelude::*;
use tokio::task::JoinHandle;
use tower_edge_cache::{OnOutage, Purge};
use tower_edge_core::{Clock, RequestHead};
use tower_edge_testkit::{Answer, Gate};

use crate::hub::{BEAT, Hub, LEASE, Node};
use crate::play::{Got, Play, answer, cache, request, seconds, start, tasks};

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

    /// As [`get`](Self::get), while the test goes on.
    fn begin(self: &Arc<Self>, node: usize) -> JoinHandle<(String, String)> {
        let nodes = self.clone();
        tokio::spawn(async move { nodes.get(node).await })
    }

    /// Lets clients of all nodes ask for a page at once; what they get.
    async fn ask_all(self: &Arc<Self>) -> Vec<String> {
        let mut texts = Vec::new();
        for client in (0..self.plays.len()).map(|node| self.begin(node)).collect::<Vec<_>>() {
            texts.push(client.await.unwrap().0);
        }
        texts
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

/// Nodes whose origin answers when a gate is open, with fields of its own.
fn gated(count: usize, fields: &'static [(&str, &str)]) -> (Arc<Nodes>, Gate) {
    let (mut nodes, gate) = (Nodes::new(count), Gate::opened());
    nodes.plays = nodes
        .lines
        .iter()
        .map(|line| {
            let (gate, version) = (gate.clone(), nodes.version.clone());
            Play::with(cache().tier(line.clone()), move |_, _| {
                let version = version.load(Ordering::Relaxed);
                answer(200, fields, &format!("version {version}")).hold(&gate)
            })
        })
        .collect();
    (Arc::new(nodes), gate)
}

#[tokio::test(start_paused = true)]
async fn one_node_fetches_what_all_want() {
    let (nodes, gate) = gated(5, &[FRESH]);
    gate.close();
    let all = tokio::spawn({
        let nodes = nodes.clone();
        async move { nodes.ask_all().await }
    });
    tasks().await;
    gate.open();
    assert_eq!(all.await.unwrap(), ["version 0"; 5]);
    assert_eq!(nodes.calls(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_lease_is_kept_while_the_origin_takes_its_time() {
    let (nodes, gate) = gated(2, &[FRESH]);
    gate.close();
    let first = nodes.begin(0);
    tasks().await;
    tokio::time::sleep(LEASE * 3 / 2).await;
    let second = nodes.begin(1);
    tokio::time::sleep(LEASE / 2).await;
    assert_eq!(nodes.calls(), 1);
    gate.open();
    assert_eq!(
        (first.await.unwrap().0, second.await.unwrap().1),
        ("version 0".into(), "hit".into())
    );
}

#[tokio::test(start_paused = true)]
async fn when_its_holder_dies_another_fetches() {
    let (nodes, gate) = gated(2, &[FRESH]);
    gate.close();
    let first = nodes.begin(0);
    tasks().await;
    nodes.lines[0].cut(true);
    first.abort();
    let begun = Clock::anchored(start()).now();
    gate.open();
    assert_eq!(nodes.get(1).await, pair("version 0", MISS));
    assert!(Clock::anchored(start()).since(begun) <= LEASE + Duration::from_millis(500));
}

#[tokio::test(start_paused = true)]
async fn what_is_not_stored_holds_nobody_up() {
    let (nodes, _) = gated(4, &[("cache-control", "no-store")]);
    let begun = Clock::anchored(start()).now();
    assert_eq!(nodes.ask_all().await, ["version 0"; 4]);
    assert_eq!(nodes.calls(), 4);
    assert!(Clock::anchored(start()).since(begun) < Duration::from_millis(500));
}

#[tokio::test(start_paused = true)]
async fn who_was_overtaken_writes_nothing() {
    let (nodes, gate) = gated(3, &[FRESH]);
    gate.close();
    let first = nodes.begin(0);
    tasks().await;
    // It is held up, and another goes on, with what is newer.
    nodes.lines[0].cut(true);
    tokio::time::sleep(LEASE).await;
    nodes.change();
    let second = nodes.begin(1);
    tasks().await;
    gate.open();
    assert_eq!(second.await.unwrap().0, "version 1");
    nodes.lines[0].cut(false);
    assert_eq!(first.await.unwrap().0, "version 0");
    tokio::time::sleep(20 * BEAT).await;
    assert_eq!(nodes.get(2).await, pair("version 1", "hit"));
}

#[tokio::test(start_paused = true)]
async fn one_node_refreshes_what_is_stale_for_all() {
    let (nodes, gate) = gated(4, &[("cache-control", "max-age=10, stale-while-revalidate=60")]);
    nodes.ask_all().await;
    for node in 0..4 {
        nodes.get(node).await;
    }
    let before = nodes.calls();
    seconds(15).await;
    nodes.change();
    gate.close();
    assert_eq!(nodes.ask_all().await, ["version 0"; 4]);
    gate.open();
    tasks().await;
    assert_eq!(nodes.ask_all().await, ["version 1"; 4]);
    assert_eq!((before, nodes.calls()), (1, 2));
}

#[derive(Clone, Debug)]
enum Step {
    Ask(usize),
    /// The origin changes, and a node is told to purge what it has.
    Change(usize, Purge),
    /// A client of a node changes the origin.
    Post(usize),
    Cut(usize),
    Heal(usize),
    Trim,
    Wait,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let node = || 0..3_usize;
    let purge = || prop_oneof![Just(Purge::Hard), Just(Purge::Soft)];
    let step = prop_oneof![
        8 => node().prop_map(Step::Ask),
        3 => (node(), purge()).prop_map(|(node, purge)| Step::Change(node, purge)),
        1 => node().prop_map(Step::Post),
        1 => node().prop_map(Step::Cut),
        2 => node().prop_map(Step::Heal),
        1 => Just(Step::Trim),
        1 => Just(Step::Wait),
    ];
    prop::collection::vec(step, 1..60)
}

/// Plays a story: whoever is asked gives what was there at the last change that all
/// could know of, or something newer.
async fn play(steps: Vec<Step>) -> Result<(), TestCaseError> {
    let nodes = Nodes::new(3);
    let (mut least, mut cut) = ([0; 3], [false; 3]);
    for step in steps {
        let now = nodes.version.load(Ordering::Relaxed);
        match step {
            Step::Ask(node) => {
                let text = nodes.get(node).await.0;
                let version: u64 = text.strip_prefix("version ").unwrap().parse().unwrap();
                prop_assert!(version >= least[node], "{version} of {least:?} by {node}");
                prop_assert!(version == now || !cut[node], "{version} of {now} by {node}");
            }
            Step::Change(node, purge) => {
                nodes.change();
                match nodes.purge(node, purge).await {
                    true => least = [now + 1; 3],
                    false => least[node] = now + 1,
                }
            }
            Step::Post(node) => {
                nodes.change();
                nodes.plays[node].ask(request("POST", "/", &[])).await;
                tasks().await;
                least[node] = now + 1;
            }
            Step::Cut(node) => {
                nodes.lines[node].cut(true);
                cut[node] = true;
                tasks().await;
            }
            Step::Heal(node) => {
                nodes.lines[node].cut(false);
                tokio::time::sleep(20 * BEAT).await;
                tasks().await;
                cut[node] = false;
            }
            Step::Trim => nodes.hub.trim(),
            Step::Wait => tokio::time::sleep(BEAT).await,
        }
    }
    Ok(())
}

proptest! {
    #[test]
    fn nobody_answers_with_what_was_purged_where_all_could_know(steps in steps()) {
        let mut runtime = tokio::runtime::Builder::new_current_thread();
        let runtime = runtime.enable_time().start_paused(true).build().unwrap();
        runtime.block_on(play(steps))?;
    }
}
