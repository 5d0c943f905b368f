//! What the script counts.

use std::time::Duration;

use tower_edge_core::Key;
use tower_edge_limit::{QuotaStore, Take};
use tower_edge_testkit::redis::{Cluster, Server};

use crate::{granted, hourly, store, take};

const MINUTE: Duration = Duration::from_secs(60);

async fn key(server: &Server) -> String {
    server.cli(&["KEYS", "*:quota:*"]).await
}

#[tokio::test]
async fn a_key_gets_what_there_is_and_no_more() {
    let server = Server::start().await;
    let [one, other] = [store(&server.url()), store(&server.url())];
    let ask = |ask| Take { ask, ..hourly(10) };
    assert_eq!(granted(&one, "k", ask(4)).await, 4);
    assert_eq!(granted(&other, "k", ask(9)).await, 6);
    let told = take(&one, "k", ask(9)).await;
    assert_eq!(told.granted, 0);
    // All of them used, but for what came back meanwhile.
    assert!(told.used <= 60 * MINUTE && told.used > 59 * MINUTE, "{told:?}");
    assert_eq!(granted(&other, "l", ask(9)).await, 9);
    assert_eq!(granted(&one, "k", Take { ahead: Duration::from_secs(1), ..ask(1) }).await, 0);
}

#[tokio::test]
async fn what_comes_back_soon_is_taken_before() {
    let server = Server::start().await;
    let store = store(&server.url());
    let fast = Take { permits: 1_000, period: MINUTE / 60, ..hourly(1) };
    let taken = take(&store, "k", Take { ask: 900, ahead: MINUTE / 120, ..fast }).await;
    assert_eq!(taken.granted, 501);
    assert_eq!(taken.used.as_micros(), 501_000);
}

#[tokio::test]
async fn what_is_given_back_charged_and_reset_counts() {
    let server = Server::start().await;
    let store = store(&server.url());
    assert_eq!(granted(&store, "k", Take { ask: 10, ..hourly(10) }).await, 10);
    assert_eq!(granted(&store, "k", Take { back: 3, ask: 9, ..hourly(10) }).await, 3);
    let owing = take(&store, "k", Take { charge: 99, ..hourly(10) }).await;
    assert!(owing.used > 89 * MINUTE && owing.used <= 90 * MINUTE, "{owing:?}");
    assert_eq!(granted(&store, "k", Take { back: 4, ask: 1, ..hourly(10) }).await, 0);
    store.reset(&Key::new("k"), "hourly").await.unwrap();
    assert_eq!(granted(&store, "k", Take { ask: 99, ..hourly(10) }).await, 10);
}

#[tokio::test]
async fn the_quotas_of_a_key_are_charged_together_or_not_at_all() {
    let cluster = Cluster::start().await;
    let store = store(&cluster.url());
    for name in 0..20 {
        let key = Key::new(format!("tenant {name}"));
        let both =
            |ask| [Take { ask, ..hourly(10) }, Take { name: "{a} \"name\"", ask, ..hourly(3) }];
        let taken = async |ask, together| {
            let takes = both(ask);
            let taken = store.take(&key, &takes, together).await.unwrap();
            [taken[0].granted, taken[1].granted]
        };
        assert_eq!(taken(2, true).await, [2, 2]);
        assert_eq!(taken(2, true).await, [0, 0]);
        assert_eq!(taken(1, true).await, [1, 1]);
        assert_eq!(taken(9, false).await, [7, 0]);
    }
    for node in &cluster.nodes {
        assert_ne!(node.cli(&["DBSIZE"]).await, "0", "each has its part");
    }
}

#[tokio::test]
async fn a_key_that_has_all_back_is_gone() {
    let server = Server::start().await;
    let store = store(&server.url());
    assert_eq!(granted(&store, "k", Take { ask: 2, ..hourly(10) }).await, 2);
    let lasts: u64 = server.cli(&["PTTL", &key(&server).await]).await.parse().unwrap();
    assert!((710_000..=720_001).contains(&lasts), "{lasts}");
    assert_eq!(granted(&store, "k", Take { back: 2, ..hourly(10) }).await, 0);
    assert_eq!(key(&server).await, "");
    // Who is refused leaves nothing.
    assert_eq!(granted(&store, "k", Take { ask: 1, ..hourly(0) }).await, 0);
    assert_eq!(key(&server).await, "");
}

