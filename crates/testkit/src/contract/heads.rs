use http::{HeaderValue, Method, Request, Response, Version};

use super::messages::{Marker, fields, get, missing, passing, post, request};
use super::trial::{Reply, Trial};
use super::{Lawful, Subject};
use crate::{Answer, MockBody, UpstreamError};

/// Law: an error of the inner service reaches the caller as it is.
pub async fn errors_pass<L: Lawful>(make: impl Fn() -> Subject<L>) {
    let error = UpstreamError::new("connection refused");
    for method in ["GET", "POST"] {
        let trial = Trial::new("errors_pass", make(), move |_, _| Answer::error(error).pause());
        let result = trial.try_call(&mut trial.service.clone(), request(method, "/")).await;
        trial.check(result.err() == Some(error), format_args!("an error of {method} is lost"));
    }
    let trial = Trial::new("errors_pass", make(), |_, _| Answer::ok(MockBody::new()));
    let error = UpstreamError::new("closed");
    trial.upstream.fail_readiness(error);
    let result = trial.try_call(&mut trial.service.clone(), get("/")).await;
    trial.check(result.err() == Some(error), "an error of `poll_ready` is lost");
}

/// Law: heads pass both ways; a layer may add fields, and takes none away.
///
/// Statuses from 200 to 503, repeated and unreadable fields, extensions.
pub async fn heads_pass<L: Lawful>(make: impl Fn() -> Subject<L>) {
    let trial = Trial::new("heads_pass", make(), |_, head| {
        let status: u16 = head.uri().path()[1..].parse().expect("a path is a status");
        let body = if status == 204 { MockBody::new() } else { MockBody::new().data("ok") };
        let mut response = passing(body);
        *response.status_mut() = status.try_into().expect("a status");
        response.extensions_mut().insert(Marker("from upstream"));
        response.headers_mut().extend(fields([("set-cookie", "a=1"), ("set-cookie", "b=2")]));
        response.headers_mut().insert("x-obs-text", unreadable());
        response.into()
    });
    for (number, status) in [200, 201, 204, 302, 400, 404, 418, 500, 503].into_iter().enumerate() {
        let mut request = post(&format!("/{status}"));
        *request.version_mut() = Version::HTTP_2;
        request.extensions_mut().insert(Marker("from the client"));
        request.headers_mut().extend(fields([("cookie", "a=1"), ("cookie", "b=2")]));
        request.headers_mut().insert("x-obs-text", unreadable());
        let fields = request.headers().clone();
        let response = trial.call(request).await;
        check_response(&trial, &response, status);

        let seen = &trial.upstream.requests()[number];
        trial.check(seen.method == Method::POST, "the method changes");
        trial.check(seen.uri.path() == format!("/{status}"), "the target changes");
        trial.check(seen.version == Version::HTTP_2, "the version changes");
        let marker = seen.extensions.get();
        trial.check(marker == Some(&Marker("from the client")), "request extensions are lost");
        let missing = missing(&fields, &seen.headers);
        trial.check(missing.is_none(), format_args!("request field {missing:?} is lost"));
    }
}

/// Law: upgrades pass: 101, its fields, and the extensions of both heads.
pub async fn upgrades_pass<L: Lawful>(make: impl Fn() -> Subject<L>) {
    let upgrade = || fields([("connection", "upgrade"), ("upgrade", "websocket")]);
    let trial = Trial::new("upgrades_pass", make(), move |_, _| {
        let mut response = Response::new(MockBody::new());
        *response.status_mut() = http::StatusCode::SWITCHING_PROTOCOLS;
        *response.headers_mut() = upgrade();
        response.extensions_mut().insert(Marker("upstream's half"));
        response.into()
    });
    let mut request = get("/chat");
    request.headers_mut().extend(upgrade());
    request.extensions_mut().insert(Marker("the client's half"));
    let response = trial.call(request).await;

    let seen = &trial.upstream.requests()[0];
    trial.check(missing(&upgrade(), &seen.headers).is_none(), "the request's fields are lost");
    let marker = seen.extensions.get();
    trial.check(marker == Some(&Marker("the client's half")), "the request's handle is lost");
    trial.check(response.status() == 101, "the status is not 101");
    trial.check(missing(&upgrade(), response.headers()).is_none(), "the fields are lost");
    let marker = response.extensions().get();
    trial.check(marker == Some(&Marker("upstream's half")), "the response's handle is lost");
    let length = response.headers().get("content-length");
    trial.check(length.is_none(), "a 101 has a length");
    let received = trial.read(response).await;
    trial.check(received.frames.is_empty(), "a 101 has a body");
    trial.check_nothing_is_left("after an upgrade").await;
}

