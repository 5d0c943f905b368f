use serde_json::{Value, json};
use tower_edge_tests::{Program, body};

use crate::gateway;

/// The head and the body of the answer to a GET with these lines.
async fn get(gateway: &Program, lines: &str) -> String {
    let request = "GET /json HTTP/1.1\r\nHost: h\r\nConnection: close\r\n";
    gateway.exchange(&format!("{request}{lines}\r\n")).await
}

async fn status(gateway: &Program, lines: &str) -> u16 {
    get(gateway, lines).await[9..12].parse().unwrap()
}

#[tokio::test]
async fn a_client_is_refused_when_its_quota_is_used_up_and_hits_count_too() {
    let gateway = gateway(&["--rate", "3/1h", "--rate", "100/1s"]).await;
    let first = get(&gateway, "").await;
    assert!(first.contains("\r\nratelimit-policy: \"3/1h\";q=3;w=3600, \"100/1s\";q=100;w=1\r\n"));
    assert!(first.contains("\r\nratelimit: \"3/1h\";r=2;t=2400\r\n"), "{first}");
    assert_eq!([status(&gateway, "").await, status(&gateway, "").await], [200, 200]);
    let refused = get(&gateway, "").await;
    assert!(refused.starts_with("HTTP/1.1 429 Too Many Requests\r\n"), "{refused}");
    let field = |name: &str| {
        let line = refused.lines().find_map(|line| line.strip_prefix(&format!("{name}: ")));
        line.unwrap_or_default().to_owned()
    };
    let wait: u64 = field("retry-after").parse().unwrap();
    assert!((1_100..=1_200).contains(&wait), "{wait}");
    assert_eq!(field("ratelimit"), format!("\"3/1h\";r=0;t={wait}"));
    assert_eq!(field("content-type"), "application/problem+json");
    let problem: Value = serde_json::from_str(body(&refused)).unwrap();
    assert_eq!(problem["violated-policies"], json!(["3/1h"]));
}

#[tokio::test]
async fn an_address_that_a_client_makes_up_gives_it_no_other_budget() {
    let gateway = gateway(&["--rate", "1/1h"]).await;
    assert_eq!(status(&gateway, "X-Forwarded-For: 1.1.1.1\r\n").await, 200);
    for forged in [
        "X-Forwarded-For: 2.2.2.2\r\n",
        "X-Forwarded-For: nonsense, 127.0.0.1\r\n",
        "Forwarded: for=3.3.3.3\r\n",
        "X-Real-IP: 4.4.4.4\r\n",
        "",
    ] {
        assert_eq!(status(&gateway, forged).await, 429, "{forged}");
    }
}

#[tokio::test]
async fn a_trusted_proxy_tells_clients_apart_and_a_whole_ipv6_prefix_is_one() {
    let gateway = gateway(&["--rate", "1/1h", "--trust", "127.0.0.1"]).await;
    let from = |address: &str| format!("X-Forwarded-For: 6.6.6.6, {address}\r\n");
    assert_eq!(status(&gateway, &from("1.1.1.1")).await, 200);
    assert_eq!(status(&gateway, &from("1.1.1.1")).await, 429);
    assert_eq!(status(&gateway, &from("1.1.1.2")).await, 200);
    assert_eq!(status(&gateway, &from("2001:db8:0:7::1")).await, 200);
    for host in 2..20 {
        assert_eq!(status(&gateway, &from(&format!("2001:db8:0:7:{host:x}::{host:x}"))).await, 429);
    }
    assert_eq!(status(&gateway, &from("2001:db8:0:8::1")).await, 200);
}

#[tokio::test]
async fn requests_are_told_apart_by_a_field_and_share_a_budget_without_it() {
    let gateway = gateway(&["--rate", "1/1h", "--rate-key", "header:x-api-key"]).await;
    for (lines, expected) in [
        ("X-Api-Key: a\r\n", 200),
        ("X-Api-Key: a\r\n", 429),
        ("X-Api-Key: b\r\n", 200),
        ("", 200),
        ("", 429),
    ] {
        assert_eq!(status(&gateway, lines).await, expected, "{lines}");
    }
}

#[tokio::test]
async fn everybody_shares_a_global_budget_and_may_wait_for_it() {
    let flags = ["--rate", "10/1s", "--rate-key", "global", "--rate-wait", "10000"];
    let gateway = gateway(&flags).await;
    let answers = (0..13).map(|_| status(&gateway, ""));
    let answers = futures_util::future::join_all(answers).await;
    assert_eq!(answers, [200; 13]);
}

#[tokio::test]
async fn without_the_layer_nothing_is_limited() {
    for left_out in ["--no-rate", "--bare"] {
        let gateway = gateway(&["--rate", "1/1h", left_out]).await;
        for _ in 0..3 {
            let answer = get(&gateway, "").await;
            assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
            assert!(!answer.contains("\r\nratelimit"), "{answer}");
        }
    }
}
