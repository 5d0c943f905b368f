//! The cache for functions.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use futures_util::FutureExt;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use tokio::task::JoinHandle;
use tower_edge_cache::{CacheLayer, Memo, Purge, Ttl};
use tower_edge_core::Clock;
use tower_edge_testkit::Gate;

use crate::play::{Play, answer, cache, request, seconds, start, tasks};
use crate::shelf::Shelf;

const MINUTE: Duration = Duration::from_secs(60);

/// A function that counts how often it was called, and gives that number.
#[derive(Clone, Debug)]
struct Counter {
    calls: Arc<AtomicU32>,
    gate: Gate,
}

impl Counter {
    fn new() -> Self {
        Self { calls: Arc::default(), gate: Gate::opened() }
    }

    fn calls(&self) -> u32 {
        self.calls.load(Ordering::SeqCst)
    }

    /// The number of the call; an error from 100 on.
    async fn call(self) -> Result<u32, String> {
        let number = self.calls.fetch_add(1, Ordering::SeqCst);
        self.gate.pass().await;
        if number < 100 { Ok(number) } else { Err(format!("call {number}")) }
    }

    async fn ask(&self, memo: &Memo, ttl: impl Into<Ttl>) -> Result<u32, Arc<String>> {
        let counter = self.clone();
        memo.get_or_try_compute("key", ttl, || counter.call()).await
    }

    fn crowd(&self, memo: &Memo, ttl: Duration) -> Vec<JoinHandle<Result<u32, Arc<String>>>> {
        let client = |_| {
            let (counter, memo) = (self.clone(), memo.clone());
            tokio::spawn(async move { counter.ask(&memo, ttl).await })
        };
        (0..20).map(client).collect()
    }
}

fn memo() -> Memo {
    cache().handle().memo("test")
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(untagged)]
enum Either {
    Number(f64),
    Named { name: Option<String>, sizes: BTreeMap<u32, Vec<u8>> },
}

#[tokio::test(start_paused = true)]
async fn a_value_is_computed_once_while_it_is_fresh() {
    let layer = cache();
    let (memo, counter) = (layer.handle().memo("test"), Counter::new());
    for (wait, number) in [(0, 0), (0, 0), (59, 0), (1, 1), (59, 1)] {
        seconds(wait).await;
        assert_eq!(counter.ask(&memo, MINUTE).await.unwrap(), number);
    }
    assert_eq!(counter.ask(&layer.handle().memo("other"), MINUTE).await.unwrap(), 2);
    assert_eq!(counter.ask(&layer.handle().memo("test"), MINUTE).await.unwrap(), 1);
    let stats = layer.handle().stats();
    assert_eq!((stats.hits, stats.misses, stats.entries), (4, 3, 2));
}

#[tokio::test(start_paused = true)]
async fn values_of_any_shape_come_back_as_they_were() {
    let memo = memo();
    for value in [
        Either::Number(f64::INFINITY),
        Either::Named { name: None, sizes: BTreeMap::from([(7, vec![1, 2]), (9, vec![])]) },
    ] {
        for _ in 0..2 {
            let (key, given) = (format!("{value:?}"), value.clone());
            assert_eq!(memo.get_or_compute(&key, MINUTE, || async { given }).await, value);
        }
    }
    let value = json!({"a": [1, null, {"b": "c"}]});
    for _ in 0..2 {
        let given = value.clone();
        let got: Value = memo.get_or_compute("json", MINUTE, || async { given }).await;
        assert_eq!(got, value);
    }
}

