//! Who is let in, and by what.

use tower_edge_cache::{Change, Tier};
use tower_edge_redis::RedisTier;
use tower_edge_testkit::redis::{Cluster, Server};
use tower_edge_testkit::tier::all;

use crate::{PATIENCE, found, put, tier};

/// The command of the crate's documentation, without its first words.
fn documented(heading: &str) -> Vec<String> {
    let docs = include_str!("../../src/lib.rs");
    let (_, after) = docs.split_once(heading).unwrap();
    let lines = after.lines().skip_while(|line| !line.contains("ACL SETUSER"));
    let lines = lines.take_while(|line| *line != "//! ```");
    let words = lines.flat_map(|line| line.trim_start_matches("//!").split_ascii_whitespace());
    words.filter(|word| *word != "\\").map(str::to_owned).collect()
}

#[tokio::test]
async fn the_rights_that_are_documented_are_enough() {
    let server = Server::start().await;
    let command = documented("# Rights");
    let command: Vec<_> = command.iter().map(String::as_str).collect();
    assert_eq!(server.cli(&command).await, "OK");
    let url = format!("redis://edge:secret@{}", server.address());
    // Their keys have another prefix in this suite.
    server.cli(&["ACL", "SETUSER", "edge", "~test-*"]).await;
    all(async || tier(&url)).await;
    let own = RedisTier::new(&url).unwrap().deadline(PATIENCE).chunks(2);
    own.write(&[Change::Clear, put("k", 0, "record")]).await.unwrap();
    assert_eq!(found(&own, "k").await, ["record"]);
    own.lease(b"k").await.unwrap();
    own.notes().await.unwrap();
    assert!(!own.news().await.unwrap().missed);
    assert!(own.handle().stats().await.is_err());
    server.cli(&["ACL", "SETUSER", "edge", "+info", "+dbsize"]).await;
    assert!(own.handle().stats().await.unwrap().keys > 0);
    let foreign = RedisTier::new(&url).unwrap().prefix("foreign").deadline(PATIENCE);
    let error = foreign.write(&[put("k", 0, "record")]).await.unwrap_err().to_string();
    // Valkey begins with a capital letter.
    assert!(error.to_lowercase().contains("no permissions"), "{error}");
}

#[tokio::test]
async fn the_rights_that_are_documented_are_enough_for_a_cluster() {
    let cluster = Cluster::start().await;
    let command = documented("# Rights");
    let mut command: Vec<_> = command.iter().map(String::as_str).collect();
    command.extend(["~test-*", "+cluster|slots"]);
    for node in &cluster.nodes {
        assert_eq!(node.cli(&command).await, "OK");
    }
    let url = cluster.url().replace("://", "://edge:secret@");
    all(async || tier(&url)).await;
    let own = RedisTier::new(&url).unwrap().deadline(PATIENCE);
    own.lease(b"k").await.unwrap();
    own.notes().await.unwrap();
    assert!(!own.news().await.unwrap().missed);
    for node in &cluster.nodes {
        node.cli(&["ACL", "SETUSER", "edge", "+info", "+dbsize"]).await;
    }
    assert!(own.handle().stats().await.unwrap().keys > 0);
}

#[tokio::test]
async fn who_is_not_let_in_is_told_so_and_nothing_of_the_password() {
    let server = Server::start().await;
    server.cli(&["CONFIG", "SET", "requirepass", "secret"]).await;
    let right = tier(&format!("redis://:secret@{}", server.address()));
    assert_eq!(found(&right, "k").await.len(), 0);
    let wrong = format!("redis://:hidden@{}", server.address());
    for (url, why) in [(server.url(), "authenticated"), (wrong, "WRONGPASS")] {
        let tier = tier(&url);
        let error = tier.get(b"k").await.unwrap_err().to_string();
        assert!(error.contains(why), "{error}");
        assert!(!error.contains("hidden") && !format!("{tier:?}").contains("hidden"));
    }
}

#[tokio::test]
async fn tls_is_spoken_with_who_is_trusted_and_nobody_else() {
    let folder = tempfile::TempDir::new().unwrap();
    let path = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
    let (key, certificate) = (path("key.pem"), path("certificate.pem"));
    let mut openssl = tokio::process::Command::new("openssl");
    openssl.args(["req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1"]);
    openssl.args(["-nodes", "-days", "2", "-subj", "/CN=localhost"]);
    openssl.args(["-addext", "subjectAltName=IP:127.0.0.1", "-keyout", &key, "-out", &certificate]);
    // An authority by default, which a server is not.
    openssl.args(["-addext", "basicConstraints=critical,CA:FALSE"]);
    let made = openssl.output().await.unwrap();
    assert!(made.status.success(), "{made:?}");
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let port = port.to_string();
    let arguments = ["--tls-port", &port, "--tls-cert-file", &certificate, "--tls-key-file", &key];
    let more = ["--tls-ca-cert-file", &certificate, "--tls-auth-clients", "no"];
    let _server = Server::with(&[&arguments[..], &more].concat()).await;
    let url = format!("rediss://127.0.0.1:{port}");
    let pem = std::fs::read(&certificate).unwrap();
    let trusting = tier(&url).root_certificates(pem.clone()).unwrap();
    trusting.write(&[put("k", 0, "record")]).await.unwrap();
    assert_eq!(found(&trusting, "k").await, ["record"]);
    let error = tier(&url).get(b"k").await.unwrap_err().to_string();
    assert!(error.contains("certificate"), "{error}");
    let elsewhere = tier(&format!("rediss://localhost:{port}")).root_certificates(pem).unwrap();
    let error = elsewhere.get(b"k").await.unwrap_err().to_string();
    assert!(error.contains("certificate"), "{error}");
    assert!(tier("redis://h").root_certificates("nonsense").is_err());
}
