//! Nodes that share a budget.

use std::time::Duration;

use tower_edge_core::{Clock, Key};
use tower_edge_limit::{Quota, QuotaStore, RateLimitLayer, nonzero};
use tower_edge_testkit::redis::{Cluster, Server};

use crate::{admitted, call, limit, serve, store};

#[tokio::test]
async fn nodes_are_counted_as_long_as_they_are_heard_of() {
    let server = Server::start().await;
    let [one, other] = [store(&server.url()), store(&server.url())];
    let clone = one.clone();
    for (store, nodes) in [(&one, 1), (&other, 2), (&clone, 2), (&one, 2)] {
        assert_eq!(store.nodes().await.unwrap(), nodes);
    }
    let key = server.cli(&["KEYS", "*:nodes"]).await;
    // Of an hour ago, and of a clock that was an hour ahead.
    let now: i64 = server.cli(&["TIME"]).await.lines().next().unwrap().parse().unwrap();
    for (node, at) in [("old", now - 3_600), ("ahead", now + 3_600)] {
        server.cli(&["ZADD", &key, &(at * 1_000).to_string(), node]).await;
    }
    assert_eq!(one.nodes().await.unwrap(), 2);
}

async fn nodes_have_one_budget(url: &str) {
    for exact in [false, true] {
        let nodes: Vec<_> = (0..4)
            .map(|_| {
                let name = if exact { "exact" } else { "leases" };
                let limit = tower_edge_limit::Limit::new(name, Quota::per_hour(nonzero!(100)));
                let layer = RateLimitLayer::new(limit).store(store(url));
                serve(&if exact { layer.exact() } else { layer })
            })
            .collect();
        let mut all = 0;
        for round in 0..20 {
            all += admitted(&nodes[round % 4], 15).await;
        }
        // What is in hand of others is not to be had: 2 % of a burst.
        assert!(all <= 101 && all >= if exact { 100 } else { 92 }, "{exact}: {all}");
    }
}

#[tokio::test]
async fn nodes_of_one_redis_have_one_budget() {
    let server = Server::start().await;
    nodes_have_one_budget(&server.url()).await;
}

#[tokio::test]
async fn nodes_of_a_cluster_have_one_budget() {
    let cluster = Cluster::start().await;
    nodes_have_one_budget(&cluster.url()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_nodes_under_load_use_what_there_is_and_no_more() {
    let server = Server::start().await;
    let quota = Quota::per_second(nonzero!(500));
    let clock = Clock::system();
    let layers = [0, 1].map(|_| RateLimitLayer::new(limit(quota)).store(store(&server.url())));
    let begin = clock.now();
    let load = |layer: &RateLimitLayer| {
        let service = serve(layer);
        tokio::spawn(async move {
            let mut admitted = 0_u64;
            while clock.since(begin) < LASTS {
                admitted += u64::from(call(&service).await.status() == 200);
                // So that others get a turn, who are needed for an answer.
                tokio::task::yield_now().await;
            }
            admitted
        })
    };
    let (one, other) = (load(&layers[0]), load(&layers[1]));
    let all = one.await.unwrap() + other.await.unwrap();
    let lasted = clock.since(begin).as_secs_f64();
    // Ahead of time nothing is usable, and what was in hand was charged before.
    let most = 500.0 + 500.0 * lasted;
    assert!(all as f64 <= most + 1.0 && all as f64 >= 0.95 * most, "{all} in {lasted} s");
    let asked: u64 = layers.iter().map(|layer| layer.handle().stats().asked).sum();
    // Ten questions a second and node, and those at the start.
    assert!(asked as f64 <= 2.0 * (10.0 * lasted + 20.0), "{asked} in {lasted} s");
    assert!(layers[0].handle().read("all", &Key::GLOBAL).is_some());
}

const LASTS: Duration = Duration::from_secs(4);
