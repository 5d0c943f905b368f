use std::sync::{Arc, Mutex};
use std::time::Duration;

use http::Request;
use tokio::task::JoinHandle;
use tokio::time::Instant;
use tower::ServiceExt;
use tower_edge_core::{Event, Trace};
use tower_edge_limit::{Limit, Quota, RateLimit, RateLimitLayer, nonzero};
use tower_edge_testkit::{Answer, MockBody, Upstream};

use crate::{admitted, layer};

/// The paths that came through, and when, in milliseconds.
type Arrivals = Arc<Mutex<Vec<(usize, u64)>>>;

fn waiting(quota: Quota, most: Duration) -> RateLimitLayer {
    layer(Limit::new("all", quota)).wait(most, nonzero!(5_000))
}

fn noting(layer: &RateLimitLayer) -> (RateLimit<Upstream>, Arrivals) {
    let arrivals = Arrivals::default();
    let (noted, start) = (arrivals.clone(), now());
    let (upstream, _) = Upstream::new(move |_, head| {
        let number = head.uri().path()[1..].parse().unwrap();
        let millis = now().duration_since(start).as_millis() as u64;
        noted.lock().unwrap().push((number, millis));
        Answer::ok(MockBody::new())
    });
    (tower::Layer::layer(layer, upstream), arrivals)
}

/// At these microseconds, or up to a whole millisecond later: as timers go.
fn assert_arrived(arrivals: &Arrivals, due: impl ExactSizeIterator<Item = (usize, u64)>) {
    let arrivals = arrivals.lock().unwrap();
    assert_eq!(arrivals.len(), due.len());
    for ((number, millis), (expected, micros)) in arrivals.iter().zip(due) {
        let late = (millis * 1_000).checked_sub(micros);
        assert!(late.is_some_and(|late| late <= 1_000), "{number}: {millis} ms for {micros} us");
        assert_eq!(*number, expected);
    }
}

#[expect(clippy::disallowed_methods, reason = "the time of the test, which stands still")]
fn now() -> Instant {
    Instant::now()
}

fn send(service: &RateLimit<Upstream>, number: usize) -> JoinHandle<u16> {
    let request = Request::get(format!("/{number}")).body(MockBody::new()).unwrap();
    let answer = service.clone().oneshot(request);
    tokio::spawn(async move { answer.await.unwrap().status().as_u16() })
}

/// Sends so many, one after the other, at one moment.
async fn send_all(service: &RateLimit<Upstream>, count: usize) -> Vec<JoinHandle<u16>> {
    let mut sent = Vec::new();
    for number in 0..count {
        sent.push(send(service, number));
        tokio::task::yield_now().await;
    }
    sent
}

#[tokio::test(start_paused = true)]
async fn two_thousand_wait_and_go_on_in_their_order_at_the_set_rate() {
    for rate in [100, 300] {
        let quota = Quota::per_second(rate.try_into().unwrap()).burst(nonzero!(1));
        let layer = waiting(quota, Duration::from_secs(60));
        let (service, arrivals) = noting(&layer);
        for sent in send_all(&service, 2_001).await {
            assert_eq!(sent.await.unwrap(), 200);
        }
        let due = |number| number * 1_000_000 / u64::from(rate);
        assert_arrived(&arrivals, (0..2_001).map(|number| (number, due(number as u64))));
        let stats = layer.handle().stats();
        assert_eq!((stats.waited, stats.waiting, stats.refused), (2_000, 0, 0));
    }
}

#[tokio::test(start_paused = true)]
async fn who_leaves_the_queue_leaves_no_hole_in_it() {
    let quota = Quota::per_second(nonzero!(100)).burst(nonzero!(1));
    let layer = waiting(quota, Duration::from_secs(60));
    let (service, arrivals) = noting(&layer);
    let sent = send_all(&service, 2_001).await;
    // The first of them, the last, and every other one.
    let leaves = |number: &usize| number % 2 == 1;
    let leaving = sent.iter().enumerate().filter(|(number, _)| leaves(number));
    leaving.for_each(|(_, sent)| sent.abort());
    for (number, sent) in sent.into_iter().enumerate() {
        assert_eq!(sent.await.is_err(), leaves(&number));
    }
    assert_arrived(&arrivals, (0..1_001).map(|place| (2 * place, 10_000 * place as u64)));
    assert_eq!(layer.handle().stats().waiting, 0);
}

#[tokio::test(start_paused = true)]
async fn who_would_wait_too_long_is_refused_at_once() {
    let quota = Quota::per_second(nonzero!(10)).burst(nonzero!(1));
    let layer = waiting(quota, Duration::from_millis(300));
    let (service, arrivals) = noting(&layer);
    let start = now();
    let sent = send_all(&service, 6).await;
    let mut statuses = Vec::new();
    for sent in sent.into_iter().rev() {
        statuses.push(sent.await.unwrap());
        if statuses.len() == 2 {
            assert_eq!(now(), start);
        }
    }
    assert_eq!(statuses, [429, 429, 200, 200, 200, 200]);
    assert_arrived(&arrivals, (0..4).map(|number| (number, 100_000 * number as u64)));
    assert_eq!(layer.handle().stats().refused, 2);
}

