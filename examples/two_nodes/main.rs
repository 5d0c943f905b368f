//! Two nodes of one service, which share a Redis.
//!
//! `cargo run --release --example two_nodes -- redis://127.0.0.1:6379` starts both and
//! prints what to try; README.md says what happens there. In earnest each is a process
//! on a machine of its own.

use std::env;
use std::error::Error;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use axum::extract::State;
use axum::http::StatusCode;
use axum::http::header::CACHE_CONTROL;
use axum::response::{IntoResponse, Json};
use axum::routing::get;
use axum::{Router, serve};
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tower_edge::cache::{CacheHandle, CacheLayer};
use tower_edge::redis::{RedisHandle, RedisTier};

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let url = env::args().nth(1).unwrap_or_else(|| "redis://127.0.0.1:6379".into());
    let origin = Origin::default();
    let one = node(&url, origin.clone()).await?;
    let other = node(&url, origin).await?;
    println!("The nodes listen on http://{one} and on http://{other}. Try:\n");
    let hints = HINTS.replace("ONE", &format!("http://{one}"));
    println!("{}", hints.replace("OTHER", &format!("http://{other}")));
    println!("Ctrl-C stops it.");
    tokio::signal::ctrl_c().await?;
    Ok(())
}

/// Starts a node with a cache of its own in front of the origin.
async fn node(url: &str, origin: Origin) -> Result<SocketAddr, Box<dyn Error>> {
    // A look may take longer than by default: what is shown here is not to be missed.
    let tier = RedisTier::new(url)?.prefix("two-nodes").deadline(Duration::from_millis(500));
    let redis = tier.handle();
    let cache = CacheLayer::new(64 << 20).tier(tier);
    let handle = cache.handle();
    let app = Router::new()
        .route("/lamp", get(lamp).put(rename))
        .with_state(origin)
        .layer(cache)
        .route("/stats", get(async move || Json(stats(&handle, &redis).await)));
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let address = listener.local_addr()?;
    tokio::spawn(async move { serve(listener, app).await });
    Ok(address)
}

/// What both nodes ask: the name of the lamp, and how often it was asked for.
#[derive(Clone, Default)]
struct Origin {
    name: Arc<RwLock<String>>,
    asked: Arc<AtomicU64>,
}

async fn lamp(State(origin): State<Origin>) -> impl IntoResponse {
    let asked = origin.asked.fetch_add(1, Ordering::Relaxed) + 1;
    let name = origin.name.read().unwrap_or_else(PoisonError::into_inner).clone();
    ([(CACHE_CONTROL, "max-age=60")], Json(json!({"name": name, "asked": asked})))
}

async fn rename(State(origin): State<Origin>, name: String) -> StatusCode {
    *origin.name.write().unwrap_or_else(PoisonError::into_inner) = name;
    StatusCode::NO_CONTENT
}

/// What the node has asked Redis for, and what Redis has.
async fn stats(cache: &CacheHandle, redis: &RedisHandle) -> Value {
    let looks = cache.tier().unwrap_or_default();
    let redis = redis.stats().await.unwrap_or_default();
    json!({
        "looks": {"hits": looks.hits, "misses": looks.misses, "errors": looks.errors},
        "mean_us": looks.mean().as_micros() as u64,
        "redis": {"clients": redis.clients, "keys": redis.keys, "memory": redis.memory},
    })
}

/// With the same host for both: clients reach them by one name.
const HINTS: &str = "\
curl -i ONE/lamp -H 'Host: lamps.example'
  # the node asks the origin, and tells Redis
curl -i OTHER/lamp -H 'Host: lamps.example'
  # from Redis: `asked` is the same, and there is an Age
curl -i ONE/lamp -H 'Host: lamps.example' -X PUT -d 'a bright lamp'
  # the next GET asks the origin, from whichever node
curl OTHER/stats
  # what this node looked for in Redis, and what Redis has
";
