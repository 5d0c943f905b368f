use tower_edge_tests::{Program, run};

use crate::gateway;

/// Where to scrape, as the gateway prints it.
fn console(gateway: &Program) -> Option<&str> {
    let tries = gateway.tries();
    tries.into_iter().find_map(|(command, _)| command.ends_with("/metrics").then_some(command))
}

#[tokio::test]
async fn the_console_tells_what_the_cache_did() {
    for (flags, counted) in [(&[][..], true), (&["--no-cache"], false)] {
        let gateway = gateway(flags).await;
        run(&format!("curl {}", gateway.url("/json"))).await;
        let scraped = run(console(&gateway).unwrap()).await;
        assert_eq!(scraped.contains("tower_edge_cache_lookups_total{"), counted, "{scraped}");
    }
}

#[tokio::test]
async fn a_scraper_gets_the_format_that_it_prefers() {
    const MESSAGES: &str = "application/vnd.google.protobuf;\
        proto=io.prometheus.client.MetricFamily;encoding=delimited;q=0.7,text/plain;q=0.3";
    let gateway = gateway(&[]).await;
    for (accept, media_type) in
        [("*/*", "text/plain; version=0.0.4"), (MESSAGES, "application/vnd.google.protobuf")]
    {
        let scrape = console(&gateway).unwrap();
        let head = run(&format!("{scrape} -sSo /dev/null -D - -H 'Accept: {accept}'")).await;
        assert!(head.contains(&format!("content-type: {media_type}")), "{head}");
    }
}

#[tokio::test]
async fn a_second_gateway_starts_without_a_console() {
    let start = async || {
        let flags = ["--listen", "127.0.0.1:0"];
        Program::start(env!("CARGO_BIN_EXE_gateway"), &flags).await
    };
    // Somebody else may have the port already: then neither gets it.
    let (first, second) = (start().await, start().await);
    assert!(console(&first).is_none_or(|scrape| scrape == "curl http://127.0.0.1:3001/metrics"));
    assert_eq!(console(&second), None);
    let complaints = second.stop().await;
    assert_eq!(complaints.lines().count(), 1, "{complaints}");
    for part in [" WARN ", "there is no console", "127.0.0.1:3001", "--console"] {
        assert!(complaints.contains(part), "{complaints}");
    }
}