#[tokio::test]
async fn another_quota_goes_on_with_what_was_used() {
    let server = Server::start().await;
    let store = store(&server.url());
    assert_eq!(granted(&store, "k", Take { ask: 8, ..hourly(10) }).await, 8);
    let fast = Take { period: MINUTE * 6, permits: 7, ask: 9, ..hourly(12) };
    // A little of the first has come back.
    assert_eq!(granted(&store, "k", fast).await, 4);
    let slow = Take { period: MINUTE * 60 * 24 * 365, ask: 99, ..hourly(20) };
    assert_eq!(granted(&store, "k", slow).await, 8);
    assert_eq!(granted(&store, "k", Take { ask: 9, ..hourly(10) }).await, 0);
}

#[tokio::test]
async fn a_clock_that_was_set_back_locks_nobody_out_and_gives_nothing() {
    let server = Server::start().await;
    let store = store(&server.url());
    let fast = |ask| Take { permits: 10, period: MINUTE / 60, ask, ..hourly(1) };
    assert_eq!(granted(&store, "k", fast(1)).await, 1);
    let (name, later) = (key(&server).await, "9000000000000000");
    let state = server.cli(&["GET", &name]).await;
    let (_, rest) = state.split_once(' ').unwrap();
    server.cli(&["SET", &name, &format!("{later} {rest}")]).await;
    assert_eq!(granted(&store, "k", fast(1)).await, 0);
    assert!(!server.cli(&["GET", &name]).await.starts_with(later));
    while granted(&store, "k", fast(1)).await == 0 {}
}

#[tokio::test]
async fn what_is_no_state_is_none_and_what_is_no_string_is_an_error() {
    let server = Server::start().await;
    let store = store(&server.url());
    let ask = Take { ask: 10, ..hourly(10) };
    assert_eq!(granted(&store, "k", ask).await, 10);
    let name = key(&server).await;
    for wrong in ["", "1 2 3", "1 2 3 4 5", "a b c d", "-1 2 3 4"] {
        server.cli(&["SET", &name, wrong]).await;
        assert_eq!(granted(&store, "k", ask).await, 10, "{wrong}");
    }
    server.cli(&["DEL", &name]).await;
    server.cli(&["RPUSH", &name, "1"]).await;
    let error = store.take(&Key::new("k"), &[ask], false).await.unwrap_err().to_string();
    assert!(error.contains("WRONGTYPE"), "{error}");
}

#[tokio::test]
async fn large_quotas_are_counted_to_the_permit() {
    let server = Server::start().await;
    let store = store(&server.url());
    for (permits, seconds, burst) in
        [(1, 86_400, 1_000_000_000_u32), (1_000_000, 86_400, 1_000_000), (7, 30_000, 12_345)]
    {
        let period = Duration::from_secs(seconds);
        let of = |ask| Take { name: "large", permits, period, ask, ..hourly(burst) };
        let key = format!("{permits} {burst}");
        let taken = async |ask| store.take(&Key::new(&key), &[of(ask)], false).await;
        if taken(1).await.is_err() {
            assert_eq!(burst, 1_000_000_000, "too long to be counted");
            continue;
        }
        let rest = taken(burst).await.unwrap()[0].granted;
        // A second gives back 12 of a million a day at the most.
        assert!((burst - 1..burst + 40).contains(&(rest + 1)), "{permits}: {rest}");
        let more = taken(burst).await.unwrap()[0].granted;
        assert!(more < 40, "{permits}: {more}");
    }
}

#[tokio::test]
async fn a_script_that_redis_forgot_is_told_again() {
    let server = Server::start().await;
    let store = store(&server.url());
    for left in [9, 8] {
        server.cli(&["SCRIPT", "FLUSH"]).await;
        assert_eq!(granted(&store, "k", Take { ask: 1, ..hourly(10) }).await, 1);
        let told = take(&store, "k", hourly(10)).await.used;
        assert!(told <= MINUTE * 6 * (10 - left), "{told:?}");
    }
}

#[tokio::test]
async fn there_is_room_for_quotas_where_there_is_no_memory_left() {
    let server = Server::start().await;
    let store = store(&server.url());
    server.cli(&["CONFIG", "SET", "maxmemory", "1"]).await;
    assert_eq!(granted(&store, "k", Take { ask: 99, ..hourly(10) }).await, 10);
    assert_eq!(store.nodes().await.unwrap(), 1);
}
