//! Each law catches a layer that breaks it.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http::{Request, Response, StatusCode};
use http_body::Body;
use http_body_util::{BodyExt, Full};
use tower::layer::layer_fn;
use tower::limit::GlobalConcurrencyLimitLayer;
use tower::{Layer, Service};
use tower_edge_testkit::contract::{self, Subject};
use tower_edge_testkit::{MockBody, Upstream, UpstreamError, UpstreamFuture};

use crate::layers::{BentBody, State, Watch, WatchService, answering, calling, polling};

/// Makes a test for each layer: that the law is broken, and says so.
macro_rules! caught {
    ($($name:ident breaks $law:ident $says:literal: $subject:expr;)*) => {$(
        #[test]
        fn $name() {
            let panic = panic_of(contract::$law(|| $subject));
            let expected = concat!("law ", stringify!($law), ": ", $says);
            assert!(panic.starts_with(expected), "{panic}");
        }
    )*};
}

fn panic_of(law: impl Future<Output = ()>) -> String {
    let mut runtime = tokio::runtime::Builder::new_current_thread();
    let runtime = runtime.enable_time().start_paused(true).build().expect("a runtime");
    let panic = catch_unwind(AssertUnwindSafe(|| runtime.block_on(law)));
    *panic.expect_err("no law is broken").downcast::<String>().expect("laws say what is wrong")
}

