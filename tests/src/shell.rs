use std::process::Output;

use tokio::process::Command;

use crate::soon;

/// Runs a line of shell.
pub async fn shell(line: &str) -> Output {
    soon(Command::new("sh").args(["-c", line]).kill_on_drop(true).output()).await.unwrap()
}

/// What a `curl` command prints, without its progress; fails when it fails.
pub async fn run(command: &str) -> String {
    let output = shell(&format!("{command} -sS")).await;
    assert!(output.status.success(), "{command}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

/// Whether an answer, as `curl -i` prints it, came from a cache of ours.
pub fn is_hit(said: &str) -> bool {
    said.contains("\r\nage: ") && said.contains("\r\ncache-status: tower-edge; hit; ttl=")
}

/// The body of an answer, as `curl -i` prints it.
pub fn body(said: &str) -> &str {
    said.split_once("\r\n\r\n").expect("a head").1
}
