//! Random stories of three nodes, of which some are cut off now and then.

use std::sync::atomic::Ordering;

use proptest::prelude::*;
use tower_edge_cache::Purge;

use super::Nodes;
use crate::hub::BEAT;
use crate::play::{request, tasks};

#[derive(Clone, Debug)]
enum Step {
    Ask(usize),
    /// The origin changes, and a node is told to purge what it has.
    Change(usize, Purge),
    /// A client of a node changes the origin.
    Post(usize),
    Cut(usize),
    Heal(usize),
    Trim,
    Wait,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let node = || 0..3_usize;
    let purge = || prop_oneof![Just(Purge::Hard), Just(Purge::Soft)];
    let step = prop_oneof![
        8 => node().prop_map(Step::Ask),
        3 => (node(), purge()).prop_map(|(node, purge)| Step::Change(node, purge)),
        1 => node().prop_map(Step::Post),
        1 => node().prop_map(Step::Cut),
        2 => node().prop_map(Step::Heal),
        1 => Just(Step::Trim),
        1 => Just(Step::Wait),
    ];
    prop::collection::vec(step, 1..60)
}

/// Plays a story: whoever is asked gives what was there at the last change that all
/// could know of, or something newer.
async fn play(steps: Vec<Step>) -> Result<(), TestCaseError> {
    let nodes = Nodes::new(3);
    let (mut least, mut cut) = ([0; 3], [false; 3]);
    for step in steps {
        let now = nodes.version.load(Ordering::Relaxed);
        match step {
            Step::Ask(node) => {
                let text = nodes.get(node).await.0;
                let version: u64 = text.strip_prefix("version ").unwrap().parse().unwrap();
                prop_assert!(version >= least[node], "{version} of {least:?} by {node}");
                prop_assert!(version == now || !cut[node], "{version} of {now} by {node}");
            }
            Step::Change(node, purge) => {
                nodes.change();
                match nodes.purge(node, purge).await {
                    true => least = [now + 1; 3],
                    false => least[node] = now + 1,
                }
            }
            Step::Post(node) => {
                nodes.change();
                nodes.plays[node].ask(request("POST", "/", &[])).await;
                tasks().await;
                least[node] = now + 1;
            }
            Step::Cut(node) => {
                nodes.lines[node].cut(true);
                cut[node] = true;
                tasks().await;
            }
            Step::Heal(node) => {
                nodes.lines[node].cut(false);
                tokio::time::sleep(20 * BEAT).await;
                tasks().await;
                cut[node] = false;
            }
            Step::Trim => nodes.hub.trim(),
            Step::Wait => tokio::time::sleep(BEAT).await,
        }
    }
    Ok(())
}

proptest! {
    #[test]
    fn nobody_answers_with_what_was_purged_where_all_could_know(steps in steps()) {
        let mut runtime = tokio::runtime::Builder::new_current_thread();
        let runtime = runtime.enable_time().start_paused(true).build().unwrap();
        runtime.block_on(play(steps))?;
    }
}
