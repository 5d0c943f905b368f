use std::future::poll_fn;
use std::task::{Context, Poll, Waker};

use http::Request;
use tower_service::Service;

use super::messages::{get, passing};
use super::trial::{Trial, poll_once, settle};
use super::{Lawful, Subject};
use crate::{Answer, MockBody, UpstreamError};

/// Law: the inner service is called only on a clone that was polled ready.
///
/// Readiness is not passed on by cloning, and is spent by a call.
pub async fn only_a_ready_clone_is_called<L: Lawful>(make: impl Fn() -> Subject<L>) {
    let trial = Trial::new("only_a_ready_clone_is_called", make(), |_, _| ok());
    let mut service = trial.service.clone();

    trial.call_on(&mut service, get("/first")).await;
    trial.call_on(&mut service, get("/again")).await;
    check(&trial, "two calls of one service");

    ready(&mut service).await;
    let mut clone = service.clone();
    call_ready(&trial, &mut service, get("/cloned-when-ready")).await;
    trial.call_on(&mut clone, get("/clone-of-a-ready-one")).await;
    check(&trial, "a clone of a service that was ready");

    let mut clone = service.clone();
    ready(&mut clone).await;
    drop(clone);
    trial.call_on(&mut service, get("/after-a-dropped-clone")).await;
    check(&trial, "a clone that was polled ready and dropped");

    ready(&mut service).await;
    let one = service.call(get("/one"));
    ready(&mut service).await;
    let two = service.call(get("/two"));
    trial.within("the second of two calls at once", two).await.ok();
    trial.within("the first of two calls at once", one).await.ok();
    check(&trial, "two calls at once");

    let calls = trial.upstream.calls();
    trial.check(calls == 7, format_args!("7 calls became {calls} upstream"));
}

/// Law: no call is made before the inner service is ready, and then it is.
pub async fn a_call_waits_for_readiness<L: Lawful>(make: impl Fn() -> Subject<L>) {
    let trial = Trial::new("a_call_waits_for_readiness", make(), |_, _| ok());
    trial.upstream.readiness().close();
    let mut service = trial.service.clone();
    let mut exchange = Box::pin(async move {
        poll_fn(|cx| service.poll_ready(cx)).await?;
        service.call(get("/")).await
    });
    for _ in 0..4 {
        let answered = poll_once(exchange.as_mut()).await.is_ready();
        trial.check(!answered, "there is an answer while the inner service is not ready");
        settle().await;
    }
    let calls = trial.upstream.calls();
    trial.check(calls == 0, format_args!("{calls} calls before the inner service was ready"));

    trial.upstream.readiness().open();
    let response = trial.within("a call after the inner service became ready", exchange).await;
    trial.check(response.is_ok(), "there is an error after the inner service became ready");
    check(&trial, "a late readiness");
}

/// Law: `poll_ready` reserves nothing shared: idle clones cost nobody anything.
///
/// 1,000 clones are polled ready and left so; the next call is served at once.
pub async fn idle_clones_hold_no_capacity<L: Lawful>(make: impl Fn() -> Subject<L>) {
    let trial = Trial::new("idle_clones_hold_no_capacity", make(), |_, _| ok());
    let mut idle: Vec<_> = (0..1_000).map(|_| trial.service.clone()).collect();
    for service in &mut idle {
        // Whoever gets nothing now is left waiting, as an idle connection is.
        let _ = service.poll_ready(&mut Context::from_waker(Waker::noop()));
    }
    let mut service = trial.service.clone();
    let polled = poll_fn(|cx| Poll::Ready(service.poll_ready(cx))).await;
    trial.check(polled.is_ready(), "idle clones keep another one from being ready");
    let mut future = Box::pin(service.call(get("/")));
    let mut served = false;
    for _ in 0..8 {
        if let Poll::Ready(response) = poll_once(future.as_mut()).await {
            served = response.is_ok_and(|response| response.status() == 200);
            break;
        }
        settle().await;
    }
    trial.check(served, "idle clones keep another one from being served");
    drop(idle);
}

fn ok() -> Answer {
    passing(MockBody::new().data("ok")).into()
}

async fn ready<S: Service<Request<MockBody>, Error = UpstreamError>>(service: &mut S) {
    poll_fn(|cx| service.poll_ready(cx)).await.expect("the upstream's readiness does not fail");
}

async fn call_ready<L: Lawful>(
    trial: &Trial<L>,
    service: &mut L::Service,
    request: Request<MockBody>,
) {
    let future = service.call(request);
    let response = trial.within("a call of a ready service", future).await;
    trial.check(response.is_ok(), "a call of a ready service fails");
}

fn check<L: Lawful>(trial: &Trial<L>, when: &str) {
    let misuses = trial.upstream.misuses();
    trial.check(misuses == 0, format_args!("{misuses} calls without readiness: {when}"));
}