/// Law: CONNECT passes, plain and extended, and its tunnel's handles with it.
pub async fn connect_passes<L: Lawful>(make: impl Fn() -> Subject<L>) {
    let trial = Trial::new("connect_passes", make(), |_, _| {
        let mut response = Response::new(MockBody::new());
        response.extensions_mut().insert(Marker("upstream's half"));
        response.into()
    });
    let targets = ["db.example:5432", "https://law.example/chat"];
    for (number, target) in targets.into_iter().enumerate() {
        let mut request = request("CONNECT", target);
        request.extensions_mut().insert(Marker("websocket"));
        let response = trial.call(request).await;
        trial.check(response.status() == 200, "the status is not 200");
        let marker = response.extensions().get();
        trial.check(marker == Some(&Marker("upstream's half")), "the response's handle is lost");
        let length = response.headers().get("content-length");
        trial.check(length.is_none(), "a tunnel has a length");

        let requests = trial.upstream.requests();
        trial.check(requests.len() == number + 1, "CONNECT does not reach the upstream");
        let seen = &requests[number];
        trial.check(seen.method == Method::CONNECT, "the method changes");
        trial.check(seen.uri == target, "the target changes");
        let marker = seen.extensions.get();
        trial.check(marker == Some(&Marker("websocket")), "the protocol is lost");
    }
}

/// Law: gRPC passes: `te`, messages, trailers, and trailers-only responses.
pub async fn grpc_passes<L: Lawful>(make: impl Fn() -> Subject<L>) {
    let trial = Trial::new("grpc_passes", make(), |_, head| {
        let mut response = Response::new(MockBody::new());
        response.headers_mut().extend(fields([("content-type", "application/grpc")]));
        match head.uri().path() {
            "/unary" => {
                let trailers = fields([("grpc-status", "0"), ("grpc-message", "")]);
                *response.body_mut() =
                    MockBody::new().data(MESSAGE).pause().data(MESSAGE).trailers(trailers);
            }
            _ => response.headers_mut().extend(fields([("grpc-status", "5")])),
        }
        Answer::from(response).reading()
    });
    let response = trial.call(grpc("/unary")).await;
    trial.check(response.headers()["content-type"] == "application/grpc", "the type changes");
    let received = trial.read(response).await;
    trial.check(received.bytes() == [MESSAGE, MESSAGE].concat(), "the messages change");
    let status = received.trailers.as_ref().and_then(|trailers| trailers.get("grpc-status"));
    trial.check(status.is_some_and(|status| status == "0"), "the trailers are lost");
    let te = trial.upstream.requests()[0].headers.get("te").cloned();
    trial.check(te.is_some_and(|te| te == "trailers"), "`te: trailers` is lost");
    trial.check(trial.upstream.received()[0].bytes() == MESSAGE, "the request's message changes");

    let response = trial.call(grpc("/trailers-only")).await;
    let status = response.headers().get("grpc-status").cloned();
    trial.check(status.is_some_and(|status| status == "5"), "a trailers-only status is lost");
    let received = trial.read(response).await;
    trial.check(received.frames.is_empty(), "a trailers-only response has a body");
}

fn grpc(path: &str) -> Request<MockBody> {
    let mut request = post(path).map(|_| MockBody::new().data(MESSAGE));
    *request.version_mut() = Version::HTTP_2;
    let grpc = [("content-type", "application/grpc+proto"), ("te", "trailers")];
    request.headers_mut().extend(fields(grpc));
    request
}

fn check_response<L: Lawful>(trial: &Trial<L>, response: &Reply<L>, status: u16) {
    let seen = response.status();
    trial.check(seen == status, format_args!("status {status} becomes {seen}"));
    let marker = response.extensions().get();
    trial.check(marker == Some(&Marker("from upstream")), "response extensions are lost");
    let mut sent = fields([
        ("cache-control", "no-store"),
        ("content-type", "text/plain"),
        ("set-cookie", "a=1"),
        ("set-cookie", "b=2"),
    ]);
    sent.insert("x-obs-text", unreadable());
    let missing = missing(&sent, response.headers());
    trial.check(missing.is_none(), format_args!("response field {missing:?} is lost"));
}

fn unreadable() -> HeaderValue {
    HeaderValue::from_bytes(b"caf\xe9").expect("obs-text is allowed")
}

const MESSAGE: &[u8] = b"\0\0\0\0\x03\x08\x96\x01";
