//! What the layer measures, over an upstream that plays a script.

use std::future::Future;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll, Waker};
use std::time::{Duration, SystemTime};

use http::{HeaderMap, HeaderName, HeaderValue, Request, Response, StatusCode};
use tokio::time::advance;
use tower::{Layer, Service, ServiceExt};
use tower_edge_core::{Classify, Verdict};
use tower_edge_core::{
    Clock, Event, Outcome, Reason, Refusal, RequestHead, ResponseHead, Route, RouteLayer, Step,
    Trace,
};
use tower_edge_metrics::{
    Interval, LatencyHandle, LatencyLayer, LatencyService, Measurements, SeriesSnapshot,
};
use tower_edge_testkit::contract::{self, Subject};
use tower_edge_testkit::{Answer, Gate, MockBody, Received, Upstream, UpstreamError};

#[tokio::test(start_paused = true)]
async fn the_layer_keeps_the_contract() {
    let plain = LatencyLayer::new;
    let secret = HeaderValue::from_static("a");
    let variants: [&dyn Fn() -> LatencyLayer; 4] = [
        &plain,
        &|| plain().server_timing(true),
        &|| plain().server_timing_for(HeaderName::from_static("x-timing"), &secret),
        &|| plain().log_slower_than(Duration::ZERO),
    ];
    for make in variants {
        contract::all(|| {
            let layer = make();
            let (handle, counted) = (layer.handle(), layer.handle());
            Subject::new(layer, move || counted.snapshot().merged().count())
                .gauge("in flight", move || handle.in_flight())
        })
        .await;
    }
}

#[tokio::test(start_paused = true)]
async fn the_first_byte_and_the_end_of_the_body_are_told_apart() {
    let (head, body) = (Gate::closed(), Gate::closed());
    let (before_head, before_end) = (head.clone(), body.clone());
    let (mut service, handle) = measured(LatencyLayer::new(), move |_, _| {
        Answer::ok(MockBody::new().data("ab").hold(&before_end).data("c")).hold(&before_head)
    });
    let mut call = pin!(called(&mut service, "/").await);
    assert!(poll(call.as_mut()).is_pending());
    assert_eq!(handle.in_flight(), 1);
    advance(MS_20).await;
    head.open();
    let response = call.await.unwrap();
    let mut read = pin!(Received::from(response.into_body()));
    assert!(poll(read.as_mut()).is_pending());
    advance(MS_30).await;
    assert_eq!(handle.in_flight(), 1);
    assert_eq!(handle.snapshot().merged().first_byte.max(), Some(MS_20));
    body.open();
    assert_eq!(read.await.bytes(), "abc");

    let all = handle.snapshot().merged();
    assert_eq!((all.first_byte.count(), all.first_byte.max()), (1, Some(MS_20)));
    assert_eq!((all.total.count(), all.total.max()), (1, Some(MS_20 + MS_30)));
    assert_eq!((all.outcomes.success, all.response_bytes), (1, 3));
    assert_eq!(handle.in_flight(), 0);
}

#[tokio::test(start_paused = true)]
async fn each_end_has_its_outcome() {
    let error = UpstreamError::new("refused");
    let (service, handle) = measured(LatencyLayer::new(), move |_, head| match head.uri().path() {
        "/ok" => Answer::ok(MockBody::new().data("ab")),
        "/500" => status(500).into(),
        "/404" => status(404).into(),
        "/error" => Answer::error(error),
        "/broken" => Answer::ok(MockBody::new().data("ab").fail()),
        _ => {
            let mut refused = status(503);
            refused.extensions_mut().insert(Refusal::new(Reason::Overloaded));
            refused.into()
        }
    });
    for (path, seen) in [
        ("/ok", (Some(200), [1, 0, 0, 0, 0], 2)),
        ("/404", (Some(404), [1, 0, 0, 0, 0], 0)),
        ("/500", (Some(500), [0, 1, 0, 0, 0], 0)),
        ("/error", (None, [0, 1, 0, 0, 0], 0)),
        ("/broken", (Some(200), [0, 1, 0, 0, 0], 2)),
        ("/refused", (Some(503), [0, 0, 0, 0, 1], 0)),
    ] {
        handle.reset();
        if let Ok(response) = service.clone().oneshot(get(path)).await {
            Received::from(response.into_body()).await;
        }
        let snapshot = handle.snapshot();
        let [series] = snapshot.series() else { panic!("{path}: {snapshot:?}") };
        let status = series.status().map(|status| status.as_u16());
        let all = series.measurements();
        assert_eq!((status, outcomes(all), all.response_bytes), seen, "{path}");
        assert_eq!(all.count(), 1, "{path}");
    }
    assert_eq!(handle.in_flight(), 0);
}

