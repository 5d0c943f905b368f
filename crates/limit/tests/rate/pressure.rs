use std::future::poll_fn;
use std::task::Poll;

use tower::Service;
use tower_edge_core::ClientIp;
use tower_edge_limit::{Limit, Quota, RateLimit, nonzero};
use tower_edge_testkit::Upstream;

use crate::{called, layer, pass, serve};

/// Whether it is ready by now.
async fn is_ready(service: &mut RateLimit<Upstream>) -> bool {
    poll_fn(|cx| {
        let ready = <RateLimit<Upstream> as Service<http::Request<tower_edge_testkit::MockBody>>>::poll_ready(service, cx);
        Poll::Ready(ready.is_ready())
    })
    .await
}

#[tokio::test(start_paused = true)]
async fn a_client_is_ready_when_there_is_a_permit() {
    let limit = Limit::new("all", Quota::per_second(nonzero!(10)).burst(nonzero!(2)));
    let keyed = Limit::new("peer", Quota::per_day(nonzero!(1))).keyed(ClientIp::peer());
    let (mut service, upstream) = serve(&layer(limit).limit(keyed).backpressure(true));
    for _ in 0..2 {
        assert!(is_ready(&mut service).await);
        assert_eq!(called(&mut service, "/").await.unwrap().status(), 200);
    }
    assert!(!is_ready(&mut service).await);
    pass(99).await;
    assert!(!is_ready(&mut service).await);
    pass(1).await;
    assert!(is_ready(&mut service).await);
    assert_eq!(called(&mut service, "/").await.unwrap().status(), 200);
    assert_eq!(upstream.calls(), 3);
}

#[tokio::test(start_paused = true)]
async fn readiness_keeps_no_permit_from_others() {
    let limit = Limit::new("all", Quota::per_second(nonzero!(10)).burst(nonzero!(1)));
    let (mut service, _) = serve(&layer(limit).backpressure(true));
    let mut idle = service.clone();
    assert!(is_ready(&mut idle).await);
    assert!(is_ready(&mut service).await);
    assert_eq!(called(&mut service, "/").await.unwrap().status(), 200);
    // It was found ready, and the permit is gone.
    assert_eq!(called(&mut idle, "/").await.unwrap().status(), 429);
    assert!(!is_ready(&mut service).await);
    drop(service);
    pass(100).await;
    assert!(is_ready(&mut idle).await);
}
