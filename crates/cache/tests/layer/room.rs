//! Bodies that are on their way into the cache at the same time, and what is left of
//! those that are out of it.

use std::sync::{Arc, Mutex};

use bytes::Bytes;
use http::Response;
use http_body_util::BodyExt;
use tower_edge_cache::{CacheBody, CacheLayer, Purge};
use tower_edge_core::Event;
use tower_edge_testkit::{Gate, MockBody, Received};

use crate::play::{Play, answer, request, respond, tasks};

const FRESH: &[(&str, &str)] = &[("cache-control", "max-age=60")];
const CAPACITY: u64 = 1 << 20;
const PIECE: usize = 50_000;

/// An origin whose bodies of two pieces wait between them, and what it is told of
/// those that are not stored.
fn halved(gate: &Gate, sized: bool) -> (Arc<Play>, Arc<Mutex<Vec<&'static str>>>) {
    let (told, held) = (Arc::<Mutex<Vec<_>>>::default(), gate.clone());
    let notes = told.clone();
    let observe = move |event: &Event<'_>| {
        if let Event::CacheNotStored { why } = event {
            notes.lock().unwrap().push(*why);
        }
    };
    let layer = CacheLayer::new(CAPACITY).observe(Arc::new(observe));
    let length = (2 * PIECE).to_string();
    let play = Play::with(layer, move |_, _| {
        let body = MockBody::new().data(vec![1; PIECE]).hold(&held).data(vec![2; PIECE]);
        match sized {
            true => respond(200, &[FRESH[0], ("content-length", &length)], body),
            false => respond(200, FRESH, body),
        }
    });
    (Arc::new(play), told)
}

/// What the cache holds of a page, while it does: who asks for the second time gets
/// the bytes that are stored.
async fn held(play: &Play, number: usize) -> Bytes {
    page(play, number).await.into_body().collect().await.unwrap();
    tasks().await;
    page(play, number).await.into_body().collect().await.unwrap().to_bytes()
}

async fn page(play: &Play, number: usize) -> Response<CacheBody<MockBody>> {
    play.send(request("GET", &format!("/{number}"), &[])).await
}

#[tokio::test(start_paused = true)]
async fn bodies_under_way_are_bounded_together_and_all_clients_get_theirs() {
    for sized in [true, false] {
        let gate = Gate::closed();
        let (play, told) = halved(&gate, sized);
        let mut clients = Vec::new();
        for number in 0..40 {
            let body = page(&play, number).await.into_body();
            clients.push(tokio::spawn(Received::from(body)));
            tasks().await;
            assert!(play.cache.stats().arriving <= CAPACITY * 9 / 8);
        }
        gate.open();
        for client in clients {
            let body = client.await.unwrap();
            assert_eq!((body.bytes().len(), body.error), (2 * PIECE, None));
        }
        let stats = play.cache.stats();
        assert_eq!((stats.arriving, play.origin.in_flight()), (0, 0));
        assert_eq!(stats.stored as usize + told.lock().unwrap().len(), 40);
        assert!(stats.stored > 0);
        assert!(told.lock().unwrap().iter().all(|why| *why == "too much under way"));
        // There is room again.
        for number in 40..60 {
            drop(page(&play, number).await);
            tasks().await;
        }
        assert_eq!(play.cache.stats().stored, stats.stored + 20);
    }
}

#[tokio::test(start_paused = true)]
async fn what_is_announced_and_does_not_come_keeps_nobody_out() {
    let gate = Gate::closed();
    let held = gate.clone();
    let play = Play::with(CacheLayer::new(CAPACITY), move |number, _| match number {
        0..100 => {
            let announced = [FRESH[0], ("content-length", "131072")];
            respond(200, &announced, MockBody::new().data("a").hold(&held).fail())
        }
        _ => answer(200, FRESH, &"x".repeat(2 * PIECE)),
    });
    let mut clients = Vec::new();
    for number in 0..100 {
        let body = page(&play, number).await.into_body();
        clients.push(tokio::spawn(Received::from(body)));
    }
    tasks().await;
    assert_eq!(play.cache.stats().arriving, 100);
    for did in ["fwd=uri-miss; stored", "hit"] {
        assert_eq!(play.get(&[]).await.did(), did);
    }
    gate.open();
    for client in clients {
        assert!(client.await.unwrap().error.is_some());
    }
    assert_eq!(play.cache.stats().arriving, 0);
}

#[tokio::test(start_paused = true)]
async fn who_comes_too_late_for_the_first_byte_asks_for_it() {
    let layer = CacheLayer::new(CAPACITY).max_entry(PIECE as u64);
    let play = Arc::new(Play::with(layer, |_, _| {
        respond(200, FRESH, MockBody::new().data(vec![1; PIECE]).data(vec![2; PIECE])).pause()
    }));
    let client = |_| {
        let play = play.clone();
        tokio::spawn(async move { play.get(&[]).await })
    };
    for client in (0..9).map(client).collect::<Vec<_>>() {
        let body = client.await.unwrap().body;
        assert_eq!((body.bytes().len(), body.error), (2 * PIECE, None));
    }
}

#[tokio::test(start_paused = true)]
async fn what_is_out_of_the_cache_is_out_of_memory_at_once() {
    let play = Play::with(CacheLayer::new(CAPACITY), |_, _| {
        let body = MockBody::new().data(vec![1; PIECE]);
        respond(200, FRESH, body)
    });
    let purged = held(&play, 0).await;
    assert!(!purged.is_unique());
    play.cache.purge(&"http://origin.example/0".parse().unwrap(), Purge::Hard);
    assert!(purged.is_unique());

    let replaced = held(&play, 0).await;
    assert!(!replaced.is_unique());
    play.ask(request("GET", "/0", &[("cache-control", "no-cache")])).await;
    assert!(replaced.is_unique());

    let (mut all, mut came) = (Vec::new(), 0);
    for number in 0..100 {
        all.push(held(&play, number).await);
        came += usize::from(!all[number].is_unique());
    }
    all.retain(|bytes| !bytes.is_unique());
    let entries = play.cache.stats().entries as usize;
    assert!(came > entries && all.len() <= entries, "{} of {came}, {entries}", all.len());
}