#[tokio::test(start_paused = true)]
async fn the_latency_of_an_aborted_request_is_recorded() {
    let (mut service, handle) = measured(LatencyLayer::new(), |_, head| match head.uri().path() {
        "/head" => Answer::never(),
        _ => Answer::ok(MockBody::new().data("ab").never()),
    });
    let mut call = Box::pin(called(&mut service, "/head").await);
    assert!(poll(call.as_mut()).is_pending());
    advance(MS_30).await;
    drop(call);
    let all = handle.snapshot().merged();
    assert_eq!((all.outcomes.abandoned, all.total.max()), (1, Some(MS_30)));
    assert_eq!((all.first_byte.count(), handle.in_flight()), (0, 0));

    handle.reset();
    let response = called(&mut service, "/body").await.await.unwrap();
    let mut read = Box::pin(Received::from(response.into_body()));
    assert!(poll(read.as_mut()).is_pending());
    advance(MS_20).await;
    drop(read);
    let all = handle.snapshot().merged();
    assert_eq!((all.outcomes.abandoned, all.total.max()), (1, Some(MS_20)));
    assert_eq!((all.first_byte.count(), all.response_bytes), (1, 2));
}

#[tokio::test(start_paused = true)]
async fn in_flight_goes_back_when_calls_are_cancelled() {
    let (service, handle) = measured(LatencyLayer::new(), |number, _| match number % 3 {
        0 => Answer::never(),
        1 => Answer::ok(MockBody::new().never()),
        _ => Answer::ok(MockBody::new()).pause(),
    });
    let mut held = Vec::new();
    for _ in 0..300 {
        let mut service = service.clone();
        let mut call = Box::pin(async move {
            let response = called(&mut service, "/").await.await?;
            Received::from(response.into_body()).await;
            Ok::<_, UpstreamError>(())
        });
        assert!(poll(call.as_mut()).is_pending());
        held.push(call);
    }
    assert_eq!(handle.in_flight(), 300);
    held.truncate(100);
    assert_eq!(handle.in_flight(), 100);
    // A call that nobody polled was made and is under way as well.
    let mut ready = service.clone();
    let unpolled = called(&mut ready, "/").await;
    assert_eq!(handle.in_flight(), 101);
    drop((unpolled, held));
    assert_eq!(handle.in_flight(), 0);
    assert_eq!(handle.snapshot().merged().outcomes.abandoned, 301);
}

#[tokio::test(start_paused = true)]
async fn a_call_that_panics_is_over() {
    let (mut service, handle) = measured(LatencyLayer::new(), |_, _| panic!("on purpose"));
    let panicked = catch_unwind(AssertUnwindSafe(|| {
        drop(poll(pin!(called(&mut service, "/"))));
    }));
    assert!(panicked.is_err());
    assert_eq!(handle.in_flight(), 0);
    assert_eq!(handle.snapshot().merged().outcomes.abandoned, 1);
}

