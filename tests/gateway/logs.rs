use tower_edge_tests::{Origin, soon};

use crate::{before, gateway};

const GET: &str = "GET /json?a=b HTTP/1.1\r\nHost: h\r\nConnection: close\r\n";

#[tokio::test]
async fn the_access_log_has_a_line_for_each_request() {
    for (flags, client) in [(&["--trust", "127.0.0.1"][..], "6.6.6.6"), (&["--bare"], "127.0.0.1")]
    {
        let mut gateway = gateway(&[&["--access-log"], flags].concat()).await;
        gateway.exchange(&format!("{GET}X-Forwarded-For: 6.6.6.6\r\n\r\n")).await;
        let line = gateway.line().await.unwrap();
        let request = "request=\"GET http://h/json?a=b HTTP/1.1\" status=200 bytes=14 ms=";
        assert!(line.contains(&format!(" INFO access: client=\"{client}\" {request}")), "{line}");
        assert!(line.ends_with(" end=\"complete\""), "{line}");
    }
}

#[tokio::test]
async fn the_access_log_tells_how_a_request_ended() {
    let origin = Origin::start().await;
    let mut gateway = before(&origin, &["--access-log", "--no-cache"]).await;
    let request = format!("{GET}\r\n");

    let breaks = async {
        let (_, mut asked) = origin.asked().await;
        asked.send("HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhalf").await;
    };
    tokio::join!(gateway.exchange(&request), breaks);
    let line = gateway.line().await.unwrap();
    assert!(line.contains(" status=200 bytes=4 ") && line.ends_with(" end=\"broken\""), "{line}");

    let mut client = gateway.connect().await;
    client.send(&request).await;
    let _asked = origin.asked().await;
    drop(client);
    let line = gateway.line().await.unwrap();
    assert!(line.contains(" status=0 bytes=0 ") && line.ends_with(" end=\"abandoned\""), "{line}");
}

#[tokio::test]
async fn what_goes_wrong_at_the_origin_is_logged_as_a_warning() {
    let origin = Origin::start().await;
    let gateway = before(&origin, &[]).await;
    let hangs_up = async { drop(soon(origin.asked()).await) };
    let request = format!("{GET}\r\n");
    tokio::join!(gateway.exchange(&request), hangs_up);
    let complaints = gateway.stop().await;
    assert!(complaints.contains(" WARN gateway::proxy: the origin failed error="), "{complaints}");
    assert!(!complaints.contains("access: "), "{complaints}");
}

#[tokio::test]
async fn slow_requests_are_logged_with_where_the_time_went() {
    let gateway = gateway(&["--slow", "500"]).await;
    for path in ["/json", "/slow"] {
        let request = format!("GET {path} HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n");
        gateway.exchange(&request).await;
    }
    let complaints = gateway.stop().await;
    let slow: Vec<_> = complaints.lines().filter(|line| line.contains("slow request")).collect();
    assert_eq!(slow.len(), 1, "{complaints}");
    assert!(
        slow[0].contains(" WARN tower_edge::slow: ") && slow[0].contains("cache;desc="),
        "{slow:?}"
    );
}
