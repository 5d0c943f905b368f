//! What happens when Redis, or the way there, fails.

use std::time::{Duration, SystemTime};

use tower_edge_core::Clock;
use tower_edge_limit::{OnOutage, Quota, QuotaStore, RateLimitLayer, nonzero};
use tower_edge_redis::RedisQuotas;
use tower_edge_testkit::line::{Fault, Line};
use tower_edge_testkit::redis::{Cluster, Server};

use crate::{admitted, call, granted, hourly, limit, serve, store};

fn layer(url: &str, on_outage: OnOutage) -> RateLimitLayer {
    let store = RedisQuotas::new(url).unwrap().deadline(DEADLINE);
    RateLimitLayer::new(limit(Quota::per_hour(nonzero!(40)))).store(store).on_outage(on_outage)
}

/// Goes on until Redis is asked again, and answers.
async fn until_back(layer: &RateLimitLayer) {
    let (service, handle) = (serve(layer), layer.handle());
    loop {
        let before = handle.stats();
        call(&service).await;
        let after = handle.stats();
        if after.unasked == before.unasked {
            return;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

/// With a node that has used its budget, when Redis fails; what is admitted of 60
/// requests then.
async fn in_outage(layer: &RateLimitLayer) -> usize {
    let service = serve(layer);
    // Whatever is known by now is not to be of use.
    layer.handle().reset("all", &tower_edge_core::Key::GLOBAL);
    let clock = Clock::anchored(SystemTime::UNIX_EPOCH);
    tokio::time::pause();
    let (mut all, mut waited) = (0, 0);
    for _ in 0..60 {
        let before = clock.now();
        all += admitted(&service, 1).await;
        let took = clock.since(before);
        // A timer is late by a millisecond.
        assert!(took <= DEADLINE + Duration::from_millis(1), "{took:?}");
        waited += u32::from(took > Duration::ZERO);
    }
    tokio::time::resume();
    assert!(waited <= 3, "{waited} waited");
    all
}

#[tokio::test]
async fn a_redis_that_hangs_or_is_gone_leaves_each_policy_to_do_what_it_says() {
    for (policy, expected) in [(OnOutage::Open, 60), (OnOutage::Closed, 0), (OnOutage::Local, 40)] {
        let mut server = Server::start().await;
        let layer = layer(&server.url(), policy);
        until_back(&layer).await;
        server.signal("STOP").await;
        assert_eq!(in_outage(&layer).await, expected, "{policy:?}: it hangs");
        server.signal("CONT").await;
        until_back(&layer).await;
        server.kill().await;
        assert_eq!(in_outage(&layer).await, expected, "{policy:?}: it is gone");
        server.restart().await;
        until_back(&layer).await;
        // With nothing in it.
        assert!(admitted(&serve(&layer), 60).await >= 35, "{policy:?}: all is there again");
    }
}

#[tokio::test]
async fn slow_silent_torn_and_garbled_answers_hold_nobody_up() {
    let server = Server::start().await;
    let line = Line::to(server.address()).await;
    let layer = layer(&format!("redis://{}", line.address()), OnOutage::Open);
    let late = Fault::Late(Duration::from_secs(60));
    for fault in [late, Fault::Silent, Fault::Torn, Fault::Garbled(3)] {
        until_back(&layer).await;
        line.set(fault);
        assert_eq!(in_outage(&layer).await, 60, "{fault:?}");
        line.set(Fault::None);
        line.cut();
    }
    until_back(&layer).await;
}

#[tokio::test]
async fn a_garbled_answer_grants_nothing() {
    let server = Server::start().await;
    let line = Line::to(server.address()).await;
    let store = store(&format!("redis://{}", line.address()));
    let ask = tower_edge_limit::Take { ask: 1, ..hourly(1_000_000) };
    let (mut all, mut failed) = (0, 0);
    for round in 0..200 {
        line.set(Fault::Garbled(101 + round));
        match store.take(&tower_edge_core::Key::GLOBAL, &[ask], false).await {
            Ok(taken) => {
                all += 1;
                assert_eq!(taken[0].granted, 1);
                let most = Duration::from_secs(360 * (1 + round as u64));
                assert!(taken[0].used <= most, "{round}: {taken:?}");
            }
            Err(_) => failed += 1,
        }
        if failed % 4 == 3 {
            line.set(Fault::None);
            while store.nodes().await.is_err() {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        }
    }
    assert!(all > 20 && failed > 5, "{all} {failed}");
}

#[tokio::test]
async fn a_store_is_there_before_redis_is_and_finds_it_by_itself() {
    let mut server = Server::start().await;
    server.kill().await;
    let layer = layer(&server.url(), OnOutage::Closed);
    assert_eq!(in_outage(&layer).await, 0);
    server.restart().await;
    until_back(&layer).await;
    assert!(admitted(&serve(&layer), 10).await >= 9);
}

#[tokio::test]
async fn when_a_master_of_a_cluster_is_killed_the_quotas_of_others_go_on() {
    let mut cluster = Cluster::start().await;
    let store = store(&cluster.url()).deadline(Duration::from_millis(200));
    let ask = tower_edge_limit::Take { ask: 1, ..hourly(1_000) };
    while store.nodes().await.is_err() {}
    cluster.nodes[2].kill().await;
    let (mut went_on, mut rounds) = (0, 0);
    while went_on < 60 {
        rounds += 1;
        assert!(rounds < 500, "{went_on}");
        for key in 0..20 {
            let key = tower_edge_core::Key::new(format!("key {key}"));
            went_on += u32::from(store.take(&key, &[ask], false).await.is_ok());
        }
    }
    cluster.nodes[2].restart().await;
    for key in 0..20 {
        let key = tower_edge_core::Key::new(format!("key {key}"));
        while store.take(&key, &[ask], false).await.is_err() {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }
}

#[tokio::test]
async fn a_redis_that_loses_its_data_gives_one_budget_more() {
    let server = Server::start().await;
    let nodes = [0, 1].map(|_| serve(&layer(&server.url(), OnOutage::Closed)));
    let first = admitted(&nodes[0], 60).await;
    assert!((38..=41).contains(&first), "{first}");
    server.cli(&["FLUSHALL"]).await;
    let second = admitted(&nodes[1], 60).await;
    assert!((38..=41).contains(&second), "{second}");
    let other = store(&server.url());
    assert_eq!(granted(&other, "k", tower_edge_limit::Take { ask: 1, ..hourly(1) }).await, 1);
}

/// Long enough for a machine that is busy, as time is paused where it matters.
const DEADLINE: Duration = Duration::from_secs(2);
