//! Which of several nodes fetches what all want, and how long the others wait.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use tokio::task::JoinHandle;
use tower_edge_core::Clock;
use tower_edge_testkit::Gate;

use super::{FRESH, MISS, Nodes, pair};
use crate::hub::{BEAT, BUDGET, LEASE};
use crate::play::{Play, answer, cache, seconds, start, tasks};

impl Nodes {
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

#[tokio::test(start_paused = true)]
async fn a_request_waits_no_longer_for_a_tier_than_its_budget_whatever_it_asks_for() {
    let nodes = Nodes::new(2);
    let clock = Clock::anchored(start());
    let millis = Duration::from_millis;
    // A look, a lease and another look.
    for (delay, least) in [(millis(0), millis(0)), (millis(30), BUDGET), (millis(20), BUDGET)] {
        nodes.lines[0].delay(delay);
        let begun = clock.now();
        let got = nodes.ask(0, &format!("/{}", delay.as_millis())).await;
        assert_eq!((got.text().as_str(), got.did()), ("version 0", MISS), "{delay:?}");
        let took = clock.since(begun);
        assert!((least..=BUDGET + millis(3)).contains(&took), "{took:?} of {delay:?}");
    }
}
