use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use http::{HeaderName, Request};
use tower_edge_core::{ClientIp, Event, HeaderKey, Key, PeerAddr};
use tower_edge_limit::{Keyless, Limit, Quota, RateLimit, Tier, nonzero};
use tower_edge_testkit::Upstream;

use crate::{call, layer, serve};

fn one_an_hour() -> Limit {
    Limit::new("client", Quota::per_hour(nonzero!(1)))
}

async fn from(service: &RateLimit<Upstream>, peer: &str, list: &str) -> u16 {
    let peer = PeerAddr(SocketAddr::new(peer.parse().unwrap(), 1));
    let request = Request::get("/").extension(peer).header("x-forwarded-for", list);
    call(service, request).await.status().as_u16()
}

async fn with(service: &RateLimit<Upstream>, name: &str, value: &str) -> u16 {
    call(service, Request::get("/").header(name, value)).await.status().as_u16()
}

fn tenant() -> HeaderKey {
    HeaderKey::new(HeaderName::from_static("x-tenant"))
}

#[tokio::test(start_paused = true)]
async fn a_forged_address_and_a_whole_ipv6_prefix_have_one_budget() {
    let trusting = ClientIp::trusting(["10.0.0.0/8".parse().unwrap()]);
    let (service, _) = serve(&layer(one_an_hour().keyed(trusting)));
    assert_eq!(from(&service, "9.9.9.9", "1.1.1.1").await, 200);
    for forged in ["2.2.2.2", "10.0.0.1, 3.3.3.3", "nonsense", ""] {
        assert_eq!(from(&service, "9.9.9.9", forged).await, 429, "{forged}");
    }
    assert_eq!(from(&service, "10.0.0.1", "6.6.6.6, 1.1.1.1").await, 200);
    assert_eq!(from(&service, "10.0.0.2", "7.7.7.7, 1.1.1.1").await, 429);
    assert_eq!(from(&service, "2001:db8::1", "").await, 200);
    for host in 2..50 {
        assert_eq!(from(&service, &format!("2001:db8::{host:x}:1"), "").await, 429);
    }
    assert_eq!(from(&service, "2001:db8:0:1::1", "").await, 200);
}

#[tokio::test(start_paused = true)]
async fn requests_without_a_key_are_as_the_policy_says() {
    for (keyless, statuses) in
        [(Keyless::Admit, [200, 200]), (Keyless::Share, [200, 429]), (Keyless::Refuse, [429, 429])]
    {
        let (service, _) = serve(&layer(one_an_hour().keyed(tenant()).keyless(keyless)));
        for status in statuses {
            let answer = call(&service, Request::get("/")).await;
            assert_eq!(answer.status(), status, "{keyless:?}");
            assert!(!answer.headers().contains_key("retry-after") || status == 429);
        }
        assert_eq!(with(&service, "x-tenant", "a").await, 200);
    }
}

#[tokio::test(start_paused = true)]
async fn a_long_key_is_as_good_as_a_short_one() {
    let (service, _) = serve(&layer(one_an_hour().keyed(tenant())));
    let long = "x".repeat(10_000);
    assert_eq!(with(&service, "x-tenant", &long).await, 200);
    assert_eq!(with(&service, "x-tenant", &long).await, 429);
    assert_eq!(with(&service, "x-tenant", &long[1..]).await, 200);
}

#[tokio::test(start_paused = true)]
async fn a_tier_has_a_quota_of_its_own_and_some_are_exempt() {
    let limit = one_an_hour().keyed(tenant()).tier("paid", Quota::per_hour(nonzero!(3))).tier_by(
        |head, _| match head.headers()["x-tenant"].as_bytes() {
            b"us" => Tier::Exempt,
            b"big" => Tier::Named("paid"),
            b"odd" => Tier::Named("nobody knows"),
            _ => Tier::Own,
        },
    );
    let (service, _) = serve(&layer(limit));
    for (name, admitted) in [("us", 9), ("big", 3), ("odd", 1), ("small", 1)] {
        for number in 0..9 {
            let status = if number < admitted { 200 } else { 429 };
            assert_eq!(with(&service, "x-tenant", name).await, status, "{name} {number}");
        }
    }
    let answer = call(&service, Request::get("/").header("x-tenant", "big")).await;
    assert_eq!(answer.headers()["ratelimit-policy"], r#""paid";q=3;w=3600"#);
}

#[tokio::test(start_paused = true)]
async fn more_keys_than_there_is_room_for_are_forgotten_and_counted() {
    let evictions = Arc::new(AtomicU64::new(0));
    let counted = evictions.clone();
    let observe = move |event: &Event<'_>| {
        if matches!(event, Event::KeyEvicted) {
            counted.fetch_add(1, Ordering::Relaxed);
        }
    };
    let layer = layer(one_an_hour().keyed(tenant()).keys(nonzero!(1))).observe(Arc::new(observe));
    let (service, _) = serve(&layer);
    for number in 0..100 {
        assert_eq!(with(&service, "x-tenant", &number.to_string()).await, 200);
    }
    let evicted = layer.handle().stats().evicted;
    assert_eq!((evicted, evictions.load(Ordering::Relaxed)), (84, 84));
}

#[tokio::test(start_paused = true)]
async fn events_tell_who_was_refused() {
    let keys = Arc::new(std::sync::Mutex::new(Vec::new()));
    let seen = keys.clone();
    let observe = move |event: &Event<'_>| {
        if let Event::Refused { key: Some(key), refusal } = event {
            seen.lock().unwrap().push((**key, refusal.wait().is_some()));
        }
    };
    let (service, _) = serve(&layer(one_an_hour().keyed_by(tenant_of)).observe(Arc::new(observe)));
    for _ in 0..2 {
        with(&service, "x-tenant", "a").await;
    }
    assert_eq!(*keys.lock().unwrap(), [(Key::new("a"), true)]);
}

fn tenant_of(head: &tower_edge_core::RequestHead<'_>) -> Option<Key> {
    head.headers().get("x-tenant").map(Key::new)
}
