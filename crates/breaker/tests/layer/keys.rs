//! One circuit for each key.

use std::num::NonZeroU32;

use tower_edge_breaker::{BreakerLayer, Mode, State};
use tower_edge_core::{Key, RequestHead};

use crate::play::Play;

fn by_query(room: u32) -> BreakerLayer {
    let key = |head: &RequestHead<'_>| head.uri().query().map(Key::new);
    BreakerLayer::new().keyed_by(key, NonZeroU32::new(room).unwrap())
}

#[tokio::test(start_paused = true)]
async fn each_key_has_its_own_circuit() {
    let play = Play::new(by_query(100));
    assert_eq!(play.gets("/500?bad", 30).await, 20);
    assert_eq!((play.get("/?good").await, play.get("/?bad").await), (200, 503));
    let state = |key: &str| play.handle.circuit(&Key::new(key)).snapshot().map(|one| one.state);
    assert_eq!(
        (state("bad"), state("good"), state("none")),
        (Some(State::Open), Some(State::Closed), None)
    );
    assert_eq!(play.state(), State::Open, "the worst of them");
    assert_eq!(play.handle.circuits().len(), 2);
    // Who has no key is not judged.
    assert_eq!(play.gets("/500", 100).await, 100);
}

#[tokio::test(start_paused = true)]
async fn the_table_is_bounded_and_keeps_what_is_in_use() {
    let play = Play::new(by_query(8));
    play.gets("/500?bad", 30).await;
    for number in 0..1_000 {
        play.get(&format!("/?{number}")).await;
        assert_eq!(play.get("/?good").await, 200);
        assert_eq!(play.get("/?bad").await, 503, "{number}");
    }
    assert_eq!(play.handle.circuits().len(), 8);
    let good = play.handle.circuit(&Key::new("good")).snapshot().unwrap();
    assert_eq!(good.calls, 1_000);
}

#[tokio::test(start_paused = true)]
async fn a_key_for_which_there_is_no_room_is_not_judged() {
    let play = Play::new(by_query(2));
    play.gets("/500?one", 30).await;
    play.gets("/500?two", 30).await;
    assert_eq!(play.gets("/500?three", 100).await, 100);
    assert_eq!(play.get("/?one").await, 503);
    // Who is due to probe and does not is given up.
    play.until_due().await;
    tokio::time::advance(std::time::Duration::from_secs(60)).await;
    assert_eq!(play.gets("/500?three", 100).await, 20);
}

#[tokio::test(start_paused = true)]
async fn one_key_is_forced_and_others_go_on() {
    let play = Play::new(by_query(100));
    let one = play.handle.circuit(&Key::new("one"));
    assert!(one.set_mode(Mode::ForcedOpen));
    assert_eq!((play.get("/?one").await, play.get("/?two").await), (503, 200));
    assert!(one.set_mode(Mode::Automatic));
    assert_eq!(play.get("/?one").await, 200);
    play.handle.set_mode(Mode::ForcedOpen);
    for key in ["one", "two", "new"] {
        assert_eq!(play.get(&format!("/?{key}")).await, 503);
    }
}

#[tokio::test(start_paused = true)]
async fn all_keys_are_forced_also_those_without_room() {
    let play = Play::new(by_query(1));
    play.gets("/500?one", 30).await;
    play.handle.set_mode(Mode::ForcedOpen);
    for key in 0..10 {
        assert_eq!(play.get(&format!("/?{key}")).await, 503);
    }
    play.handle.set_mode(Mode::Automatic);
    assert_eq!(play.get("/?one").await, 200);
}
