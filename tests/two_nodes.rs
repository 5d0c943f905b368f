//! The example of two nodes as a process of its own.

#![allow(clippy::unwrap_used, reason = "a test may end where it fails")]

use tower_edge_testkit::redis::Server;
use tower_edge_tests::{Program, body, is_hit, run, soon};

#[tokio::test]
async fn printed_commands_do_what_they_say() {
    let redis = Server::start().await;
    let nodes = Program::start(env!("CARGO_BIN_EXE_two_nodes"), &[&redis.url()]).await;
    let mut first = String::new();
    let mut get = "";
    for (command, claim) in nodes.tries() {
        let said = run(command).await;
        match claim {
            "the node asks the origin, and tells Redis" => {
                assert!(!is_hit(&said) && body(&said).contains("\"asked\":1"), "{said}");
                first = said;
            }
            "from Redis: `asked` is the same, and there is an Age" => {
                // Redis is told behind the back of who has asked.
                assert_eq!(body(&said), body(&first));
                assert!(is_hit(&said), "{said}");
                get = command;
            }
            "the next GET asks the origin, from whichever node" => {
                assert!(said.contains(" 204 "), "{said}");
                soon(async { while !run(get).await.contains("a bright lamp") {} }).await;
            }
            "what this node looked for in Redis, and what Redis has" => {
                assert!(said.contains("\"errors\":0") && !said.contains("\"hits\":0"), "{said}");
                assert!(!said.contains("\"clients\":0"), "{said}");
            }
            unknown => panic!("nobody checks `{unknown}`"),
        }
    }
}
