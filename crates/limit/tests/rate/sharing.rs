//! Quotas that layers share by a store.

use std::ops::DerefMut;
use std::pin::{Pin, pin};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use http::Request;
use http_body_util::BodyExt;
use serde_json::{Value, json};
use tower_edge_core::{HeaderKey, Key, Reason, Refusal};
use tower_edge_limit::{Limit, OnOutage, Quota, RateLimitLayer, nonzero};

use crate::table::{Fault, Table};
use crate::{admitted, call, called, get, layer, pass, serve};

/// Ten a second and ten at once.
fn ten() -> Limit {
    Limit::new("all", Quota::per_second(nonzero!(10)))
}

fn on(store: &Table, limit: Limit) -> RateLimitLayer {
    layer(limit).store(store.clone())
}

fn poll<F: Future>(future: &mut Pin<impl DerefMut<Target = F>>) -> Poll<F::Output> {
    future.as_mut().poll(&mut Context::from_waker(Waker::noop()))
}

/// Lets what is under way in the background go on, in no time.
async fn settle() {
    for _ in 0..20 {
        tokio::task::yield_now().await;
    }
}

#[tokio::test(start_paused = true)]
async fn two_nodes_have_one_budget() {
    for exact in [false, true] {
        let store = Table::new();
        let node = || on(&store, ten());
        let layers = [node(), node()].map(|node| if exact { node.exact() } else { node });
        let [(one, _), (other, _)] = layers.each_ref().map(serve);
        let first = admitted(&one, 6).await + admitted(&other, 20).await + admitted(&one, 20).await;
        // In leases some of what comes back within 200 ms was taken, and is not usable yet.
        assert_eq!(first, 10, "{exact}");
        let mut later = 0;
        for _ in 0..500 {
            pass(10).await;
            later += admitted(&one, 1).await + admitted(&other, 1).await;
        }
        assert!((49..=50).contains(&later), "{exact}: {later}");
    }
}

#[tokio::test(start_paused = true)]
async fn what_is_in_hand_is_used_without_asking_or_waiting() {
    let store = Table::new();
    let hour = Limit::new("all", Quota::per_hour(nonzero!(5_000)));
    let layer = on(&store, hour);
    let (mut service, upstream) = serve(&layer);
    assert_eq!(get(&service).await, 200);
    assert_eq!(store.asked(), 1);
    store.set(Fault::Silent);
    for _ in 0..60 {
        let future = called(&mut service, "/");
        let Poll::Ready(answer) = poll(&mut pin!(future)) else { panic!("it waits") };
        assert_eq!(answer.unwrap().status(), 200);
    }
    assert_eq!((upstream.calls(), store.asked()), (61, 1));
}

#[tokio::test(start_paused = true)]
async fn more_is_asked_for_before_it_is_used_up() {
    let store = Table::new();
    let layer = on(&store, Limit::new("all", Quota::per_second(nonzero!(100_000))));
    let (mut service, _) = serve(&layer);
    assert_eq!(get(&service).await, 200);
    let mut waited = 0;
    for turn in 0..5_000 {
        pass(1).await;
        let mut future = pin!(called(&mut service, "/"));
        if poll(&mut future).is_pending() {
            waited += 1;
            assert_eq!(future.await.unwrap().status(), 200);
        }
        assert!(turn < 500 || waited < 10, "{turn} {waited}");
        settle().await;
    }
    assert!(store.asked() <= 60, "{}", store.asked());
}

