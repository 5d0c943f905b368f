//! An axum API with the layers of tower-edge on it.
//!
//! `cargo run --release --example axum_api` starts it and prints what to try;
//! an address may follow, such as `-- 127.0.0.1:8080`.

use std::collections::HashMap;
use std::env;
use std::net::SocketAddr;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::http::header::CACHE_CONTROL;
use axum::response::{IntoResponse, Json, Response};
use axum::routing::get;
use axum::{Router, serve};
use serde_json::json;
use tokio::net::TcpListener;
use tokio::time::sleep;
use tower_edge::Edge;
use tower_edge::cache::CacheLayer;
use tower_edge::metrics::LatencyLayer;

#[tokio::main]
async fn main() -> std::io::Result<()> {
    let latency = LatencyLayer::new().server_timing(true);
    let cache = CacheLayer::new(64 << 20);
    let (measured, cached) = (latency.handle(), cache.handle());
    let stats = async move || {
        let (all, stored) = (measured.snapshot().merged(), cached.stats());
        let p99 = all.total.quantile(0.99).unwrap_or_default();
        Json(
            json!({"requests": all.count(), "hits": stored.hits, "p99_ms": p99.as_secs_f64() * 1e3}),
        )
    };

    let memo = cache.handle().memo("lamps");
    let names = async move |State(lamps): State<Lamps>| {
        Json(memo.get_or_compute("names", FIVE_SECONDS, || named(lamps)).await)
    };

    let app = Router::new()
        .route("/lamps/{id}", get(lamp).put(rename))
        .route("/me", get(me))
        .layer(Edge::new().latency(latency).cache(cache))
        .route("/names", get(names))
        .route("/stats", get(stats))
        .with_state(Lamps::default());

    let address = env::args().nth(1).unwrap_or_else(|| "127.0.0.1:3000".into());
    let listener = TcpListener::bind(address).await?;
    println!("The API listens on http://{}. Try:\n", listener.local_addr()?);
    println!("{}", HINTS.replace("API", &format!("http://{}", listener.local_addr()?)));
    println!("Ctrl-C stops it.");
    serve(listener, app.into_make_service_with_connect_info::<SocketAddr>()).await
}

/// The names that lamps were given.
type Lamps = Arc<RwLock<HashMap<u32, String>>>;

/// Everybody may keep this for a minute.
async fn lamp(State(lamps): State<Lamps>, Path(id): Path<u32>) -> Response {
    let lamps = lamps.read().unwrap_or_else(PoisonError::into_inner);
    let name = lamps.get(&id).cloned().unwrap_or_else(|| "a lamp".into());
    ([(CACHE_CONTROL, "max-age=60")], Json(json!({"id": id, "name": name}))).into_response()
}

/// The cache forgets the lamp, because a PUT to its URI succeeds.
async fn rename(State(lamps): State<Lamps>, Path(id): Path<u32>, name: String) -> StatusCode {
    lamps.write().unwrap_or_else(PoisonError::into_inner).insert(id, name);
    StatusCode::NO_CONTENT
}

/// The names of all lamps: a slow query, which is made once in five seconds,
/// however many ask.
async fn named(lamps: Lamps) -> Vec<String> {
    sleep(Duration::from_millis(200)).await;
    let lamps = lamps.read().unwrap_or_else(PoisonError::into_inner);
    let mut names: Vec<_> = lamps.values().cloned().collect();
    names.sort();
    names
}

/// Nobody but the user may keep this.
async fn me() -> Response {
    ([(CACHE_CONTROL, "private, max-age=60")], Json(json!({"name": "you"}))).into_response()
}

const FIVE_SECONDS: Duration = Duration::from_secs(5);

const HINTS: &str = "\
curl -i API/lamps/1
  # the second time from the cache: an Age, and `hit` in Cache-Status
curl -i API/lamps/1 -X PUT -d 'a bright lamp'
  # renames it: the next GET asks the handler
curl API/names
  # takes 200 ms, and then nothing for five seconds: the handler remembers it
curl -i API/me
  # private: never stored
curl -I API/lamps/1
  # Server-Timing says how long the layers took
curl API/stats
  # how many requests, how many of them hits, and how long they took
";