caught! {
    state_made_in_layer
    breaks state_is_shared "the layer's state is still 1 after a call of a service of a second":
    {
        let (shared, layered) = (Watch::default(), AtomicU64::new(0));
        let calls = shared.calls();
        let layer = layer_fn(move |inner: Upstream| match layered.fetch_add(1, Ordering::Relaxed) {
            0 | 1 => shared.layer(inner),
            _ => Watch::default().layer(inner),
        });
        Subject::new(layer, calls)
    };

    state_of_each_clone
    breaks state_is_shared "the layer's state is still 2 after a call of a clone":
    {
        let watch = Watch::default();
        let calls = watch.calls();
        Subject::new(layer_fn(move |inner: Upstream| Detached(watch.layer(inner))), calls)
    };

    a_second_inner_service
    breaks a_clone_clones_the_inner_once "the inner service was cloned 2 times":
    Subject::stateless(layer_fn(|inner: Upstream| Unready::new(inner.clone(), Fault::Spare(inner))));

    a_call_of_a_fresh_clone
    breaks only_a_ready_clone_is_called "2 calls without readiness: two calls":
    Subject::stateless(calling(|inner, request| inner.clone().call(request)));

    a_remembered_readiness
    breaks only_a_ready_clone_is_called "1 calls without readiness: two calls":
    Subject::stateless(layer_fn(|inner| Unready::new(inner, Fault::Remembers)));

    a_cloned_readiness
    breaks only_a_ready_clone_is_called "1 calls without readiness: a clone of a service":
    Subject::stateless(layer_fn(|inner| Unready::new(inner, Fault::Clones)));

    a_readiness_that_is_not_asked_for
    breaks a_call_waits_for_readiness "there is an answer":
    Subject::stateless(layer_fn(|inner| Unready::new(inner, Fault::Skips)));

    a_permit_taken_in_poll_ready
    breaks idle_clones_hold_no_capacity "idle clones keep another one from being ready":
    Subject::stateless(GlobalConcurrencyLimitLayer::new(10));

    an_error_made_a_response
    breaks errors_pass "an error of GET is lost":
    Subject::stateless(calling(|inner, request| {
        let response = inner.call(request);
        async move {
            Ok(response.await.unwrap_or_else(|_| {
                let mut response = Response::new(MockBody::new());
                *response.status_mut() = StatusCode::BAD_GATEWAY;
                response
            }))
        }
    }));

    fields_inserted_not_appended
    breaks heads_pass "response field Some(\"set-cookie\") is lost":
    Subject::stateless(answering(|mut response| {
        let cookie = response.headers().get("set-cookie").cloned();
        response.headers_mut().extend(cookie.map(|cookie| (http::header::SET_COOKIE, cookie)));
        response
    }));

    a_target_made_anew
    breaks heads_pass "request extensions are lost":
    Subject::stateless(calling(|inner, request: Request<MockBody>| {
        let (head, body) = request.into_parts();
        let mut fresh = Request::new(body);
        *fresh.method_mut() = head.method;
        *fresh.uri_mut() = head.uri;
        *fresh.version_mut() = head.version;
        *fresh.headers_mut() = head.headers;
        inner.call(fresh)
    }));

    a_response_made_anew
    breaks upgrades_pass "the response's handle is lost":
    Subject::stateless(answering(|response: Response<MockBody>| {
        let (head, body) = response.into_parts();
        let mut fresh = Response::new(body);
        *fresh.status_mut() = head.status;
        *fresh.headers_mut() = head.headers;
        fresh
    }));

    connect_refused
    breaks connect_passes "the status is not 200":
    Subject::stateless(calling(|inner, request: Request<MockBody>| {
        let allowed = request.method() != http::Method::CONNECT;
        let response = inner.call(request);
        async move {
            let mut response = response.await?;
            if !allowed {
                *response.status_mut() = StatusCode::METHOD_NOT_ALLOWED;
            }
            Ok(response)
        }
    }));

    hop_by_hop_fields_removed
    breaks grpc_passes "`te: trailers` is lost":
    Subject::stateless(calling(|inner, mut request: Request<MockBody>| {
        request.headers_mut().remove("te");
        inner.call(request)
    }));

    data_only
    breaks frames_pass "the trailers of /no-store are lost":
    Subject::stateless(polling(|body, cx| {
        body.poll_frame(cx).map(|frame| frame.filter(|frame| !matches!(frame, Ok(f) if f.is_trailers())))
    }));

    a_request_read_first
    breaks request_bodies_pass "the call waits for the whole request":
    Subject::stateless(calling(|inner, request: Request<MockBody>| {
        let mut inner = std::mem::replace(inner, inner.clone());
        async move {
            let (head, body) = request.into_parts();
            let bytes = body.collect().await.map_err(|_| UpstreamError::new("broken"))?.to_bytes();
            inner.call(Request::from_parts(head, Full::new(bytes))).await
        }
    }));

    a_size_left_out
    breaks sizes_pass "a body of known size: size":
    Subject::stateless(polling(|body, cx| body.poll_frame(cx)));

    a_response_read_first
    breaks bodies_stream "GET /no-store hangs":
    Subject::stateless(calling(|inner, request| {
        let response = inner.call(request);
        async move {
            let (head, body) = response.await?.into_parts();
            let bytes = body.collect().await.map(|body| body.to_bytes());
            Ok(Response::from_parts(head, Full::new(bytes.unwrap_or_default())))
        }
    }));

    an_error_made_an_end
    breaks broken_bodies_stay_broken "/no-store looks whole, broken after 0 frames":
    Subject::stateless(polling(|body, cx| {
        body.poll_frame(cx).map(|frame| frame.filter(Result::is_ok))
    }));

    a_poll_after_the_end
    breaks ended_bodies_are_left_alone "an empty body is polled 1 times after its end":
    Subject::stateless(polling(|mut body, cx| match body.as_mut().poll_frame(cx) {
        Poll::Ready(None) => body.poll_frame(cx),
        frame => frame,
    }));

    a_count_taken_in_poll_ready
    breaks a_dropped_service_leaves_nothing "`under way` is 100 after services were dropped ready":
    {
        let watch = Watch::default();
        let (state, under_way) = (watch.state.clone(), watch.under_way());
        let layer = layer_fn(move |inner| Unready::new(inner, Fault::Counts(state.clone())));
        Subject::stateless(layer).gauge("under way", under_way)
    };

    a_count_given_back_by_the_head
    breaks a_dropped_future_leaves_nothing "`under way` is 1 after never was dropped at poll 0":
    {
        let watch = Watch::default();
        let (state, under_way) = (watch.state.clone(), watch.under_way());
        let layer = calling(move |inner, request| {
            let (state, response) = (state.clone(), inner.call(request));
            state.under_way.fetch_add(1, Ordering::Relaxed);
            async move {
                let response = response.await;
                state.under_way.fetch_sub(1, Ordering::Relaxed);
                response
            }
        });
        Subject::stateless(layer).gauge("under way", under_way)
    };

    a_call_that_runs_on
    breaks a_dropped_future_leaves_nothing "1 in flight upstream after never was dropped at poll 0":
    Subject::stateless(calling(|inner, request| {
        let call = tokio::spawn(inner.call(request));
        async move { call.await.expect("the upstream does not panic") }
    }));

    a_count_given_back_at_the_end
    breaks a_dropped_body_leaves_nothing "`under way` is 1 after the body of endless":
    {
        let watch = Watch::default();
        let (state, under_way) = (watch.state.clone(), watch.under_way());
        let layer = answering(move |response| {
            state.under_way.fetch_add(1, Ordering::Relaxed);
            let state = state.clone();
            let poll = move |body: Pin<&mut MockBody>, cx: &mut Context<'_>| {
                let frame = body.poll_frame(cx);
                if let Poll::Ready(None) = frame {
                    state.under_way.fetch_sub(1, Ordering::Relaxed);
                }
                frame
            };
            response.map(|body| BentBody { body, poll })
        });
        Subject::stateless(layer).gauge("under way", under_way)
    };

    a_permit_lost_with_the_future
    breaks a_dropped_future_leaves_nothing "GET /later/0 hangs":
    {
        let permits = Arc::new(tokio::sync::Semaphore::new(64));
        Subject::stateless(calling(move |inner, request| {
            let permits = permits.clone();
            let mut inner = std::mem::replace(inner, inner.clone());
            async move {
                permits.acquire().await.expect("never closed").forget();
                let response = inner.call(request).await;
                permits.add_permits(1);
                response
            }
        }))
    };

    a_field_unwrapped_in_requests
    breaks hostile_requests_do_no_harm "panic `called `Result::unwrap()` on an `Err` value: ToStrError":
    Subject::stateless(calling(|inner, request: Request<MockBody>| {
        request.headers().get("accept-encoding").map(|value| value.to_str().unwrap());
        inner.call(request)
    }));

    a_field_unwrapped_in_responses
    breaks hostile_responses_do_no_harm "panic `called `Result::unwrap()` on an `Err` value: ParseIntError":
    Subject::stateless(answering(|response: Response<MockBody>| {
        let age = response.headers().get("age").and_then(|age| age.to_str().ok());
        age.map(|age| age.parse::<u64>().unwrap());
        response
    }));

    a_body_cut_short
    breaks hostile_responses_do_no_harm "Parts":
    Subject::stateless(answering(|response: Response<MockBody>| {
        let mut response = response.map(|_| Full::new(Bytes::from_static(b"cut")));
        response.headers_mut().insert("content-length", "29".parse().unwrap());
        response
    }));
}

