//! The example of shared limits as a process of its own.

#![allow(clippy::unwrap_used, reason = "a test may end where it fails")]

use tower_edge_testkit::redis::Server;
use tower_edge_tests::{Program, body, run};

#[tokio::test]
async fn printed_commands_do_what_they_say() {
    let redis = Server::start().await;
    let apps = Program::start(env!("CARGO_BIN_EXE_shared_limits"), &[&redis.url()]).await;
    for (command, claim) in apps.tries() {
        let said = run(command).await;
        match claim {
            "admitted: RateLimit says that 4 permits are left" => {
                assert!(said.contains(" 200 ") && said.contains("\"client\";r=4;t="), "{said}");
                assert_eq!(body(&said), "hello\n");
            }
            "200 four times, from the other app, and then 429" => {
                assert_eq!(said.trim(), "200 200 200 200 429 429");
            }
            "429 here too, and Retry-After says when there is a permit" => {
                let wait = said.split("retry-after: ").nth(1).unwrap().split('\r').next().unwrap();
                assert!(said.contains(" 429 ") && wait.parse::<u32>().unwrap() <= 6, "{said}");
            }
            "how many apps there are, and how often this one has asked Redis" => {
                assert!(said.contains("\"failed\":0") && !said.contains("\"asked\":0"), "{said}");
                assert!(said.contains("\"without_redis\":0"), "{said}");
            }
            unknown => panic!("nobody checks `{unknown}`"),
        }
    }
}
