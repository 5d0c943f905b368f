//! What lies in Redis.

use bytes::Bytes;
use tower_edge_cache::{Change, Tier};
use tower_edge_redis::RedisTier;
use tower_edge_testkit::redis::{Cluster, Server};

use crate::{PATIENCE, found, put, remove, tier};

async fn keys(server: &Server) -> Vec<String> {
    let keys = server.cli(&["KEYS", "*"]).await;
    let mut keys: Vec<_> = keys.lines().map(str::to_owned).collect();
    keys.sort();
    keys
}

#[tokio::test]
async fn all_keys_have_the_prefix_and_all_of_records_an_end() {
    let server = Server::start().await;
    let tier = RedisTier::new(&server.url()).unwrap().prefix("shop").deadline(PATIENCE).chunks(10);
    tier.write(&[put("k", 0, "small"), put("k", 1, "much larger")]).await.unwrap();
    tier.note("purge".into()).await.unwrap();
    let keys = keys(&server).await;
    let (log, records): (Vec<_>, Vec<_>) = keys.iter().partition(|key| key.contains("{log}"));
    let names = ["changes", "generation", "notes"].map(|name| format!("shop:{{log}}:{name}"));
    assert!(log.into_iter().eq(&names), "{keys:?}");
    // One for the fields, two for the chunks.
    assert_eq!(records.len(), 3, "{records:?}");
    for key in records {
        let left: u64 = server.cli(&["TTL", key]).await.parse().unwrap();
        assert!(key.starts_with("shop:{") && (500..=600).contains(&left), "{key} {left}");
    }
}

#[tokio::test]
async fn a_hash_stays_as_long_as_the_record_of_it_that_is_of_use_longest() {
    let server = Server::start().await;
    let tier = tier(&server.url());
    let put = |variant, seconds| {
        let keep = std::time::Duration::from_secs(seconds);
        Change::Put { key: "k".into(), variant, record: "r".into(), keep, fence: None }
    };
    for (change, least, most) in [
        (put(0, 100), 90, 100),
        (put(1, 1_000), 990, 1_000),
        (put(2, 10), 990, 1_000),
        (remove("k"), 0, 0),
        (put(0, 50), 40, 50),
    ] {
        tier.write(std::slice::from_ref(&change)).await.unwrap();
        let keys = keys(&server).await;
        let key = keys.iter().find(|key| !key.contains("log"));
        let left = match key {
            Some(key) => server.cli(&["TTL", key]).await.parse().unwrap(),
            None => 0,
        };
        assert!((least..=most).contains(&left), "{left} after {change:?}");
    }
}

#[tokio::test]
async fn large_records_are_in_chunks_which_go_with_them() {
    let cluster = Cluster::start().await;
    let tier = tier(&cluster.url()).chunks(100);
    let record = |byte: u8, length: usize| Bytes::from(vec![byte; length]);
    let count = async || {
        let mut count = 0;
        for node in &cluster.nodes {
            count += keys(node).await.iter().filter(|key| !key.contains("{log}")).count();
        }
        count
    };
    for (changes, lengths, keys) in [
        (vec![put("k", 0, record(1, 101))], vec![101], 1 + 2),
        (vec![put("k", 1, record(2, 1_000)), put("k", 2, "small")], vec![5, 101, 1_000], 1 + 12),
        (vec![put("k", 1, record(3, 250))], vec![5, 101, 250], 1 + 5),
        (vec![Change::Remove { key: "k".into(), variant: Some(0) }], vec![5, 250], 1 + 3),
        (vec![put("k", 1, record(4, 300)), put("k", 1, record(5, 100))], vec![5, 100], 1),
        (vec![put("k", 0, record(6, 201))], vec![5, 100, 201], 1 + 3),
        (vec![remove("k"), put("k", 7, record(7, 400))], vec![400], 1 + 4),
        (vec![remove("k")], vec![], 0),
    ] {
        tier.write(&changes).await.unwrap();
        let mut found: Vec<_> = found(&tier, "k").await.iter().map(Bytes::len).collect();
        found.sort_unstable();
        assert_eq!((found, count().await), (lengths, keys), "{changes:?}");
    }
}

