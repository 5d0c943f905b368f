//! What is asked for so often that threads hold copies of it.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use tower_edge_cache::CacheLayer;

use crate::play::{Got, Play, answer, request};

async fn got(play: &Play, target: &str) -> Got {
    play.ask(request("GET", target, &[])).await
}

const PAGES: usize = 3;

/// Readers on several threads, while pages change, which an unsafe request tells of:
/// none gets a page that is older than what was told when it asked.
#[tokio::test(flavor = "multi_thread", worker_threads = 3)]
async fn nobody_gets_what_is_older_than_its_invalidation() {
    let long = std::env::var_os("TOWER_EDGE_LONG").is_some_and(|long| long == "1");
    let rounds = if long { 100_000 } else { 5_000 };
    let origin = Arc::new([const { AtomicU64::new(0) }; PAGES]);
    let told = Arc::new([const { AtomicU64::new(0) }; PAGES]);
    let pages = origin.clone();
    let play = Arc::new(Play::with(CacheLayer::new(1 << 20), move |_, head| {
        let page: usize = head.uri().path()[1..].parse().unwrap();
        let version = pages[page].load(Ordering::SeqCst);
        answer(200, &[("cache-control", "max-age=600")], &version.to_string()).pause()
    }));
    let readers = (0..6_usize).map(|reader| {
        let (play, told) = (play.clone(), told.clone());
        tokio::spawn(async move {
            for round in 0..rounds {
                let page = (reader + round / 16) % PAGES;
                let least = told[page].load(Ordering::SeqCst);
                let got = got(&play, &format!("/{page}")).await;
                let version: u64 = got.text().parse().unwrap();
                assert!(version >= least, "page {page}: {version} after {least}: {}", got.did());
                if round % 8 == 0 {
                    tokio::task::yield_now().await;
                }
            }
        })
    });
    let readers = readers.collect::<Vec<_>>();
    let mut turn = 0;
    while !readers.iter().all(|reader| reader.is_finished()) {
        turn += 1;
        let page = turn % PAGES;
        let version = origin[page].fetch_add(1, Ordering::SeqCst) + 1;
        play.ask(request("PUT", &format!("/{page}"), &[])).await;
        told[page].store(version, Ordering::SeqCst);
        for _ in 0..64 {
            tokio::task::yield_now().await;
        }
    }
    for reader in readers {
        reader.await.unwrap();
    }
    let (hits, calls) = (play.cache.stats().hits, play.origin.calls());
    assert!(hits > rounds as u64 && calls > rounds as u64 / 100, "{hits} hits, {calls} calls");
}