#[tokio::test(start_paused = true)]
async fn what_is_used_up_is_refused_here_until_there_is_more() {
    let store = Table::new();
    let minute = Limit::new("all", Quota::per_minute(nonzero!(4)));
    let (service, _) = serve(&on(&store, minute));
    assert_eq!(admitted(&service, 9).await, 4);
    let asked = store.asked();
    pass(3_000).await;
    for _ in 0..100 {
        let answer = call(&service, Request::get("/")).await;
        assert_eq!(answer.status(), 429);
        assert_eq!(answer.headers()["retry-after"], "12");
        assert_eq!(answer.headers()["ratelimit"], r#""all";r=0;t=12"#);
        assert_eq!(answer.headers()["ratelimit-policy"], r#""all";q=4;w=60"#);
    }
    assert_eq!(store.asked(), asked);
    pass(12_000).await;
    assert_eq!(admitted(&service, 9).await, 1);
}

#[tokio::test(start_paused = true)]
async fn what_nobody_uses_goes_back() {
    let store = Table::new();
    let hour = Limit::new("all", Quota::per_hour(nonzero!(3_600)));
    let layer = on(&store, hour);
    let (service, _) = serve(&layer);
    assert_eq!(get(&service).await, 200);
    assert_eq!(store.used(Key::GLOBAL, "all").as_secs(), 72);
    assert_eq!(layer.handle().read("all", &Key::GLOBAL).unwrap().available, 71);
    for _ in 0..5 {
        pass(1_000).await;
        settle().await;
    }
    assert_eq!(store.used(Key::GLOBAL, "all").as_secs(), 0);
    assert_eq!(layer.handle().read("all", &Key::GLOBAL).unwrap().available, 0);
    assert_eq!(get(&service).await, 200);
}

#[tokio::test(start_paused = true)]
async fn the_fields_never_tell_of_more_than_there_is() {
    for exact in [false, true] {
        let store = Table::new();
        let limit = || Limit::new("all", Quota::per_hour(nonzero!(3_600)).burst(nonzero!(200)));
        let layers = [on(&store, limit()), on(&store, limit())];
        let layers = layers.map(|layer| if exact { layer.exact() } else { layer });
        let nodes = layers.each_ref().map(|layer| (serve(layer).0, layer.handle()));
        for turn in 0..300_usize {
            let (service, _) = &nodes[(turn / 7) % 2];
            let answer = call(service, Request::get("/")).await;
            let field = answer.headers()["ratelimit"].to_str().unwrap().to_owned();
            let told = field.split("r=").nth(1).unwrap().split(';').next().unwrap();
            let told: u64 = told.parse().unwrap();
            settle().await;
            let free = 200 - store.used(Key::GLOBAL, "all").as_secs().min(200);
            let in_hand = |handle: &tower_edge_limit::LimitHandle| {
                u64::from(handle.read("all", &Key::GLOBAL).unwrap().available)
            };
            let held: u64 = if exact { 0 } else { nodes.iter().map(|(_, h)| in_hand(h)).sum() };
            assert!(told <= free + held, "{turn}: {field}, {free} and {held}");
            // Who was just told knows all.
            assert!(turn > 0 || told == 199, "{field}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_request_is_decided_without_a_store_as_the_user_chose() {
    for (choice, in_outage) in [(OnOutage::Open, 40), (OnOutage::Closed, 0), (OnOutage::Local, 2)] {
        let store = Table::new();
        store.set_nodes(4);
        let layer = on(&store, ten()).on_outage(choice);
        let (service, _) = serve(&layer);
        assert_eq!(admitted(&service, 40).await, 10, "{choice:?}");
        settle().await;
        assert_eq!(layer.handle().stats().nodes, 4);
        for fault in [Fault::Failing, Fault::Silent, Fault::Late(Duration::from_secs(9))] {
            // Its part is there again, which is 2 of 10.
            pass(4_000).await;
            settle().await;
            store.set(fault);
            assert_eq!(admitted(&service, 40).await, in_outage, "{choice:?} {fault:?}");
            let stats = layer.handle().stats();
            assert!(stats.failed > 0 && stats.unasked >= 40, "{stats:?}");
            store.set(Fault::None);
            for _ in 0..20 {
                pass(100).await;
                settle().await;
            }
            assert_eq!(admitted(&service, 40).await, 10, "{choice:?} {fault:?}: it is back");
            settle().await;
        }
    }
}

#[tokio::test(start_paused = true)]
async fn who_is_refused_in_an_outage_is_told_that_it_is_not_its_fault() {
    let store = Table::new();
    store.set(Fault::Failing);
    let (service, _) = serve(&on(&store, ten()).on_outage(OnOutage::Closed));
    let answer = call(&service, Request::get("/")).await;
    assert_eq!(answer.status(), 503);
    assert_eq!(answer.headers()["retry-after"], "1");
    assert!(!answer.headers().contains_key("ratelimit"));
    assert_eq!(answer.extensions().get::<Refusal>().unwrap().reason(), Reason::CircuitOpen);
}

#[tokio::test(start_paused = true)]
async fn nobody_waits_longer_than_the_deadline_and_soon_nobody_at_all() {
    for exact in [false, true] {
        let store = Table::new();
        store.set(Fault::Silent);
        let by_key = ten().keyed(HeaderKey::new("k".parse().unwrap()));
        let layer = on(&store, by_key).on_outage(OnOutage::Open);
        let (service, _) = serve(&if exact { layer.exact() } else { layer });
        let (clock, mut waited) = (tower_edge_core::Clock::anchored(std::time::UNIX_EPOCH), 0);
        for key in 0..20 {
            let before = clock.now();
            let answer = call(&service, Request::get("/").header("k", key)).await;
            assert_eq!(answer.status(), 200);
            let took = clock.since(before);
            assert!(took <= Duration::from_millis(51), "{took:?}");
            waited += u32::from(took > Duration::ZERO);
        }
        assert!((1..=3).contains(&waited), "{waited}");
    }
}

#[tokio::test(start_paused = true)]
async fn many_who_want_the_same_ask_once() {
    let store = Table::new();
    store.set(Fault::Late(Duration::from_millis(5)));
    let limit = Limit::new("all", Quota::per_second(nonzero!(1_000)));
    let (mut service, _) = serve(&on(&store, limit));
    let mut waiting: Vec<_> = (0..20).map(|_| Box::pin(called(&mut service, "/"))).collect();
    assert!(waiting.iter_mut().all(|future| poll(future).is_pending()));
    assert_eq!(store.asked(), 0);
    settle().await;
    assert_eq!(store.asked(), 1);
    // Who leaves takes nothing with it.
    drop(waiting.pop());
    for future in waiting {
        assert_eq!(future.await.unwrap().status(), 200);
    }
    assert!(store.asked() <= 2, "{}", store.asked());
}

#[tokio::test(start_paused = true)]
async fn quotas_are_charged_together_or_not_at_all() {
    for exact in [false, true] {
        let store = Table::new();
        let wide = Limit::new("wide", Quota::per_hour(nonzero!(100)));
        let by_key = Limit::new("key", Quota::per_hour(nonzero!(3)));
        let by_key = by_key.keyed(HeaderKey::new("k".parse().unwrap()));
        let layer = on(&store, wide).limit(by_key);
        let (service, _) = serve(&if exact { layer.exact() } else { layer });
        for key in 0..5 {
            let mut admitted = 0;
            for _ in 0..9 {
                let answer = call(&service, Request::get("/").header("k", key)).await;
                admitted += u32::from(answer.status() == 200);
            }
            assert_eq!(admitted, 3);
        }
        pass(5_000).await;
        settle().await;
        pass(1_000).await;
        settle().await;
        // 36 s for a permit of the wide one; 15 of them were used.
        let used = store.used(Key::GLOBAL, "wide").as_secs();
        let held = if exact { 0 } else { 2 };
        assert!(used <= (15 + held) * 36 && used >= 14 * 36, "{exact}: {used}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_refusal_names_all_that_is_used_up_and_the_longest_wait() {
    for exact in [false, true] {
        let store = Table::new();
        let hour = Limit::new("hour", Quota::per_hour(nonzero!(60)).burst(nonzero!(2)));
        let layer = on(&store, Limit::new("second", Quota::per_second(nonzero!(2)))).limit(hour);
        let (service, _) = serve(&if exact { layer.exact() } else { layer });
        assert_eq!(admitted(&service, 2).await, 2);
        let answer = call(&service, Request::get("/")).await;
        assert_eq!(
            (answer.status().as_u16(), &answer.headers()["retry-after"] == "60"),
            (429, true)
        );
        assert_eq!(answer.headers()["ratelimit"], r#""hour";r=0;t=60"#);
        let body = answer.into_body().collect().await.unwrap().to_bytes();
        let body: Value = serde_json::from_slice(&body).unwrap();
        assert_eq!(body["violated-policies"], json!(["second", "hour"]), "{exact}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_response_is_charged_in_the_store() {
    for exact in [false, true] {
        let store = Table::new();
        let quota = Quota::per_second(nonzero!(10)).burst(nonzero!(20)).debt(100);
        let tokens = Limit::new("all", quota).cost(|_| 0).charge(|_| 50);
        let layer = on(&store, tokens);
        let (service, _) = serve(&if exact { layer.exact() } else { layer });
        assert_eq!(get(&service).await, 200);
        settle().await;
        assert_eq!(store.used(Key::GLOBAL, "all").as_millis(), 5_000, "{exact}");
        let answer = call(&service, Request::get("/")).await;
        assert_eq!(
            (answer.status().as_u16(), &answer.headers()["retry-after"] == "3"),
            (429, true)
        );
        pass(3_000).await;
        assert_eq!(get(&service).await, 200);
    }
}

#[tokio::test(start_paused = true)]
async fn a_request_costs_as_many_permits_as_it_says() {
    for exact in [false, true] {
        let store = Table::new();
        let limit = ten().cost(|head| head.uri().path().len() as u32);
        let layer = on(&store, limit);
        let (service, _) = serve(&if exact { layer.exact() } else { layer });
        let get = async |path: &str| call(&service, Request::get(path)).await;
        assert_eq!(get("/12345").await.status(), 200);
        let refused = get("/12345").await;
        assert_eq!(
            (refused.status().as_u16(), &refused.headers()["retry-after"] == "1"),
            (429, true)
        );
        let never = get("/1234567890").await;
        assert_eq!(
            (never.status().as_u16(), never.headers().contains_key("retry-after")),
            (429, false)
        );
        assert_eq!(get("/123").await.status(), 200, "{exact}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_layer_that_only_watches_lets_all_pass() {
    for fault in [Fault::None, Fault::Failing] {
        let store = Table::new();
        store.set(fault);
        let layer = on(&store, ten()).on_outage(OnOutage::Closed).shadow();
        let (service, _) = serve(&layer);
        assert_eq!(admitted(&service, 25).await, 25);
        let stats = layer.handle().stats();
        assert_eq!(stats.would_refuse, if fault == Fault::None { 15 } else { 25 });
    }
}

#[tokio::test(start_paused = true)]
async fn a_handle_swaps_charges_and_resets() {
    let store = Table::new();
    let layer = on(&store, ten());
    let (handle, (service, _)) = (layer.handle(), serve(&layer));
    // Nothing is in hand; then it is.
    assert_eq!(handle.charge("all", &Key::GLOBAL, 3), Some(false));
    settle().await;
    assert_eq!(handle.charge("all", &Key::GLOBAL, 3), Some(true));
    assert_eq!(admitted(&service, 20).await, 7);
    assert!(handle.reset("all", &Key::GLOBAL));
    settle().await;
    assert_eq!(admitted(&service, 20).await, 10);
    assert!(handle.swap("all", Quota::per_second(nonzero!(10)).burst(nonzero!(15))));
    settle().await;
    assert_eq!(admitted(&service, 20).await, 5);
    assert!(!handle.swap("all", Quota::in_any(nonzero!(5), Duration::from_secs(1))));
    let exact = on(&store, ten()).exact();
    assert_eq!(exact.handle().charge("all", &Key::GLOBAL, 1), None);
}

#[tokio::test(start_paused = true)]
async fn a_store_that_lost_its_data_gives_a_burst_more() {
    let store = Table::new();
    let (service, _) = serve(&on(&store, ten()));
    assert_eq!(admitted(&service, 40).await, 10);
    settle().await;
    pass(250).await;
    drop(tower_edge_limit::QuotaStore::reset(&store, &Key::GLOBAL, "all"));
    let more = admitted(&service, 40).await;
    assert!((10..=13).contains(&more), "{more}");
}

#[tokio::test(start_paused = true)]
async fn what_was_known_before_an_outage_is_not_known_after_it() {
    for exact in [false, true] {
        let store = Table::new();
        let hour = Limit::new("all", Quota::per_hour(nonzero!(4)));
        let layer = on(&store, hour).on_outage(OnOutage::Closed);
        let (service, _) = serve(&if exact { layer.exact() } else { layer });
        assert_eq!(admitted(&service, 9).await, 4);
        store.set(Fault::Failing);
        for _ in 0..20 {
            pass(100).await;
            settle().await;
        }
        // It was known to be used up.
        assert_eq!(get(&service).await, 503);
        drop(tower_edge_limit::QuotaStore::reset(&store, &Key::GLOBAL, "all"));
        store.set(Fault::None);
        pass(100).await;
        settle().await;
        assert_eq!(admitted(&service, 9).await, 4, "{exact}");
    }
}

#[tokio::test(start_paused = true)]
async fn what_a_store_cannot_do_is_refused_when_the_layer_is_made() {
    type Make = fn(RateLimitLayer) -> RateLimitLayer;
    let strict = || Limit::new("strict", Quota::in_any(nonzero!(5), Duration::from_secs(1)));
    let wait: Make = |layer| layer.wait(Duration::from_secs(1), nonzero!(5));
    let pressure: Make = |layer| layer.backpressure(true);
    let window: Make = |layer| {
        layer.limit(Limit::new("strict", Quota::in_any(nonzero!(5), Duration::from_secs(1))))
    };
    let store = Table::new();
    let refuses = |make: &dyn Fn() -> RateLimitLayer| {
        std::panic::catch_unwind(std::panic::AssertUnwindSafe(make)).is_err()
    };
    for make in [wait, pressure, window] {
        assert!(refuses(&|| make(on(&store, ten()))));
        assert!(refuses(&|| make(layer(ten())).store(store.clone())));
        assert!(!refuses(&|| make(layer(ten()))));
    }
    assert!(refuses(&|| on(&store, strict())));
}