#[tokio::test(start_paused = true)]
async fn all_who_want_a_value_wait_for_one_computation() {
    let (memo, counter) = (memo(), Counter::new());
    for ttl in [MINUTE, Duration::ZERO] {
        counter.gate.close();
        let crowd = counter.crowd(&memo, ttl);
        tasks().await;
        counter.gate.open();
        for client in crowd {
            assert_eq!(client.await.unwrap().unwrap(), 0);
        }
        assert_eq!(counter.calls.swap(0, Ordering::SeqCst), 1);
        memo.purge_all(Purge::Hard);
    }
    // What is good for no time at all is not stored.
    assert_eq!(counter.ask(&memo, Duration::ZERO).await.unwrap(), 0);
    assert_eq!(counter.ask(&memo, Duration::ZERO).await.unwrap(), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn threads_that_race_for_a_value_compute_it_once() {
    let (layer, computed) = (CacheLayer::new(16 << 20), Arc::new(AtomicU32::new(0)));
    let client = |_| {
        let (memo, computed) = (layer.handle().memo("test"), computed.clone());
        tokio::spawn(async move {
            for key in 0..KEYS {
                let computed = computed.clone();
                let compute = || async move { computed.fetch_add(1, Ordering::SeqCst) };
                memo.get_or_compute(&key.to_string(), MINUTE, compute).await;
            }
        })
    };
    let clients: Vec<_> = (0..4).map(client).collect();
    for client in clients {
        client.await.unwrap();
    }
    assert_eq!(computed.load(Ordering::SeqCst), KEYS);
}

const KEYS: u32 = 3_000;

#[tokio::test(start_paused = true)]
async fn an_error_is_shared_once_and_not_stored() {
    let (memo, counter) = (memo(), Counter::new());
    counter.calls.store(100, Ordering::SeqCst);
    counter.gate.close();
    let crowd = counter.crowd(&memo, MINUTE);
    tasks().await;
    counter.gate.open();
    for client in crowd {
        assert_eq!(*client.await.unwrap().unwrap_err(), "call 100");
    }
    assert_eq!(*counter.ask(&memo, MINUTE).await.unwrap_err(), "call 101");
}

#[tokio::test(start_paused = true)]
async fn who_leaves_takes_nothing_from_those_who_wait() {
    let (memo, counter) = (memo(), Counter::new());
    counter.gate.close();
    let mut crowd = counter.crowd(&memo, MINUTE);
    tasks().await;
    crowd.remove(0).abort();
    crowd.remove(7).abort();
    tasks().await;
    counter.gate.open();
    for client in crowd {
        assert_eq!(client.await.unwrap().unwrap(), 0);
    }
    assert_eq!((counter.calls(), counter.ask(&memo, MINUTE).await.unwrap()), (1, 0));
}

#[tokio::test(start_paused = true)]
async fn what_nobody_waits_for_any_more_ends() {
    let (memo, counter) = (memo(), Counter::new());
    counter.gate.close();
    let held = Arc::new(());
    let witness = Arc::downgrade(&held);
    let gate = counter.gate.clone();
    let asking = memo.get_or_compute("key", MINUTE, || async move {
        gate.pass().await;
        drop(held);
    });
    assert!(asking.now_or_never().is_none());
    tasks().await;
    assert!(witness.upgrade().is_none());
}

#[tokio::test(start_paused = true)]
async fn one_of_those_who_wait_goes_on_after_a_panic() {
    let (memo, gate) = (memo(), Gate::closed());
    let first = Arc::new(AtomicU32::new(0));
    let client = |_| {
        let (memo, gate, first) = (memo.clone(), gate.clone(), first.clone());
        tokio::spawn(async move {
            let compute = || async move {
                gate.pass().await;
                assert!(first.fetch_add(1, Ordering::SeqCst) > 0, "the first one fails");
                7
            };
            memo.get_or_compute("key", MINUTE, compute).await
        })
    };
    let clients: Vec<_> = (0..5).map(client).collect();
    tasks().await;
    gate.open();
    let mut got = Vec::new();
    for client in clients {
        got.push(client.await.ok());
    }
    assert_eq!(got, [None, Some(7), Some(7), Some(7), Some(7)]);
}

#[tokio::test(start_paused = true)]
async fn a_stale_value_is_given_while_it_is_computed_anew_or_when_that_fails() {
    let (memo, counter) = (memo(), Counter::new());
    let ttl = Ttl::fresh(MINUTE).stale_while_revalidate(MINUTE).stale_if_error(3 * MINUTE);
    assert_eq!(counter.ask(&memo, ttl).await.unwrap(), 0);
    seconds(90).await;
    counter.gate.close();
    for _ in 0..3 {
        assert_eq!(counter.ask(&memo, ttl).await.unwrap(), 0);
        tasks().await;
    }
    assert_eq!(counter.calls(), 2);
    counter.gate.open();
    tasks().await;
    assert_eq!(counter.ask(&memo, ttl).await.unwrap(), 1);
    counter.calls.store(100, Ordering::SeqCst);
    seconds(3 * 60).await;
    assert_eq!(counter.ask(&memo, ttl).await.unwrap(), 1);
    assert_eq!(counter.calls(), 101);
    seconds(60).await;
    assert_eq!(*counter.ask(&memo, ttl).await.unwrap_err(), "call 101");
}

#[tokio::test(start_paused = true)]
async fn a_purged_value_is_computed_anew_also_if_it_was_on_its_way() {
    for purge in [Purge::Soft, Purge::Hard] {
        for all in [false, true] {
            let (memo, counter) = (memo(), Counter::new());
            let act = || match all {
                true => memo.purge_all(purge),
                false => memo.purge("key", purge),
            };
            assert_eq!(counter.ask(&memo, MINUTE).await.unwrap(), 0);
            act();
            assert_eq!(counter.ask(&memo, MINUTE).await.unwrap(), 1);
            memo.purge("another", purge);
            assert_eq!(counter.ask(&memo, MINUTE).await.unwrap(), 1);
            act();
            counter.gate.close();
            let crowd = counter.crowd(&memo, MINUTE);
            tasks().await;
            act();
            let late = counter.crowd(&memo, MINUTE);
            tasks().await;
            counter.gate.open();
            for (clients, number) in [(crowd, 2), (late, 3)] {
                for client in clients {
                    assert_eq!(client.await.unwrap().unwrap(), number, "{purge:?}");
                }
            }
            assert_eq!(counter.ask(&memo, MINUTE).await.unwrap(), 3);
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_value_of_another_type_is_no_value() {
    let memo = memo();
    let text: String = memo.get_or_compute("key", MINUTE, || async { "text".to_owned() }).await;
    let number: u32 = memo.get_or_compute("key", MINUTE, || async { 7 }).await;
    assert_eq!((text.as_str(), number), ("text", 7));
    let again: u32 = memo.get_or_compute("key", MINUTE, || async { 8 }).await;
    assert_eq!(again, 7);
}

#[tokio::test(start_paused = true)]
async fn what_cannot_be_stored_is_computed_each_time() {
    let layer = cache().max_entry(100);
    let memo = layer.handle().memo("test");
    for length in [200, 201] {
        let made = memo.get_or_compute("key", MINUTE, move || async move { vec![7_u8; length] });
        assert_eq!(made.await.len(), length);
    }
    let long = "k".repeat(70_000);
    for number in [1, 2] {
        let made = memo.get_or_compute(&long, MINUTE, move || async move { number });
        assert_eq!(made.await, number);
    }
    assert_eq!(layer.handle().stats().entries, 0);
}

#[tokio::test(start_paused = true)]
async fn a_value_comes_back_after_a_restart() {
    let shelf = Shelf::new();
    let layer = |after| {
        let clock = Clock::anchored(start() + Duration::from_secs(after));
        cache().clock(clock).tier(shelf.clone()).handle()
    };
    let counter = Counter::new();
    let first = layer(0);
    assert_eq!(counter.ask(&first.memo("test"), MINUTE).await.unwrap(), 0);
    first.flush().await.unwrap();
    for (after, number) in [(59, 0), (60, 1)] {
        let later = layer(after);
        shelf.reads.close();
        let crowd = counter.crowd(&later.memo("test"), MINUTE);
        tasks().await;
        shelf.reads.open();
        for client in crowd {
            assert_eq!(client.await.unwrap().unwrap(), number);
        }
    }
    let last = layer(59);
    last.memo("test").purge("key", Purge::Hard);
    assert_eq!(counter.ask(&last.memo("test"), MINUTE).await.unwrap(), 2);
}

#[tokio::test(start_paused = true)]
async fn no_request_gets_a_value() {
    let layer = cache();
    let memo = layer.handle().memo("test");
    memo.get_or_compute("key", MINUTE, || async { "secret".to_owned() }).await;
    let play = Play::with(layer, |_, _| answer(200, &[], "from the origin"));
    for (target, host) in [
        ("memo://memo@/test/key", "memo@"),
        ("memo://memo/test/key", "memo"),
        ("memo://x@memo@/test/key", "memo@"),
        ("/test/key", "memo@"),
    ] {
        let Ok(_) = target.parse::<http::Uri>() else { continue };
        let got = play.ask(request("GET", target, &[("host", host)])).await;
        assert_eq!(got.text(), "from the origin", "{target}");
    }
}

#[tokio::test(start_paused = true)]
async fn outside_of_a_runtime_it_is_computed_all_the_same() {
    let counter = Counter::new();
    let got = std::thread::spawn(move || {
        let memo = CacheLayer::new(1 << 20).handle().memo("test");
        let ttl = Ttl::fresh(Duration::ZERO).stale_while_revalidate(MINUTE);
        let ask = || counter.ask(&memo, ttl).now_or_never().unwrap().unwrap();
        [ask(), ask(), ask()]
    });
    assert_eq!(got.join().unwrap(), [0, 0, 0]);
}

#[test]
#[should_panic(expected = "slash")]
fn a_name_with_a_slash_is_refused() {
    CacheLayer::new(1 << 20).handle().memo("a/b");
}
