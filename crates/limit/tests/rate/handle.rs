use std::time::Duration;

use tower_edge_core::Key;
use tower_edge_limit::{Limit, Quota, nonzero};

use crate::{admitted, layer, pass, serve};

#[tokio::test(start_paused = true)]
async fn a_swap_forgets_nothing_of_what_was_used() {
    let layer = layer(Limit::new("all", Quota::per_hour(nonzero!(10))));
    let (handle, (service, _)) = (layer.handle(), serve(&layer));
    assert_eq!(admitted(&service, 8).await, 8);
    assert!(handle.swap("all", Quota::per_second(nonzero!(10)).burst(nonzero!(9))));
    assert!(!handle.swap("nobody", Quota::per_second(nonzero!(10))));
    assert_eq!(admitted(&service, 8).await, 1);
    pass(300).await;
    assert_eq!(admitted(&service, 8).await, 3);
    assert!(handle.swap("all", Quota::in_any(nonzero!(5), Duration::from_secs(1))));
    assert_eq!(admitted(&service, 8).await, 5, "begins anew");
}

#[tokio::test(start_paused = true)]
async fn a_key_is_read_and_reset() {
    let layer = layer(Limit::new("all", Quota::per_second(nonzero!(4))));
    let (handle, (service, _)) = (layer.handle(), serve(&layer));
    assert_eq!(admitted(&service, 9).await, 4);
    let state = handle.read("all", &Key::GLOBAL).unwrap();
    assert_eq!((state.available, state.owed), (0, 0));
    assert_eq!(state.wait, Duration::from_millis(250));
    let other = handle.read("all", &Key::new("never seen")).unwrap();
    assert_eq!((other.available, other.wait), (4, Duration::ZERO));
    assert_eq!(handle.read("nobody", &Key::GLOBAL), None);
    assert!(handle.reset("all", &Key::GLOBAL));
    assert_eq!(admitted(&service, 9).await, 4);
    assert_eq!(handle.stats().refused, 10);
}

#[tokio::test(start_paused = true)]
async fn a_key_is_charged_for_what_is_no_request() {
    let layer = layer(Limit::new("all", Quota::per_second(nonzero!(4))));
    let (handle, (service, _)) = (layer.handle(), serve(&layer));
    assert_eq!(handle.charge("all", &Key::GLOBAL, 3), Some(true));
    assert_eq!(handle.charge("all", &Key::GLOBAL, 2), Some(false));
    assert_eq!(handle.charge("nobody", &Key::GLOBAL, 1), None);
    assert_eq!(admitted(&service, 9).await, 1);
}

#[tokio::test(start_paused = true)]
async fn a_quota_that_lasts_is_charged_to_the_permit() {
    let layer = layer(Limit::new("all", Quota::per_hour(nonzero!(60))));
    let handle = layer.handle();
    let charge =
        |times| (0..times).filter(|_| handle.charge("all", &Key::GLOBAL, 1) == Some(true)).count();
    assert_eq!(charge(100), 60);
    pass(59_999).await;
    assert_eq!(charge(100), 0);
    pass(1).await;
    assert_eq!(charge(100), 1);
    pass(10 * 60_000).await;
    assert_eq!(charge(4), 4);
    assert_eq!(handle.read("all", &Key::GLOBAL).unwrap().available, 6);
}
