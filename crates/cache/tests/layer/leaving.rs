//! Clients that leave at any moment: whoever stays gets all, and nothing is left.

use std::future::poll_fn;
use std::pin::pin;
use std::sync::Arc;
use std::task::Poll;

use tokio::task::JoinHandle;
use tower_edge_testkit::{Answer, MockBody};

use crate::play::{Got, Play, respond, seconds, tasks};

const BODY: &str = "first second third";

/// An origin that waits at each step of its answer, and how it may be stored.
fn origin(control: &'static str) -> Arc<Play> {
    let body =
        || MockBody::new().data("first ").pause().pause().data("second ").pause().data("third");
    let answer = move || respond(200, &[("cache-control", control)], body());
    Arc::new(Play::new(move |_, _| Answer::pause(answer().pause())))
}

/// A client that comes after so many turns, and leaves after so many polls.
fn client(play: &Arc<Play>, comes: usize, leaves: usize) -> JoinHandle<Option<Got>> {
    let play = play.clone();
    tokio::spawn(async move {
        for _ in 0..comes {
            turn().await;
        }
        let (mut polls, mut asking) = (0, pin!(play.get(&[])));
        poll_fn(|cx| {
            if polls == leaves {
                return Poll::Ready(None);
            }
            polls += 1;
            asking.as_mut().poll(cx).map(Some)
        })
        .await
    })
}

/// Goes to the end of the line, behind all tasks that are ready.
async fn turn() {
    let mut went = false;
    poll_fn(|cx| {
        if std::mem::replace(&mut went, true) {
            return Poll::Ready(());
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    })
    .await;
}

/// More than an answer takes that nobody disturbs.
const STEPS: usize = 10;
const STAYS: usize = usize::MAX;

#[tokio::test(start_paused = true)]
async fn whoever_leaves_at_whatever_moment_takes_nothing_from_the_others() {
    for control in ["max-age=60", "private", "max-age=60, no-store"] {
        for (leaves, comes) in (0..STEPS).flat_map(|n| (0..STEPS).map(move |m| (n, m))) {
            for leaver in 0..3 {
                let play = origin(control);
                let leaves = |client| if client == leaver { leaves } else { STAYS };
                let clients = [(0, 0), (1, 0), (2, comes)];
                let clients = clients.map(|(number, comes)| client(&play, comes, leaves(number)));
                for (number, client) in clients.into_iter().enumerate() {
                    if let Some(got) = client.await.unwrap() {
                        assert_eq!((got.text().as_str(), got.body.error), (BODY, None));
                    } else {
                        assert_eq!(number, leaver);
                    }
                }
                tasks().await;
                assert_eq!((play.origin.in_flight(), play.cache.stats().arriving), (0, 0));
                if control == "max-age=60" {
                    assert_eq!(play.origin.calls(), 1, "{leaver} leaves, {comes}");
                    assert_eq!(play.get(&[]).await.did(), "hit");
                }
            }
        }
    }
}

#[tokio::test(start_paused = true)]
async fn when_all_leave_nothing_is_left_under_way() {
    for control in ["max-age=60", "private"] {
        for (first, second) in (0..STEPS).flat_map(|n| (0..STEPS).map(move |m| (n, m))) {
            let play = origin(control);
            for client in [client(&play, 0, first), client(&play, 0, second)] {
                client.await.unwrap();
            }
            tasks().await;
            let left = (play.origin.in_flight(), play.cache.stats().arriving);
            assert_eq!(left, (0, 0), "{control} {first} {second}");
            assert_eq!(play.get(&[]).await.text(), BODY);
            assert!(play.origin.calls() <= 3);
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_refresh_is_made_once_whenever_its_client_leaves() {
    for leaves in 1..STEPS {
        let play = origin("max-age=5, stale-while-revalidate=60");
        play.get(&[]).await;
        seconds(7).await;
        for client in [client(&play, 0, leaves), client(&play, 0, leaves)] {
            client.await.unwrap();
        }
        tasks().await;
        assert_eq!((play.origin.calls(), play.origin.in_flight()), (2, 0));
        assert_eq!(play.get(&[]).await.field("age"), "0");
    }
}
