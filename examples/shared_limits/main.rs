//! Two apps, one budget: a client has its quota with both of them together.
//!
//! `cargo run --release --example shared_limits -- redis://127.0.0.1:6379` starts both
//! and prints what to try; README.md says what happens there. In earnest each is a
//! process on a machine of its own.

use std::env;
use std::error::Error;
use std::net::SocketAddr;
use std::time::Duration;

use axum::response::Json;
use axum::routing::get;
use axum::{Router, serve};
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tower_edge::core::ClientIp;
use tower_edge::limit::{Limit, LimitHandle, OnOutage, Quota, RateLimitLayer, nonzero};
use tower_edge::redis::RedisQuotas;

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let url = env::args().nth(1).unwrap_or_else(|| "redis://127.0.0.1:6379".into());
    let one = app(&url).await?;
    let other = app(&url).await?;
    println!("The apps listen on http://{one} and on http://{other}. Try:\n");
    let hints = HINTS.replace("ONE", &format!("http://{one}"));
    println!("{}", hints.replace("OTHER", &format!("http://{other}")));
    println!("Ctrl-C stops it.");
    tokio::signal::ctrl_c().await?;
    Ok(())
}

/// Ten requests a minute, and five at once.
const SLOW: Quota = Quota::per_minute(nonzero!(10)).burst(nonzero!(5));

/// Starts an app whose clients have their quota with all apps.
async fn app(url: &str) -> Result<SocketAddr, Box<dyn Error>> {
    // A request may wait longer than by default: what is shown here is not to be missed.
    let quotas = RedisQuotas::new(url)?.prefix("shared-limits").deadline(Duration::from_secs(1));
    let clients = Limit::new("client", SLOW).keyed(ClientIp::peer());
    let layer = RateLimitLayer::new(clients).store(quotas).on_outage(OnOutage::Local);
    let handle = layer.handle();
    let app = Router::new()
        .route("/hello", get(async || "hello\n"))
        .layer(layer)
        .route("/stats", get(async move || Json(stats(&handle))));
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let address = listener.local_addr()?;
    let app = app.into_make_service_with_connect_info::<SocketAddr>();
    tokio::spawn(async move { serve(listener, app).await });
    Ok(address)
}

/// What this app has asked Redis, and how many apps it knows of.
fn stats(handle: &LimitHandle) -> Value {
    let stats = handle.stats();
    json!({
        "nodes": stats.nodes,
        "refused": stats.refused,
        "asked": stats.asked,
        "failed": stats.failed,
        "without_redis": stats.unasked,
    })
}

const HINTS: &str = "\
curl -i ONE/hello
  # admitted: RateLimit says that 4 permits are left
curl -s -o /dev/null -w '%{http_code} ' 'OTHER/hello?[1-6]'
  # 200 four times, from the other app, and then 429
curl -i ONE/hello
  # 429 here too, and Retry-After says when there is a permit
curl OTHER/stats
  # how many apps there are, and how often this one has asked Redis
";
