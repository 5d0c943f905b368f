//! The suite of all tiers, on one node and on a Cluster.

use tower_edge_testkit::redis::{Cluster, Server};
use tower_edge_testkit::tier::all;

use crate::tier;

#[tokio::test]
async fn one_node_passes_the_suite_of_all_tiers() {
    let server = Server::start().await;
    all(async || tier(&server.url())).await;
}

#[tokio::test]
async fn a_cluster_passes_the_suite_of_all_tiers() {
    let cluster = Cluster::start().await;
    all(async || tier(&cluster.url())).await;
    for node in &cluster.nodes {
        assert_ne!(node.cli(&["DBSIZE"]).await, "0", "each has its part");
    }
}
