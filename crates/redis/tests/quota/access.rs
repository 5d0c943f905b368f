//! Who is let in.

use tower_edge_limit::{QuotaStore, Take};
use tower_edge_redis::RedisQuotas;
use tower_edge_testkit::redis::{Cluster, Server};

use crate::{PATIENCE, granted, hourly, store};

/// The second command of the crate's documentation, without its first words.
fn documented() -> Vec<String> {
    let docs = include_str!("../../src/lib.rs");
    let (_, after) = docs.split_once("For quotas alone").unwrap();
    let lines = after.lines().skip_while(|line| !line.contains("ACL SETUSER"));
    let lines = lines.take_while(|line| *line != "//! ```");
    let words = lines.flat_map(|line| line.trim_start_matches("//!").split_ascii_whitespace());
    words.filter(|word| *word != "\\").map(str::to_owned).collect()
}

async fn uses_all(store: &RedisQuotas) {
    let ask = Take { ask: 9, ..hourly(10) };
    assert_eq!(granted(store, "k", ask).await, 9);
    assert_eq!(granted(store, "k", Take { back: 9, ..ask }).await, 9);
    assert_eq!(granted(store, "k", Take { back: 9, ..hourly(10) }).await, 0);
    assert_eq!(store.nodes().await.unwrap(), 1);
    store.reset(&tower_edge_core::Key::GLOBAL, "hourly").await.unwrap();
}

#[tokio::test]
async fn the_rights_that_are_documented_are_enough() {
    let server = Server::start().await;
    let command = documented();
    let command: Vec<_> = command.iter().map(String::as_str).collect();
    assert_eq!(server.cli(&command).await, "OK");
    let url = format!("redis://edge:secret@{}", server.address());
    uses_all(&store(&url)).await;
    let foreign = RedisQuotas::new(&url).unwrap().prefix("foreign").deadline(PATIENCE);
    let error = foreign.nodes().await.unwrap_err().to_string();
    assert!(error.contains("NOPERM") || error.contains("permission"), "{error}");
}

#[tokio::test]
async fn the_rights_that_are_documented_are_enough_for_a_cluster() {
    let cluster = Cluster::start().await;
    let command = documented();
    let mut command: Vec<_> = command.iter().map(String::as_str).collect();
    command.push("+cluster|slots");
    for node in &cluster.nodes {
        assert_eq!(node.cli(&command).await, "OK");
    }
    uses_all(&store(&cluster.url().replace("://", "://edge:secret@"))).await;
}

#[tokio::test]
async fn nothing_of_a_password_is_shown() {
    let quotas = RedisQuotas::new("redis://:hidden@127.0.0.1:1").unwrap();
    assert!(!format!("{quotas:?}").contains("hidden"));
    let error = quotas.nodes().await.unwrap_err().to_string();
    assert!(!error.contains("hidden"), "{error}");
    assert!(RedisQuotas::new("http://h").is_err());
}
