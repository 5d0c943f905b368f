//! Fills a cache several times over with responses of distinct targets, and prints
//! what it says that it holds, and what the process takes for it.
//!
//! `fill small|large|mixed|tiny MIB TARGETS` sends requests for so many targets
//! through a cache of so many MiB and prints four numbers in KiB: the setting, what
//! the cache holds at the end, and what of the process is resident then and was at
//! most, more than before.

#![allow(clippy::unwrap_used, reason = "who reads the numbers misses them then")]

use std::convert::Infallible;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::{BodyExt, Full};
use tower::{Layer, Service, ServiceExt, service_fn};
use tower_edge::cache::{CacheLayer, Purge};

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [kind, mib, targets] = &arguments[..] else { panic!("fill KIND MIB TARGETS") };
    let kind = match kind.as_str() {
        "tiny" => Kind::Tiny,
        "small" => Kind::Small,
        "large" => Kind::Large,
        _ => Kind::Mixed,
    };
    let (capacity, targets) = (mib.parse::<u64>().unwrap() << 20, targets.parse().unwrap());
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(THREADS).build();
    runtime.unwrap().block_on(async {
        // What the first cache of a process takes, and each of its threads.
        fill(&CacheLayer::new(64 << 10), kind, 100).await;
        let before = resident();
        let layer = CacheLayer::new(capacity);
        let most = fill(&layer, kind, targets).await - before;
        let (held, resident) = (layer.handle().stats().bytes >> 10, resident() - before);
        println!("{} {held} {resident} {most}", capacity >> 10);
    });
}

/// Asks for so many targets, by several tasks at once; gives what was resident at
/// most.
async fn fill(layer: &CacheLayer, kind: Kind, targets: u64) -> u64 {
    let (next, most) = (Arc::<AtomicU64>::default(), Arc::<AtomicU64>::default());
    let service = layer.layer(service_fn(move |request: Request<Full<Bytes>>| async move {
        Ok::<_, Infallible>(kind.response(request.uri().path()))
    }));
    let task = |_| {
        let (next, most) = (next.clone(), most.clone());
        let (mut service, handle) = (service.clone(), layer.handle());
        tokio::spawn(async move {
            loop {
                let number = next.fetch_add(1, Ordering::Relaxed);
                if number >= targets {
                    return;
                }
                let languages = if number.is_multiple_of(4) { LANGUAGES } else { &LANGUAGES[..1] };
                let asked = languages.iter().map(|language| (number, language));
                // And once more for one of those that everybody wants.
                for (number, language) in asked.chain([(number % HOT, &LANGUAGES[0])]) {
                    let request = Request::get(format!("/products/{number}?session=none"))
                        .header("host", "shop.example")
                        .header("accept-language", *language);
                    let request = request.body(Full::default()).unwrap();
                    let response = service.ready().await.unwrap().call(request).await.unwrap();
                    response.into_body().collect().await.unwrap();
                }
                // Nothing here waits for anything, and refreshes are to have their turn.
                tokio::task::yield_now().await;
                if number.is_multiple_of(8) {
                    handle.purge_tag(&format!("product-{number}"), Purge::Soft);
                }
                if number.is_multiple_of(16) {
                    most.fetch_max(resident(), Ordering::Relaxed);
                }
            }
        })
    };
    for task in (0..2 * THREADS).map(task).collect::<Vec<_>>() {
        task.await.unwrap();
    }
    most.load(Ordering::Relaxed)
}

#[derive(Clone, Copy)]
enum Kind {
    /// 100 bytes each, and few fields.
    Tiny,
    /// 1,000 bytes each.
    Small,
    /// 1 MiB each.
    Large,
    /// Between 200 bytes and 64 KiB, most of them small.
    Mixed,
}

impl Kind {
    /// The response of a target, the same each time: it varies, and has tags and up
    /// to 20 fields.
    fn response(self, path: &str) -> Response<Full<Bytes>> {
        let number: u64 = path.rsplit('/').next().unwrap().parse().unwrap();
        let chance = number.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 32;
        let bytes = match self {
            Self::Tiny => 100,
            Self::Small => 1_000,
            Self::Large => 1 << 20,
            Self::Mixed => (200.0 * 327.68_f64.powf(chance as f64 / 2_f64.powi(32))) as usize,
        };
        let mut response = Response::builder()
            .header("cache-control", "public, max-age=3600, stale-while-revalidate=60")
            .header("vary", "accept-language")
            .header("surrogate-key", format!("products product-{number} shop"))
            .header("server", "origin/1.0");
        if matches!(self, Self::Tiny) {
            return response
                .header("etag", "\"tiny\"")
                .body(Full::from(vec![b'.'; bytes]))
                .unwrap();
        }
        response = response.header("content-type", "text/html; charset=utf-8");
        if chance.is_multiple_of(2) || matches!(self, Self::Large) {
            response = response.header("etag", format!("\"{number}\""));
        }
        for more in 0..chance % 16 {
            response = response.header(format!("x-field-{more}"), format!("value {number}"));
        }
        response.body(Full::from(vec![b'.'; bytes])).unwrap()
    }
}

/// What of the process is in memory, in KiB.
fn resident() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let resident = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
    resident.trim_end_matches("kB").trim().parse().unwrap()
}

const THREADS: usize = 2;

/// How many targets everybody wants.
const HOT: u64 = 64;

const LANGUAGES: &[&str] = &["en", "de", "fr"];