/// Does wrong in `poll_ready`.
#[derive(Clone)]
struct Unready {
    inner: Upstream,
    fault: Fault,
    ready: bool,
}

#[derive(Clone)]
enum Fault {
    /// Carries a second service, which is cloned with the first.
    Spare(#[allow(dead_code)] Upstream),
    /// Was ready once, so it thinks that it still is.
    Remembers,
    /// Does not ask again when it is ready, and takes that along when cloned.
    Clones,
    /// Is always ready.
    Skips,
    /// Counts itself in as soon as it is ready.
    Counts(Arc<State>),
}

impl Unready {
    fn new(inner: Upstream, fault: Fault) -> Self {
        Self { inner, fault, ready: false }
    }
}

impl Service<Request<MockBody>> for Unready {
    type Response = Response<MockBody>;
    type Error = UpstreamError;
    type Future = UpstreamFuture;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), UpstreamError>> {
        if self.ready || matches!(self.fault, Fault::Skips) {
            return Poll::Ready(Ok(()));
        }
        ready!(Service::<Request<MockBody>>::poll_ready(&mut self.inner, cx))?;
        if let Fault::Counts(state) = &self.fault {
            state.under_way.fetch_add(1, Ordering::Relaxed);
        }
        self.ready = !matches!(self.fault, Fault::Spare(_));
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<MockBody>) -> UpstreamFuture {
        if let Fault::Counts(state) = &self.fault {
            state.under_way.fetch_sub(1, Ordering::Relaxed);
        }
        self.ready &= matches!(self.fault, Fault::Remembers);
        self.inner.call(request)
    }
}

/// Leaves its state behind when it is cloned.
struct Detached(WatchService<Upstream>);

impl Clone for Detached {
    fn clone(&self) -> Self {
        Self(WatchService { inner: self.0.inner.clone(), state: Arc::default() })
    }
}

impl Service<Request<MockBody>> for Detached {
    type Response = <WatchService<Upstream> as Service<Request<MockBody>>>::Response;
    type Error = UpstreamError;
    type Future = <WatchService<Upstream> as Service<Request<MockBody>>>::Future;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), UpstreamError>> {
        Service::<Request<MockBody>>::poll_ready(&mut self.0, cx)
    }

    fn call(&mut self, request: Request<MockBody>) -> Self::Future {
        self.0.call(request)
    }
}
