use super::messages::{get, lasting};
use super::trial::{Trial, settle};
use super::{Lawful, Subject};
use crate::{Answer, MockBody};

/// Law: two calls of `layer()` share the layer's state, and so do clones.
///
/// axum calls `layer()` once for each route, and clones the service for each
/// request. Read by the number given to [`Subject::new`].
pub async fn state_is_shared<L: Lawful>(make: impl Fn() -> Subject<L>) {
    let trial = Trial::new("state_is_shared", make(), |_, _| ok());
    let Some(moves) = &trial.subject.moves else { return };
    let (first, second) = trial.services();
    let clone = first.clone();
    let services = [
        ("a service", "/service", first),
        ("a service of a second `layer()`", "/second", second),
        ("a clone", "/clone", clone),
    ];
    for (name, path, mut service) in services {
        let before = moves();
        let response = trial.call_on(&mut service, get(path)).await;
        trial.read(response).await;
        settle().await;
        trial.check(
            moves() != before,
            format_args!("the layer's state is still {before} after a call of {name}"),
        );
    }
}

/// Law: cloning the service clones the inner one exactly once.
///
/// axum clones the whole stack for each request, so a second clone doubles with
/// every layer above it.
pub async fn a_clone_clones_the_inner_once<L: Lawful>(make: impl Fn() -> Subject<L>) {
    let trial = Trial::new("a_clone_clones_the_inner_once", make(), |_, _| ok());
    for _ in 0..3 {
        let before = trial.upstream.clones();
        let _clone = trial.service.clone();
        let clones = trial.upstream.clones() - before;
        trial.check(clones == 1, format_args!("the inner service was cloned {clones} times"));
    }
}

fn ok() -> Answer {
    lasting(MockBody::new().data("ok")).into()
}
