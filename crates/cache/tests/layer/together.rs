//! Single flight: requests that come while another is on its way for the same.

use std::sync::Arc;

use http::Response;
use tokio::task::JoinHandle;
use tower_edge_cache::CacheLayer;
use tower_edge_core::{Reason, Refusal};
use tower_edge_testkit::{Answer, Gate, MockBody, Received, UpstreamError};

use crate::play::{Got, Play, answer, cache, request, respond, seconds, tasks};

const FRESH: &[(&str, &str)] = &[("cache-control", "max-age=60")];
const CROWD: usize = 50;

/// Clients that ask for the same at once, and have all begun to wait.
async fn crowd(play: &Arc<Play>, fields: &'static [(&str, &str)]) -> Vec<JoinHandle<Got>> {
    let client = |_| {
        let play = play.clone();
        tokio::spawn(async move { play.get(fields).await })
    };
    let clients = (0..CROWD).map(client).collect();
    tasks().await;
    clients
}

async fn all(clients: Vec<JoinHandle<Got>>) -> Vec<Got> {
    let mut got = Vec::new();
    for client in clients {
        got.push(client.await.unwrap());
    }
    got
}

fn play<F>(script: F) -> Arc<Play>
where
    F: FnMut(u64, &tower_edge_core::RequestHead<'_>) -> Answer + Send + 'static,
{
    Arc::new(Play::new(script))
}

#[tokio::test(start_paused = true)]
async fn concurrent_misses_make_one_call_and_share_its_bytes() {
    let gate = Gate::closed();
    let held = gate.clone();
    let play = play(move |number, _| {
        let body = MockBody::new().data("first ").pause().data(format!("of call {number}"));
        Answer::from(Response::builder().header("cache-control", "max-age=60").body(body).unwrap())
            .hold(&held)
    });
    let clients = crowd(&play, &[]).await;
    assert_eq!(play.origin.calls(), 1);
    gate.open();
    let got = all(clients).await;
    assert!(got.iter().all(|got| got.text() == "first of call 0"));
    assert_eq!(got[0].did(), "fwd=uri-miss; stored");
    assert!(got[1..].iter().all(|got| got.did() == "fwd=uri-miss; collapsed"));
    assert!(got[1..].iter().all(|got| got.field("age") == "0"));
    assert_eq!((play.origin.calls(), play.cache.stats().collapsed), (1, CROWD as u64 - 1));
    assert_eq!(play.get(&[]).await.did(), "hit");
}

#[tokio::test(start_paused = true)]
async fn who_comes_while_the_body_comes_reads_it_from_its_start() {
    let gate = Gate::closed();
    let held = gate.clone();
    let play = play(move |_, _| {
        respond(200, FRESH, MockBody::new().data("first").hold(&held).data(" second"))
    });
    let mut first = Box::pin(Received::from(play.send(request("GET", "/", &[])).await.into_body()));
    assert!(is_pending(&mut first));
    let late = play.send(request("GET", "/", &[])).await;
    assert_eq!(late.headers()["cache-status"], "tower-edge; fwd=uri-miss; collapsed");
    let mut late = Box::pin(late.into_body());
    let frame = http_body_util::BodyExt::frame(&mut late).await.unwrap().unwrap();
    assert_eq!(frame.into_data().unwrap(), "first");
    gate.open();
    assert_eq!(Received::from(late).await.bytes(), " second");
    assert_eq!(first.await.bytes(), "first second");
    assert_eq!(play.origin.calls(), 1);
}

#[tokio::test(start_paused = true)]
async fn followers_survive_a_leader_that_leaves_before_its_head() {
    let gate = Gate::closed();
    let held = gate.clone();
    let play = play(move |_, _| answer(200, FRESH, "body").hold(&held));
    let mut clients = crowd(&play, &[]).await;
    let leader = clients.remove(0);
    leader.abort();
    assert!(leader.await.unwrap_err().is_cancelled());
    gate.open();
    assert!(all(clients).await.iter().all(|got| got.text() == "body"));
    assert_eq!(play.origin.calls(), 1);
}

#[tokio::test(start_paused = true)]
async fn followers_survive_a_leader_that_leaves_in_the_body() {
    let gate = Gate::closed();
    let held = gate.clone();
    let play = play(move |_, _| {
        respond(200, FRESH, MockBody::new().data("first").hold(&held).data(" second"))
    });
    let leader = play.send(request("GET", "/", &[])).await;
    let clients = crowd(&play, &[]).await;
    drop(leader);
    tasks().await;
    gate.open();
    assert!(all(clients).await.iter().all(|got| got.text() == "first second"));
    assert_eq!((play.origin.calls(), play.origin.in_flight()), (1, 0));
}

#[tokio::test(start_paused = true)]
async fn a_leader_that_nobody_follows_takes_its_call_with_it() {
    let play = play(|number, _| match number {
        0 => Answer::never(),
        _ => answer(200, FRESH, "body"),
    });
    let mut clients = crowd(&play, &[]).await;
    let leader = clients.remove(0);
    clients.iter().for_each(JoinHandle::abort);
    tasks().await;
    leader.abort();
    tasks().await;
    assert_eq!((play.origin.calls(), play.origin.in_flight()), (1, 0));
    assert_eq!(play.get(&[]).await.text(), "body");
}

#[tokio::test(start_paused = true)]
async fn a_failure_is_shared_once() {
    let refused = || {
        let refusal = Refusal::new(Reason::Overloaded);
        Answer::from(
            Response::builder().status(503).extension(refusal).body(MockBody::new()).unwrap(),
        )
    };
    let failures: [(u16, fn() -> Answer); 5] = [
        (500, || answer(500, &[], "")),
        (503, || answer(503, &[("retry-after", "7")], "")),
        (504, || answer(504, &[], "")),
        (503, refused),
        (502, || Answer::error(UpstreamError::new("down"))),
    ];
    for (at, (status, failure)) in failures.into_iter().enumerate() {
        let gate = Gate::closed();
        let held = gate.clone();
        let play = play(move |_, _| failure().hold(&held));
        let mut leader = Box::pin(play.try_get());
        assert!(is_pending(&mut leader));
        let clients = crowd(&play, &[]).await;
        gate.open();
        let led = leader.await;
        assert_eq!(led.map_or(502, |got| got.status.as_u16()), status);
        for got in all(clients).await {
            assert_eq!((got.status.as_u16(), got.did()), (status, "fwd=uri-miss; collapsed"));
            assert_eq!(got.field("retry-after"), if at == 1 { "7" } else { "" });
        }
        assert_eq!(play.origin.calls(), 1, "{status}");
    }
}

#[tokio::test(start_paused = true)]
async fn when_the_leader_fails_each_follower_gets_what_is_stale() {
    const WINDOW: &[(&str, &str)] = &[("cache-control", "max-age=5, stale-if-error=60")];
    let gate = Gate::opened();
    let held = gate.clone();
    let play = play(move |number, _| match number {
        0 => answer(200, WINDOW, "old"),
        _ => answer(503, &[], "down").hold(&held),
    });
    play.get(&[]).await;
    seconds(7).await;
    gate.close();
    let clients = crowd(&play, &[]).await;
    gate.open();
    assert!(all(clients).await.iter().all(|got| got.text() == "old"));
    assert_eq!(play.origin.calls(), 2);
}

#[tokio::test(start_paused = true)]
async fn what_is_not_for_others_sends_them_their_own_way_at_once_and_is_remembered() {
    const PRIVATE: &[(&str, &str)] = &[("cache-control", "private")];
    let gate = Gate::closed();
    let held = gate.clone();
    let play = play(move |number, _| answer(200, PRIVATE, &format!("{number}")).hold(&held));
    let clients = crowd(&play, &[]).await;
    assert_eq!(play.origin.calls(), 1);
    gate.open();
    let mut got: Vec<_> = all(clients).await.iter().map(Got::text).collect();
    got.sort_by_key(|text| text.parse::<usize>().unwrap());
    assert!(got.into_iter().eq((0..CROWD).map(|number| number.to_string())));
    gate.close();
    let clients = crowd(&play, &[]).await;
    assert_eq!(play.origin.calls(), 2 * CROWD as u64, "nobody waits for anybody");
    gate.open();
    all(clients).await;
    seconds(61).await;
    gate.close();
    let clients = crowd(&play, &[]).await;
    assert_eq!(play.origin.calls(), 2 * CROWD as u64 + 1, "it may have changed");
    gate.open();
    all(clients).await;
}

#[tokio::test(start_paused = true)]
async fn each_variant_has_one_call() {
    const GZIP: &[(&str, &str)] = &[("accept-encoding", "gzip")];
    const BR: &[(&str, &str)] = &[("accept-encoding", "br")];
    let gate = Gate::closed();
    let held = gate.clone();
    let play = play(move |_, head| {
        let coding = head.headers()["accept-encoding"].to_str().unwrap().to_owned();
        let fields = [("cache-control", "max-age=60"), ("vary", "accept-encoding")];
        answer(200, &fields, &coding).hold(&held)
    });
    let (gzip, br) = (crowd(&play, GZIP).await, crowd(&play, BR).await);
    assert_eq!(play.origin.calls(), 1);
    gate.open();
    assert!(all(gzip).await.iter().all(|got| got.text() == "gzip"));
    assert!(all(br).await.iter().all(|got| got.text() == "br"));
    assert_eq!(play.origin.calls(), 2);
    // Now that it is known how they differ, nobody waits for another variant.
    seconds(61).await;
    gate.close();
    let (gzip, br) = (crowd(&play, GZIP).await, crowd(&play, BR).await);
    assert_eq!(play.origin.calls(), 4);
    gate.open();
    assert!(all(gzip).await.iter().all(|got| got.text() == "gzip"));
    assert!(all(br).await.iter().all(|got| got.text() == "br"));
    assert_eq!(play.origin.calls(), 4);
}

#[tokio::test(start_paused = true)]
async fn a_validation_is_made_once_for_all_who_wait() {
    let gate = Gate::opened();
    let held = gate.clone();
    let play = play(move |_, head| match head.headers().contains_key("if-none-match") {
        true => answer(304, FRESH, "").hold(&held),
        false => answer(200, &[FRESH[0], ("etag", "\"a\"")], "body"),
    });
    play.get(&[]).await;
    seconds(61).await;
    gate.close();
    let clients = crowd(&play, &[]).await;
    gate.open();
    let got = all(clients).await;
    assert!(got.iter().all(|got| got.text() == "body"));
    assert_eq!(got[0].did(), "fwd=stale; fwd-status=304");
    assert!(got[1..].iter().all(|got| got.did() == "fwd=stale; collapsed"));
    assert_eq!(play.origin.calls(), 2);
}

/// RFC 9111 §3.3: what answers a range does not answer those who want the whole.
#[tokio::test(start_paused = true)]
async fn a_part_that_was_validated_is_not_shared_as_the_whole() {
    let gate = Gate::opened();
    let held = gate.clone();
    let play = play(move |_, head| {
        let fields = [FRESH[0], ("etag", "\"a\""), ("content-range", "bytes 0-1/4")];
        match (head.headers().contains_key("if-none-match"), head.headers().contains_key("range")) {
            (true, _) => answer(304, &fields[..2], "").hold(&held),
            (false, true) => answer(206, &fields, "bo"),
            (false, false) => answer(200, &fields[..2], "body"),
        }
    });
    let part = &[("range", "bytes=0-1")];
    play.get(part).await;
    seconds(61).await;
    gate.close();
    let parts = crowd(&play, part).await;
    let wholes = crowd(&play, &[]).await;
    gate.open();
    let got = all(parts).await;
    assert!(got.iter().all(|got| (got.status.as_u16(), got.text()) == (206, "bo".into())));
    let got = all(wholes).await;
    assert!(got.iter().all(|got| (got.status.as_u16(), got.text()) == (200, "body".into())));
}

#[tokio::test(start_paused = true)]
async fn who_asks_past_the_window_waits_for_the_refresh_under_way() {
    const WINDOW: &[(&str, &str)] = &[("cache-control", "max-age=30, stale-while-revalidate=10")];
    let gate = Gate::opened();
    let held = gate.clone();
    let play = play(move |number, _| answer(200, WINDOW, &format!("{number}")).hold(&held));
    play.get(&[]).await;
    seconds(35).await;
    gate.close();
    assert_eq!(play.get(&[]).await.text(), "0");
    seconds(7).await;
    let clients = crowd(&play, &[]).await;
    assert_eq!(play.origin.calls(), 2);
    gate.open();
    assert!(all(clients).await.iter().all(|got| got.text() == "1"));
}

#[tokio::test(start_paused = true)]
async fn who_comes_after_an_invalidation_does_not_share_what_was_asked_for_before() {
    let gate = Gate::closed();
    let held = gate.clone();
    let play = play(move |number, head| match head.method().as_str() {
        "POST" => answer(200, &[], ""),
        _ => answer(200, FRESH, &format!("{number}")).hold(&held),
    });
    let before = crowd(&play, &[]).await;
    play.ask(request("POST", "/", &[])).await;
    let after = crowd(&play, &[]).await;
    assert_eq!(play.origin.calls(), 3);
    gate.open();
    assert!(all(before).await.iter().all(|got| got.text() == "0"));
    assert!(all(after).await.iter().all(|got| got.text() == "2"));
    assert_eq!(play.get(&[]).await.text(), "2");
}

#[tokio::test(start_paused = true)]
async fn wishes_that_a_stored_response_would_not_grant_are_not_granted_by_waiting() {
    let gate = Gate::closed();
    let held = gate.clone();
    let play = play(move |_, _| answer(200, &[FRESH[0], ("etag", "\"a\"")], "body").hold(&held));
    let clients = crowd(&play, &[]).await;
    const OWN: [&[(&str, &str)]; 5] = [
        &[("cache-control", "no-cache")],
        &[("cache-control", "max-age=0")],
        &[("cache-control", "no-store")],
        &[("authorization", "Basic x")],
        &[("range", "bytes=0-1")],
    ];
    let own: Vec<_> = OWN
        .into_iter()
        .map(|fields| {
            let play = play.clone();
            tokio::spawn(async move { play.get(fields).await })
        })
        .collect();
    let shared = play.clone();
    let known = tokio::spawn(async move { shared.get(&[("if-none-match", "\"a\"")]).await });
    tasks().await;
    assert_eq!(play.origin.calls(), 1 + OWN.len() as u64);
    gate.open();
    all(clients).await;
    all(own).await;
    let known = known.await.unwrap();
    assert_eq!((known.status.as_u16(), known.field("etag")), (304, "\"a\""));
}

#[tokio::test(start_paused = true)]
async fn a_cold_cache_fills_though_all_clients_have_what_they_ask_for() {
    const KNOWN: &[(&str, &str)] = &[("if-none-match", "\"a\"")];
    let play = play(|_, head| {
        let fields = [FRESH[0], ("etag", "\"a\"")];
        match head.headers().contains_key("if-none-match") {
            true => answer(304, &fields, "").pause(),
            false => answer(200, &fields, "body").pause(),
        }
    });
    let got = all(crowd(&play, KNOWN).await).await;
    assert!(got.iter().all(|got| got.status == 304 && got.field("etag") == "\"a\""));
    assert_eq!(play.origin.calls(), 1);
    assert_eq!((play.get(&[]).await.text(), play.origin.calls()), ("body".into(), 1));
}

#[tokio::test(start_paused = true)]
async fn the_conditions_of_who_has_a_cookie_go_to_the_origin() {
    let play = play(|_, head| match head.headers().contains_key("if-none-match") {
        true => answer(304, &[], ""),
        false => answer(200, &[("cache-control", "private")], "page"),
    });
    let got = play.get(&[("cookie", "a=b"), ("if-none-match", "\"mine\"")]).await;
    assert_eq!(got.status, 304);
}

#[tokio::test(start_paused = true)]
async fn a_reader_that_stands_still_holds_nobody_up() {
    let play = play(|_, _| {
        let body = (0..100).fold(MockBody::new(), |body, _| body.pause().data(vec![7; 1000]));
        respond(200, FRESH, body)
    });
    let leader = play.send(request("GET", "/", &[])).await;
    let mut leader = Box::pin(Received::from(leader.into_body()));
    assert!(is_pending(&mut leader));
    let still = play.send(request("GET", "/", &[])).await;
    let quick = play.get(&[]).await;
    assert_eq!(quick.body.bytes().len(), 100_000);
    assert_eq!(play.get(&[]).await.did(), "hit");
    assert_eq!(Received::from(still.into_body()).await.bytes(), quick.body.bytes());
    assert_eq!(leader.await.bytes(), quick.body.bytes());
}

#[tokio::test(start_paused = true)]
async fn past_the_bound_the_leader_sets_the_pace_and_who_is_too_slow_falls_out() {
    const PIECE: usize = 50_000;
    const PIECES: usize = 40;
    let layer = cache().max_entry(200_000);
    let play = Arc::new(Play::with(layer, |_, _| {
        let body = (0..PIECES).fold(MockBody::new(), |body, _| body.pause().data(vec![7; PIECE]));
        respond(200, FRESH, body)
    }));
    let leader = play.send(request("GET", "/", &[])).await;
    let mut leader = Box::pin(leader.into_body());
    assert!(is_pending(&mut Box::pin(http_body_util::BodyExt::frame(&mut leader))));
    let still = play.send(request("GET", "/", &[])).await;
    tasks().await;
    tasks().await;
    let ahead = play.origin.in_flight();
    assert_eq!(ahead, 1, "the leader has read nothing yet, so the origin waits");
    let shared = play.clone();
    let quick = tokio::spawn(async move { shared.get(&[]).await });
    tasks().await;
    assert_eq!(Received::from(leader).await.bytes().len(), PIECE * PIECES);
    let still = Received::from(still.into_body()).await;
    assert!(still.error.is_some());
    let quick = quick.await.unwrap();
    assert!(quick.body.error.is_some() || quick.body.bytes().len() == PIECE * PIECES);
    assert_eq!((play.cache.stats().resources, play.origin.in_flight()), (0, 0));
}

#[tokio::test(start_paused = true)]
async fn what_is_too_large_and_read_by_nobody_ends() {
    let layer = cache().max_entry(1_000);
    let play = Play::with(layer, |_, _| {
        let body = (0..1_000).fold(MockBody::new(), |body, _| body.pause().data(vec![7; 1000]));
        respond(200, FRESH, body)
    });
    drop(play.send(request("GET", "/", &[])).await);
    tasks().await;
    assert_eq!((play.origin.calls(), play.origin.in_flight()), (1, 0));
}

#[test]
fn outside_a_runtime_a_follower_makes_the_call_that_its_leader_gave_up() {
    let layer = CacheLayer::new(1 << 20);
    let play = Play::with(layer, |number, _| match number {
        0 => Answer::never(),
        _ => answer(200, FRESH, "body"),
    });
    let mut leader = Box::pin(play.get(&[]));
    assert!(is_pending(&mut leader));
    let mut followers: Vec<_> = (0..3).map(|_| Box::pin(play.get(&[]))).collect();
    assert!(followers.iter_mut().all(is_pending));
    drop(leader);
    let mut cx = std::task::Context::from_waker(std::task::Waker::noop());
    for follower in &mut followers {
        let std::task::Poll::Ready(got) = follower.as_mut().poll(&mut cx) else { panic!("waits") };
        assert_eq!(got.text(), "body");
    }
    assert_eq!(play.origin.calls(), 2);
}

/// Polls once; whether it waits.
fn is_pending<F: Future + Unpin>(future: &mut F) -> bool {
    let mut cx = std::task::Context::from_waker(std::task::Waker::noop());
    std::pin::Pin::new(future).poll(&mut cx).is_pending()
}
