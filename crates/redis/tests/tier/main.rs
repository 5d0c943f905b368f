//! The tier in Redis: the suite of all tiers, and what is its own.

#![expect(clippy::unwrap_used, reason = "a test fails by a panic")]

mod access;
mod coherence;
mod faults;
mod keys;
mod leases;
mod news;
mod suite;

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use tower_edge_cache::{Change, Tier};
use tower_edge_redis::RedisTier;

/// A tier with keys of its own, and time enough for a machine that is busy.
fn tier(url: &str) -> RedisTier {
    static NUMBER: AtomicU64 = AtomicU64::new(0);
    let prefix = format!("test-{}", NUMBER.fetch_add(1, Ordering::Relaxed));
    RedisTier::new(url).unwrap().prefix(&prefix).deadline(PATIENCE)
}

fn put(key: &str, variant: u128, record: impl Into<Bytes>) -> Change {
    let (key, record) = (Bytes::from(key.to_owned()), record.into());
    Change::Put { key, variant, record, keep: Duration::from_secs(600), fence: None }
}

fn remove(key: &str) -> Change {
    Change::Remove { key: key.to_owned().into(), variant: None }
}

async fn found(tier: &RedisTier, key: &str) -> Vec<Bytes> {
    tier.get(key.as_bytes()).await.unwrap()
}

const PATIENCE: Duration = Duration::from_secs(10);
