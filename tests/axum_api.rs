//! The axum example as a process of its own.

#![allow(clippy::unwrap_used, reason = "a test may end where it fails")]

use tower_edge_tests::{Program, body, is_hit, run};

#[tokio::test]
async fn printed_commands_do_what_they_say() {
    let api = Program::start(env!("CARGO_BIN_EXE_axum_api"), &["127.0.0.1:0"]).await;
    for (command, claim) in api.tries() {
        let (holds, said) = check(command, claim).await;
        assert!(holds, "{command}\n{claim}\n{said}");
    }
}

async fn check(command: &str, claim: &str) -> (bool, String) {
    let first = run(command).await;
    let holds = match claim {
        "the second time from the cache: an Age, and `hit` in Cache-Status" => {
            let second = run(command).await;
            !is_hit(&first) && is_hit(&second) && body(&first) == body(&second)
        }
        "renames it: the next GET asks the handler" => {
            let get = command.split(" -X").next().unwrap();
            let (next, after) = (run(get).await, run(get).await);
            first.contains(" 204 ")
                && !is_hit(&next)
                && is_hit(&after)
                && body(&next).contains("a bright lamp")
        }
        "takes 200 ms, and then nothing for five seconds: the handler remembers it" => {
            first == "[\"a bright lamp\"]" && run(command).await == first
        }
        "private: never stored" => !is_hit(&first) && !is_hit(&run(command).await),
        "Server-Timing says how long the layers took" => first.lines().any(|line| {
            line.starts_with("server-timing: cache;desc=\"hit\";dur=")
                && line.contains("total;dur=")
        }),
        "how many requests, how many of them hits, and how long they took" => {
            first.starts_with("{\"hits\":4,\"p99_ms\":") && first.ends_with(",\"requests\":8}")
        }
        unknown => panic!("nobody checks `{unknown}`"),
    };
    (holds, first)
}