#[tokio::test]
async fn a_record_that_lacks_a_chunk_is_a_miss_and_the_others_are_not() {
    let server = Server::start().await;
    let tier = tier(&server.url()).chunks(10);
    tier.write(&[put("k", 0, "in three chunks, as it is"), put("k", 1, "small")]).await.unwrap();
    let keys = keys(&server).await;
    let chunk = keys.iter().find(|key| key.ends_with(":1")).unwrap();
    server.cli(&["DEL", chunk]).await;
    assert_eq!(found(&tier, "k").await, ["small"]);
    server.cli(&["SET", chunk, "another length"]).await;
    assert_eq!(found(&tier, "k").await, ["small"]);
}

#[tokio::test]
async fn there_are_as_many_variants_as_a_cache_has() {
    let server = Server::start().await;
    let tier = tier(&server.url());
    for variant in 0..100 {
        tier.write(&[put("k", variant, variant.to_string())]).await.unwrap();
        let found = found(&tier, "k").await;
        assert_eq!(found.len(), 32.min(variant as usize + 1));
        assert!(found.contains(&Bytes::from(variant.to_string())));
    }
}

#[tokio::test]
async fn what_another_node_clears_is_gone_with_the_next_news_or_write() {
    let cluster = Cluster::start().await;
    let [one, other] =
        [0, 1].map(|_| RedisTier::new(&cluster.url()).unwrap().prefix("shared").deadline(PATIENCE));
    other.notes().await.unwrap();
    for (name, tier) in [("by one", &one), ("by other", &other)] {
        tier.write(&[put(name, 0, name)]).await.unwrap();
    }
    assert_eq!(found(&other, "by one").await, ["by one"]);
    one.write(&[Change::Clear, put("after", 0, "after")]).await.unwrap();
    // It writes where the records are now.
    other.write(&[put("later", 0, "later"), remove("after")]).await.unwrap();
    for tier in [&one, &other] {
        for (name, there) in [("by one", 0), ("by other", 0), ("after", 0), ("later", 1)] {
            assert_eq!(found(tier, name).await.len(), there, "{name}");
        }
    }
    one.write(&[Change::Clear]).await.unwrap();
    while !other.news().await.unwrap().missed {}
    assert_eq!(found(&other, "later").await, [""; 0]);
}

#[tokio::test]
async fn after_a_loss_of_data_all_that_was_noted_before_is_forgotten() {
    let server = Server::start().await;
    let tier = tier(&server.url());
    let first = tier.note("first".into()).await.unwrap();
    assert!(tier.notes().await.unwrap().forgotten < first);
    server.cli(&["FLUSHALL"]).await;
    let notes = tier.notes().await.unwrap();
    assert!(notes.forgotten > first && notes.notes.is_empty(), "{notes:?}");
    let next = tier.note("next".into()).await.unwrap();
    assert!(next > notes.forgotten);
    tier.write(&[put("k", 0, "r")]).await.unwrap();
    assert_eq!(found(&tier, "k").await, ["r"]);
}

#[tokio::test]
async fn the_oldest_notes_are_forgotten_before_there_are_too_many() {
    let server = Server::start().await;
    let tier = tier(&server.url());
    let first = tier.note("first".into()).await.unwrap();
    let keys = keys(&server).await;
    let notes = keys.iter().find(|key| key.ends_with("notes")).unwrap();
    // As many as it takes, without a trip for each.
    let add = "for n = 1, 70000 do redis.call('XADD', KEYS[1], '*', 'note', 'n') end";
    server.cli(&["EVAL", add, "1", notes]).await;
    let last = tier.note("last".into()).await.unwrap();
    let read = tier.notes().await.unwrap();
    assert!((65_536..65_900).contains(&read.notes.len()), "{}", read.notes.len());
    assert!(read.forgotten > first && read.forgotten < read.notes[0].0);
    assert_eq!(read.notes.last(), Some(&(last, Bytes::from("last"))));
    assert!(read.notes.windows(2).all(|pair| pair[0].0 < pair[1].0));
}

#[tokio::test]
async fn a_handle_tells_how_redis_does() {
    let (server, cluster) = (Server::start().await, Cluster::start().await);
    for (url, masters) in [(server.url(), 1), (cluster.url(), 3)] {
        let tier = tier(&url);
        let handle = tier.handle();
        let puts: Vec<_> = (0..30).map(|key| put(&key.to_string(), 0, "record")).collect();
        tier.write(&puts).await.unwrap();
        let stats = handle.stats().await.unwrap();
        // The generation and the changes are there too.
        assert_eq!(stats.keys, 32, "{stats:?}");
        assert!(stats.clients >= masters && stats.memory > masters << 19, "{stats:?}");
        assert_eq!((stats.memory_limit, stats.evicted), (0, 0));
    }
}