#[tokio::test(start_paused = true)]
async fn a_queue_has_so_many_places_for_a_key() {
    let quota = Quota::per_second(nonzero!(10)).burst(nonzero!(1));
    let layer = layer(Limit::new("all", quota)).wait(Duration::from_secs(60), nonzero!(2));
    let (service, _) = noting(&layer);
    let mut statuses = Vec::new();
    for sent in send_all(&service, 4).await {
        statuses.push(sent.await.unwrap());
    }
    assert_eq!(statuses, [200, 200, 200, 429]);
}

#[tokio::test(start_paused = true)]
async fn a_refusal_while_others_wait_names_the_time_behind_them() {
    let quota = Quota::per_second(nonzero!(1)).burst(nonzero!(1));
    let (service, _) = noting(&waiting(quota, Duration::from_secs(3)));
    let waiting = send_all(&service, 4).await;
    let request = Request::get("/9").body(MockBody::new()).unwrap();
    let answer = service.clone().oneshot(request).await.unwrap();
    assert_eq!(
        (answer.status().as_u16(), &answer.headers()["retry-after"]),
        (429, &"4".parse().unwrap())
    );
    assert_eq!(answer.headers()["ratelimit"], r#""all";r=0;t=4"#);
    drop(waiting);
}

#[tokio::test(start_paused = true)]
async fn keys_wait_apart_from_each_other() {
    let quota = Quota::per_second(nonzero!(10)).burst(nonzero!(1));
    let limit = Limit::new("path", quota)
        .keyed_by(|head| Some(tower_edge_core::Key::new(head.uri().path())));
    let (service, arrivals) = noting(&layer(limit).wait(Duration::from_secs(9), nonzero!(9)));
    let sent = [1, 1, 1, 2, 2].map(|number| send(&service, number));
    for sent in sent {
        assert_eq!(sent.await.unwrap(), 200);
    }
    arrivals.lock().unwrap().sort_unstable();
    let due = [(1, 0), (1, 100_000), (1, 200_000), (2, 0), (2, 100_000)];
    assert_arrived(&arrivals, due.into_iter());
}

#[tokio::test(start_paused = true)]
async fn the_slower_of_two_quotas_sets_the_pace_of_the_queue() {
    let fast = Quota::per_second(nonzero!(10)).burst(nonzero!(1));
    let slow = Quota::per_second(nonzero!(4)).burst(nonzero!(2));
    let layer = waiting(fast, Duration::from_secs(9)).limit(Limit::new("slow", slow));
    let (service, arrivals) = noting(&layer);
    for sent in send_all(&service, 5).await {
        assert_eq!(sent.await.unwrap(), 200);
    }
    let due = [0, 100_000, 250_000, 500_000, 750_000];
    assert_arrived(&arrivals, due.into_iter().enumerate());
}

#[tokio::test(start_paused = true)]
async fn a_wait_is_told_to_observers_and_to_the_trace() {
    let told = Arc::new(Mutex::new(Vec::new()));
    let seen = told.clone();
    let observe = move |event: &Event<'_>| {
        if let Event::Waited { time } = event {
            seen.lock().unwrap().push(*time);
        }
    };
    let quota = Quota::per_second(nonzero!(10)).burst(nonzero!(1));
    let layer = waiting(quota, Duration::from_secs(9)).observe(Arc::new(observe));
    let (service, _) = noting(&layer);
    assert_eq!(admitted_of(&service).await, 200);
    let mut trace = Trace::default();
    let request = Request::get("/1").body(MockBody::new()).unwrap();
    let mut answer = Box::pin(service.clone().oneshot(request));
    let traced = std::future::poll_fn(|cx| trace.scope(|| answer.as_mut().poll(cx)));
    assert_eq!(traced.await.unwrap().status(), 200);
    assert_eq!(*told.lock().unwrap(), [Duration::from_millis(100)]);
    let step = trace.steps()[0];
    assert_eq!(
        (step.name, step.note, step.duration),
        ("quota", "waited", Duration::from_millis(100))
    );
}

async fn admitted_of(service: &RateLimit<Upstream>) -> u16 {
    send(service, 0).await.unwrap()
}

#[tokio::test(start_paused = true)]
async fn without_anybody_waiting_a_layer_admits_at_once() {
    let layer = waiting(Quota::per_second(nonzero!(10)), Duration::from_millis(1));
    let (service, _) = crate::serve(&layer);
    assert_eq!(admitted(&service, 20).await, 10);
}