#[tokio::test(start_paused = true)]
async fn bytes_of_streams_and_of_sized_bodies_are_those_that_were_read() {
    let (service, handle) = measured(LatencyLayer::new(), |_, head| {
        let body = MockBody::new().data("abcd").pause().data("ef");
        match head.uri().path() {
            "/sized" => Answer::ok(body.sized()),
            _ => Answer::ok(body.pause().trailers(HeaderMap::new())),
        }
    });
    for (path, method, bytes) in
        [("/sized", "GET", 6), ("/stream", "GET", 6), ("/sized", "HEAD", 0)]
    {
        handle.reset();
        let request = Request::builder().method(method).uri(path).body(MockBody::new()).unwrap();
        let response = service.clone().oneshot(request).await.unwrap();
        match method {
            "HEAD" => drop(response),
            _ => drop(Received::from(response.into_body()).await),
        }
        let all = handle.snapshot().merged();
        assert_eq!((all.response_bytes, all.outcomes.success), (bytes, 1), "{method} {path}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_success_past_the_threshold_is_slow() {
    let layer = LatencyLayer::new().slow_after(MS_20);
    let gate = Gate::closed();
    let held = gate.clone();
    let (mut service, handle) =
        measured(layer, move |_, _| Answer::ok(MockBody::new().hold(&held).data("a")));
    let response = called(&mut service, "/").await.await.unwrap();
    advance(MS_30).await;
    gate.open();
    Received::from(response.into_body()).await;
    assert_eq!(handle.snapshot().merged().outcomes.slow, 1);
}

#[tokio::test(start_paused = true)]
async fn the_user_may_judge() {
    struct Strict;
    impl Classify for Strict {
        fn head(&self, response: &ResponseHead<'_>) -> Verdict {
            Verdict::Settled(match response.status() {
                StatusCode::NOT_FOUND => Outcome::Failure,
                _ => Outcome::Success,
            })
        }
        fn trailers(&self, _: Option<&HeaderMap>) -> Outcome {
            Outcome::Success
        }
    }
    let (service, handle) =
        measured(LatencyLayer::new().classify(Strict), |_, _| status(404).into());
    drop(service.oneshot(get("/")).await.unwrap());
    assert_eq!(handle.snapshot().merged().outcomes.failure, 1);
}

#[tokio::test(start_paused = true)]
async fn a_judge_that_panics_leaves_nothing_in_flight() {
    struct Broken;
    impl Classify for Broken {
        fn head(&self, response: &ResponseHead<'_>) -> Verdict {
            assert_eq!(response.status(), 200, "on purpose");
            Verdict::Open
        }
        fn trailers(&self, _: Option<&HeaderMap>) -> Outcome {
            panic!("on purpose")
        }
    }
    let layer = LatencyLayer::new().classify(Broken);
    let (mut service, handle) = measured(layer, |_, head| match head.uri().path() {
        "/404" => status(404).into(),
        _ => Answer::ok(MockBody::new()),
    });
    let response = service.clone().oneshot(get("/")).await.unwrap();
    assert!(catch_unwind(AssertUnwindSafe(|| drop(response))).is_err());
    assert_eq!(handle.in_flight(), 0);
    let mut call = Box::pin(called(&mut service, "/404").await);
    assert!(catch_unwind(AssertUnwindSafe(|| drop(poll(call.as_mut())))).is_err());
    drop(call);
    assert_eq!((handle.in_flight(), handle.snapshot().merged().outcomes.abandoned), (0, 1));
}

#[tokio::test(start_paused = true)]
async fn series_are_told_apart_by_method_status_and_route() {
    let (service, handle) = measured(LatencyLayer::new(), |_, head| match head.uri().path() {
        "/gone" => status(410).into(),
        "/made-up" => status(299).into(),
        _ => Answer::ok(MockBody::new()),
    });
    let item = Route::from_static("/items/{id}");
    for (method, path, route) in [
        ("GET", "/items/1", Some(&item)),
        ("GET", "/items/2", Some(&item)),
        ("GET", "/gone", Some(&item)),
        ("POST", "/items/1", Some(&item)),
        ("GET", "/elsewhere", None),
        ("GET", "/made-up", None),
        ("BREW", "/pot", None),
    ] {
        let mut request = Request::builder().method(method).uri(path);
        if let Some(route) = route {
            request = request.extension(route.clone());
        }
        let request = request.body(MockBody::new()).unwrap();
        drop(service.clone().oneshot(request).await.unwrap());
    }
    let snapshot = handle.snapshot();
    let series = snapshot.series().iter();
    let mut seen: Vec<_> = series
        .map(|one| (one.method(), one.status().unwrap().as_u16(), one.route(), counted(one)))
        .collect();
    seen.sort_unstable();
    let item = Some("/items/{id}");
    let expected = [
        ("GET", 200, None, 2),
        ("GET", 200, item, 2),
        ("GET", 410, item, 1),
        ("POST", 200, item, 1),
        ("_OTHER", 200, None, 1),
    ];
    assert_eq!(seen, expected);
    let not_found = snapshot.merged_where(|one| one.status() == Some(StatusCode::GONE));
    assert_eq!((not_found.count(), snapshot.merged().count()), (1, 7));
}

#[test]
fn a_clone_of_the_service_adds_one_pointer_to_that_of_the_service_inside() {
    let size = size_of::<LatencyService<[u8; 24]>>();
    assert_eq!(size, 24 + size_of::<usize>());
}

#[tokio::test(start_paused = true)]
async fn a_series_takes_what_the_documentation_says() {
    let gate = Gate::closed();
    let held = gate.clone();
    let (service, handle) =
        measured(LatencyLayer::new(), move |_, _| Answer::ok(MockBody::new()).hold(&held));
    let empty = handle.memory();
    let mut calls = Vec::new();
    for _ in 0..50 {
        let call = service.clone().oneshot(get("/"));
        let mut call = Box::pin(async move { drop(call.await.unwrap()) });
        assert!(poll(call.as_mut()).is_pending());
        calls.push(call);
    }
    gate.open();
    // From 1 ms to 32 ms and more: five octaves.
    for (i, call) in calls.into_iter().enumerate() {
        advance(Duration::from_millis(if i < 32 { 1 } else { 0 })).await;
        call.await;
    }
    let taken = handle.memory() - empty;
    assert!((3_500..=4_700).contains(&taken), "{taken} bytes");
}

#[tokio::test(start_paused = true)]
async fn random_paths_and_methods_make_a_handful_of_series() {
    let long = std::env::var_os("TOWER_EDGE_LONG").is_some_and(|long| long == "1");
    let (service, handle) = measured(LatencyLayer::new(), |_, _| status(404).into());
    let mut memory = 0;
    for i in 0..if long { 100_000 } else { 10_000 } {
        let request = Request::builder().method(&*format!("M{i}")).uri(format!("/{i}"));
        drop(service.clone().oneshot(request.body(MockBody::new()).unwrap()).await.unwrap());
        if i == 100 {
            memory = handle.memory();
        }
    }
    assert_eq!(handle.snapshot().series().len(), 1);
    assert_eq!(handle.memory(), memory);
}

#[tokio::test(start_paused = true)]
async fn series_past_the_limit_share_one() {
    let (service, handle) =
        measured(LatencyLayer::with_max_series(50), |_, _| Answer::ok(MockBody::new()));
    let mut memory = 0;
    for i in 0..10_000 {
        let route = Route::from(Arc::from(format!("/{i}")));
        let request = Request::builder().extension(route).body(MockBody::new()).unwrap();
        drop(service.clone().oneshot(request).await.unwrap());
        if i == 100 {
            memory = handle.memory();
        }
    }
    let snapshot = handle.snapshot();
    assert_eq!(snapshot.series().len(), 51);
    let overflow = snapshot.merged_where(|one| one.is_overflow());
    assert_eq!(overflow.count(), 9_950);
    assert_eq!(snapshot.merged().count(), 10_000);
    assert_eq!(handle.memory(), memory);
}

#[tokio::test(start_paused = true)]
async fn a_closure_may_tell_the_route() {
    let layer = LatencyLayer::with_max_series(4).route_by(|head| match head.uri().path() {
        "/unknown" => None,
        "/made-up" => Some(Route::from(Arc::from("/made-up".repeat(9)))),
        path if path.starts_with("/users/") => Some(Route::from_static("/users/{id}")),
        path => Some(Route::from(Arc::from(path))),
    });
    let (service, handle) = measured(layer, |_, _| Answer::ok(MockBody::new()));
    for path in ["/users/1", "/users/2", "/unknown", "/made-up"] {
        let mut request = get(path);
        request.extensions_mut().insert(Route::from_static("/noted"));
        drop(service.clone().oneshot(request).await.unwrap());
    }
    let of = |route: &str| {
        let snapshot = handle.snapshot();
        snapshot.merged_where(|series| series.route() == Some(route)).count()
    };
    assert_eq!((of("/users/{id}"), of("/noted"), of(&"/made-up".repeat(9))), (2, 1, 1));
    // Paths in place of patterns end at the limit.
    for i in 0..1_000 {
        drop(service.clone().oneshot(get(&format!("/{i}"))).await.unwrap());
    }
    let snapshot = handle.snapshot();
    assert_eq!(snapshot.series().len(), 5);
    assert_eq!(snapshot.merged_where(SeriesSnapshot::is_overflow).count(), 999);
}

#[tokio::test(start_paused = true)]
async fn server_timing_tells_the_steps_and_the_total() {
    let gate = Gate::closed();
    let held = gate.clone();
    let push = |step| Trace::with(|trace| trace.push(step));
    let script = move |_, _: &RequestHead<'_>| {
        push(Step::new("cache", Duration::ZERO).note("miss"));
        let mut response = Response::new(MockBody::new());
        response.headers_mut().insert("server-timing", "db;dur=5".parse().unwrap());
        Answer::from(response).hold(&held)
    };
    let (upstream, _) = Upstream::new(script);
    let upstream = ServiceExt::<Request<MockBody>>::map_response(upstream, move |response| {
        push(Step::new("origin", MS_20));
        response
    });
    let layer = LatencyLayer::new().clock(Clock::anchored(SystemTime::UNIX_EPOCH));
    let mut service = layer.server_timing(true).layer(upstream);
    let mut call = pin!(called(&mut service, "/").await);
    assert!(poll(call.as_mut()).is_pending());
    advance(MS_20).await;
    gate.open();
    let response = call.await.unwrap();
    let fields: Vec<_> = response.headers().get_all("server-timing").iter().collect();
    assert_eq!(fields, ["db;dur=5", "cache;desc=\"miss\";dur=0, origin;dur=20, total;dur=20"]);
}

#[tokio::test(start_paused = true)]
async fn server_timing_is_off_unless_asked_for() {
    let traced = |_, _: &RequestHead<'_>| {
        assert!(Trace::with(|_| ()).is_none());
        Answer::ok(MockBody::new())
    };
    let (service, _) = measured(LatencyLayer::new(), traced);
    let response = service.oneshot(get("/")).await.unwrap();
    assert!(response.headers().is_empty());
}

