//! What the gateway prints to try: every line is run, every claim is checked.

use std::process::Stdio;

use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::Command;
use tower_edge_tests::{Origin, body, is_hit, run, soon};

use crate::{before, gateway};

#[tokio::test]
async fn printed_commands_do_what_they_say() {
    try_all(&[]).await;
}

#[tokio::test]
async fn commands_printed_with_measurements_do_what_they_say() {
    try_all(&["--server-timing"]).await;
}

#[tokio::test]
async fn commands_printed_with_all_that_rfc_9111_permits_do_what_they_say() {
    try_all(&["--cache-rfc"]).await;
}

#[tokio::test]
async fn commands_printed_without_the_cache_do_what_they_say() {
    try_all(&["--no-cache"]).await;
}

#[tokio::test]
async fn commands_printed_without_compression_do_what_they_say() {
    let gateway = gateway(&["--no-compress"]).await;
    assert!(!gateway.tries().iter().any(|(command, _)| command.contains("--compressed")));
}

#[tokio::test]
async fn commands_printed_without_any_layer_do_what_they_say() {
    try_all(&["--bare", "--server-timing"]).await;
}

#[tokio::test]
async fn commands_printed_for_an_origin_do_what_they_say() {
    let origin = Origin::start().await;
    let gateway = before(&origin, &[]).await;
    let [(command, claim), (scrape, measured)] = gateway.tries()[..] else {
        panic!("two commands are printed")
    };
    assert_eq!(claim, format!("what {}/ answers, with a Via", origin.url()));
    let (said, ()) = tokio::join!(run(command), async {
        let (_, mut asked) = origin.asked().await;
        asked.send("HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nmine").await;
    });
    assert!(said.contains("via: 1.1 tower-edge\r\n"), "{said}");
    assert!(said.ends_with("\r\n\r\nmine"), "{said}");
    check(scrape, measured).await;
}

async fn try_all(flags: &[&str]) {
    let gateway = gateway(flags).await;
    for (command, claim) in gateway.tries() {
        check(command, claim).await;
    }
}

async fn check(command: &str, claim: &str) {
    let holds = match claim {
        "the second time from the cache: an Age, and `hit` in Cache-Status" => {
            let (first, second) = (run(command).await, run(command).await);
            !is_hit(&first) && is_hit(&second) && body(&first) == body(&second)
        }
        "304 without a body, from the cache as well" => {
            let said = run(command).await;
            said.starts_with("HTTP/1.1 304 ") && is_hit(&said) && body(&said).is_empty()
        }
        "changes it: the next GET asks the origin" => {
            let get = command.strip_suffix(" -X POST").unwrap();
            let (before, changed, after) = (run(get).await, run(command).await, run(get).await);
            is_hit(&before)
                && changed.contains(" 200 ")
                && !is_hit(&after)
                && body(&before) != body(&after)
        }
        "takes a second; the second time no time at all" => {
            let (seconds, _) = timed(command).await;
            let (_, second) = timed(command).await;
            seconds >= 1.0 && is_hit(&second)
        }
        "takes a second, every time" => {
            timed(command).await.0 >= 1.0 && timed(command).await.0 >= 1.0
        }
        "German; other languages are stored apart from it" => {
            let other = command.replace("de'", "fr'");
            let mut said = Vec::new();
            for command in [command, &other, command, &other] {
                said.push(run(command).await);
            }
            body(&said[0]).starts_with("Guten Tag")
                && body(&said[1]).starts_with("Bonjour")
                && body(&said[0]) == body(&said[2])
                && body(&said[1]) == body(&said[3])
                && said.iter().map(|said| is_hit(said)).eq([false, false, true, true])
        }
        "the origin is asked every time; the second time it answers 304 to the gateway" => {
            let (_, second) = (run(command).await, run(command).await);
            second.starts_with("HTTP/1.1 200 ") && second.contains("fwd-status=304\r\n")
        }
        "sets a cookie, so it is never stored: each time another session" => {
            let (first, second) = (run(command).await, run(command).await);
            cookie(&first) != cookie(&second)
        }
        "sets a cookie, but is explicitly fresh: the second time from the cache, with the cookie" =>
        {
            let (first, second) = (run(command).await, run(command).await);
            is_hit(&second) && cookie(&first) == cookie(&second)
        }
        "from the origin every time: no Age, no Cache-Status" => {
            let (first, second) = (run(command).await, run(command).await);
            [first, second].iter().all(|said| {
                said.contains(" 200 ") && !said.contains("\nage:") && !said.contains("cache-status")
            })
        }
        "fewer bytes on the way: Content-Encoding says how, and curl decodes them" => {
            let plain = run(&command.replace(" --compressed", "")).await;
            let said = run(command).await;
            let size = run(&format!("{command} -s -o /dev/null -w '%{{size_download}}'")).await;
            said.contains("\r\ncontent-encoding: ")
                && !plain.contains("content-encoding")
                && body(&said) == body(&plain)
                && size.parse::<usize>().unwrap() < body(&plain).len()
        }
        "Server-Timing says how long the layers took" => {
            let said = run(command).await;
            said.lines()
                .any(|line| line.starts_with("server-timing: ") && line.contains("total;dur="))
        }
        "how many requests there were and how long they took, for Prometheus" => {
            let said = run(command).await;
            ["count", "sum", "bucket"].iter().all(|of| {
                let name = format!("http_server_request_duration_seconds_{of}{{");
                said.lines().any(|line| line.starts_with(&name))
            })
        }
        "the same over HTTP/2" => run(command).await.starts_with("HTTP/2 200 "),
        "an event each 200 ms, as the origin sends them" => streams(command).await,
        "256 MiB, in constant memory" => {
            run(&format!("{command} -s -w '%{{size_download}}'")).await == (256 << 20).to_string()
        }
        "the origin counts 9 bytes" => run(command).await == "9 bytes\n",
        "one of three answers is a 503" => {
            let said = run(command).await;
            said.lines().filter(|line| *line == "503").count() == 1 && said.lines().count() == 3
        }
        unknown => panic!("nobody checks `{unknown}`"),
    };
    assert!(holds, "{command}\n{claim}\n{}", run(command).await);
}

fn cookie(said: &str) -> &str {
    said.lines().find(|line| line.starts_with("set-cookie: ")).unwrap()
}

/// How many seconds it took, and what was said.
async fn timed(command: &str) -> (f64, String) {
    let said = run(&format!("{command} -w '%{{time_total}}'")).await;
    let end = said.rfind('\n').unwrap();
    (said[end..].trim().parse().unwrap(), said[..end].to_owned())
}

/// Whether events arrive while others are still to come.
async fn streams(command: &str) -> bool {
    let mut shell = Command::new("sh");
    let shell = shell.args(["-c", &format!("exec {command} -sS")]).stdout(Stdio::piped());
    let mut child = shell.kill_on_drop(true).spawn().unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    for line in ["data: event 0", "", "data: event 1"] {
        assert_eq!(soon(lines.next_line()).await.unwrap().as_deref(), Some(line));
    }
    child.try_wait().unwrap().is_none()
}