#[tokio::test(start_paused = true)]
async fn server_timing_is_for_those_who_know_the_secret() {
    let name = HeaderName::from_static("x-timing");
    let layer = LatencyLayer::new().server_timing_for(name, &HeaderValue::from_static("s3cret"));
    let (service, _) = measured(layer, |_, head| {
        assert!(!head.headers().contains_key("x-timing"));
        Answer::ok(MockBody::new())
    });
    for (given, told) in
        [("s3cret", true), ("s3creT", false), ("s3cre", false), ("s3crets", false), ("", false)]
    {
        let request = Request::builder().header("x-timing", given).body(MockBody::new()).unwrap();
        let response = service.clone().oneshot(request).await.unwrap();
        assert_eq!(response.headers().contains_key("server-timing"), told, "{given:?}");
    }
    let response = service.oneshot(get("/")).await.unwrap();
    assert!(response.headers().is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_route_that_a_router_noted_inside_is_known() {
    let (upstream, _) = Upstream::new(|_, head| match head.uri().path() {
        "/never" => Answer::never(),
        _ => Answer::ok(MockBody::new()),
    });
    // Plays a router: it knows the route, and whoever is outside does not.
    let router = RouteLayer::new().layer(upstream).map_request(|mut request: Request<MockBody>| {
        request.extensions_mut().insert(Route::from_static("/noted"));
        request
    });
    for (traced, route) in [(true, Some("/noted")), (false, None)] {
        let layer = LatencyLayer::new().server_timing(traced);
        let mut service = layer.layer(router.clone());
        drop(called(&mut service, "/").await.await.unwrap());
        let mut abandoned = Box::pin(called(&mut service, "/never").await);
        assert!(poll(abandoned.as_mut()).is_pending());
        drop(abandoned);
        let snapshot = layer.handle().snapshot();
        assert_eq!(snapshot.series().len(), 2);
        assert!(snapshot.series().iter().all(|series| series.route() == route));
    }
    // Of two layers, one that traces does for both.
    let (outer, inner) = (LatencyLayer::new().server_timing(true), LatencyLayer::new());
    let mut service = outer.layer(inner.layer(router));
    drop(called(&mut service, "/").await.await.unwrap());
    assert_eq!(inner.handle().snapshot().series()[0].route(), Some("/noted"));
}

#[tokio::test(start_paused = true)]
async fn what_was_measured_lately_is_told_apart_from_all() {
    let (service, handle) = measured(LatencyLayer::new(), |_, _| Answer::ok(MockBody::new()));
    let counts = || {
        [Interval::TenSeconds, Interval::Minute, Interval::FiveMinutes]
            .map(|interval| handle.recent(interval).merged().count())
    };
    for _ in 0..3 {
        drop(service.clone().oneshot(get("/")).await.unwrap());
        advance(Duration::from_secs(30)).await;
    }
    drop(service.clone().oneshot(get("/")).await.unwrap());
    assert_eq!(counts(), [1, 3, 4]);
    assert_eq!(handle.recent(Interval::Minute).merged().outcomes.success, 3);
    // Nothing has to come for time to pass.
    advance(Duration::from_secs(220)).await;
    assert_eq!(counts(), [0, 0, 3]);
    assert_eq!(handle.snapshot().merged().count(), 4);
    handle.reset();
    assert_eq!(counts(), [0, 0, 0]);
}

#[tokio::test(start_paused = true)]
async fn request_bytes_are_those_that_were_announced() {
    let (service, handle) = measured(LatencyLayer::new(), |_, _| Answer::ok(MockBody::new()));
    for (body, bytes) in [
        (MockBody::new().data("abc").sized(), 3),
        (MockBody::new().sized(), 0),
        (MockBody::new().data("abc"), 0),
    ] {
        handle.reset();
        drop(service.clone().oneshot(Request::new(body)).await.unwrap());
        assert_eq!(handle.snapshot().merged().request_bytes, bytes);
    }
}

#[tokio::test(start_paused = true)]
async fn a_stream_of_events_does_not_poison_the_totals() {
    let (service, handle) = measured(LatencyLayer::new(), |_, head| match head.uri().path() {
        "/events" => {
            let mut response = Response::new(MockBody::new().data("a").never());
            let media_type = "text/event-stream".parse().unwrap();
            response.headers_mut().insert("content-type", media_type);
            response.into()
        }
        "/upgrade" => status(101).into(),
        _ => Answer::ok(MockBody::new()),
    });
    let response = service.clone().oneshot(get("/events")).await.unwrap();
    let mut read = Box::pin(Received::from(response.into_body()));
    assert!(poll(read.as_mut()).is_pending());
    advance(Duration::from_secs(3_000)).await;
    drop(read);
    for path in ["/", "/upgrade"] {
        drop(service.clone().oneshot(get(path)).await.unwrap());
    }
    let snapshot = handle.snapshot();
    assert_eq!(
        (snapshot.merged().count(), snapshot.merged().total.max()),
        (1, Some(Duration::ZERO))
    );
    let long_lived = snapshot.merged_where(SeriesSnapshot::is_long_lived);
    assert_eq!((long_lived.count(), long_lived.outcomes.abandoned), (2, 1));
    assert_eq!(long_lived.total.max(), Some(Duration::from_secs(3_000)));
    assert_eq!(handle.in_flight(), 0);
}

#[tokio::test(start_paused = true)]
async fn refusals_and_what_the_cache_did_are_told_apart() {
    let (service, handle) = measured(LatencyLayer::new(), |_, head| {
        let mut response = Response::new(MockBody::new());
        let refused = |reason| Refusal::new(reason);
        let extensions = response.extensions_mut();
        match head.uri().path() {
            "/limit" => _ = extensions.insert(refused(Reason::RateLimited)),
            "/admission" => _ = extensions.insert(refused(Reason::Overloaded)),
            "/breaker" => _ = extensions.insert(refused(Reason::CircuitOpen)),
            "/late" => _ = extensions.insert(refused(Reason::DeadlineExceeded)),
            path => {
                let member = format!("cache; {}", &path[1..]).parse().unwrap();
                response.headers_mut().insert("cache-status", member);
            }
        }
        response.into()
    });
    let paths = ["/limit", "/limit", "/admission", "/breaker", "/late"];
    for path in paths.into_iter().chain(["/hit", "/hit", "/fwd=miss", "/fwd=stale", "/none"]) {
        drop(service.clone().oneshot(get(path)).await.unwrap());
    }
    let all = handle.snapshot().merged();
    let refused = all.refusals;
    assert_eq!((refused.rate_limited, refused.overloaded), (2, 1));
    assert_eq!((refused.circuit_open, refused.deadline_exceeded, refused.other), (1, 1, 0));
    assert_eq!(all.outcomes.ignored, 5);
    let cache = all.cache;
    assert_eq!((cache.hit, cache.stale, cache.revalidated), (2, 0, 1));
    assert_eq!((cache.miss, cache.bypass), (1, 0));
}

#[tokio::test(start_paused = true)]
async fn stages_are_measured_and_stand_in_the_trace() {
    let layer = LatencyLayer::new().server_timing(true);
    let layer = layer.clock(Clock::anchored(SystemTime::UNIX_EPOCH));
    let (handle, stages) = (layer.handle(), layer.handle());
    let mut service = layer.layer(tower::service_fn(move |_: Request<MockBody>| {
        let stages = stages.clone();
        async move {
            stages.time("db_query", advance(MS_20)).await;
            let render = stages.stage("render");
            advance(MS_30).await;
            drop(render);
            Ok::<_, UpstreamError>(Response::new(MockBody::new()))
        }
    }));
    let response = called(&mut service, "/").await.await.unwrap();
    assert_eq!(response.headers()["server-timing"], "db_query;dur=20, render;dur=30, total;dur=50");
    // One that is dropped is measured up to then.
    let mut left = Box::pin(handle.time("db_query", std::future::pending::<()>()));
    assert!(poll(left.as_mut()).is_pending());
    advance(MS_30).await;
    drop(left);
    let snapshot = handle.snapshot();
    let stage = |name| snapshot.stage(name).map(|stage| (stage.count(), stage.max()));
    assert_eq!(stage("db_query"), Some((2, Some(MS_30))));
    assert_eq!(stage("render"), Some((1, Some(MS_30))));
    assert_eq!((stage("other"), snapshot.stages().len()), (None, 2));
    handle.reset();
    assert!(handle.snapshot().stages().is_empty());
}

#[tokio::test(start_paused = true)]
async fn the_limit_of_series_is_told_once() {
    let told = Arc::new(AtomicUsize::new(0));
    let seen = told.clone();
    let layer = LatencyLayer::with_max_series(1).observe(move |event: &Event<'_>| {
        assert!(matches!(event, Event::SeriesLimitReached { limit: 1 }));
        seen.fetch_add(1, Ordering::Relaxed);
    });
    let (service, _) = measured(layer, |number, _| status(200 + number as u16 % 4).into());
    for (requests, expected) in [(1, 0), (20, 1)] {
        for _ in 0..requests {
            drop(service.clone().oneshot(get("/")).await.unwrap());
        }
        assert_eq!(told.load(Ordering::Relaxed), expected);
    }
}

#[tokio::test(start_paused = true)]
async fn a_setting_changes_nothing_about_the_records() {
    let layer = LatencyLayer::new();
    let handle = layer.handle();
    let (upstream, _) = Upstream::new(|_, _| Answer::ok(MockBody::new()));
    let one = layer.clone().slow_after(MS_20).layer(upstream.clone());
    let other = layer.server_timing(true).layer(upstream);
    drop(one.oneshot(get("/")).await.unwrap());
    drop(other.oneshot(get("/")).await.unwrap());
    assert_eq!(handle.snapshot().merged().count(), 2);
}

fn measured<F>(layer: LatencyLayer, script: F) -> (LatencyService<Upstream>, LatencyHandle)
where
    F: FnMut(u64, &RequestHead<'_>) -> Answer + Send + 'static,
{
    let layer = layer.clock(Clock::anchored(SystemTime::UNIX_EPOCH));
    (layer.layer(Upstream::new(script).0), layer.handle())
}

/// Makes the call, and does not poll it.
async fn called<S>(service: &mut S, path: &str) -> S::Future
where
    S: Service<Request<MockBody>, Error = UpstreamError>,
{
    service.ready().await.expect("the upstream is ready").call(get(path))
}

fn get(path: &str) -> Request<MockBody> {
    Request::get(path).body(MockBody::new()).expect("a request")
}

fn status(status: u16) -> Response<MockBody> {
    Response::builder().status(status).body(MockBody::new()).expect("a response")
}

fn poll<F: Future>(future: Pin<&mut F>) -> Poll<F::Output> {
    future.poll(&mut Context::from_waker(Waker::noop()))
}

fn outcomes(all: &Measurements) -> [u64; 5] {
    let all = all.outcomes;
    [all.success, all.failure, all.slow, all.abandoned, all.ignored]
}

fn counted(series: &SeriesSnapshot) -> u64 {
    series.measurements().count()
}

const MS_20: Duration = Duration::from_millis(20);
const MS_30: Duration = Duration::from_millis(30);
