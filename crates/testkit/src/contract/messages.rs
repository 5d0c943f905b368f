use http::{HeaderMap, HeaderName, HeaderValue, Request, Response};

use crate::MockBody;

/// An extension that stands for an upgrade: hyper's `OnUpgrade` travels so.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Marker(pub(super) &'static str);

pub(super) fn get(path: &str) -> Request<MockBody> {
    request("GET", path)
}

/// A request that no cache stores the answer of, and no layer joins to another.
pub(super) fn post(path: &str) -> Request<MockBody> {
    request("POST", path)
}

pub(super) fn request(method: &str, path: &str) -> Request<MockBody> {
    let request = Request::builder().method(method).uri(path).header("host", "law.example");
    request.body(MockBody::new()).expect("the laws' requests are valid")
}

/// A response that is to be passed on and forgotten.
pub(super) fn passing(body: MockBody) -> Response<MockBody> {
    response(body, "no-store")
}

/// A response that a cache may keep.
pub(super) fn lasting(body: MockBody) -> Response<MockBody> {
    response(body, "max-age=60")
}

pub(super) fn trailers() -> HeaderMap {
    fields([("x-trailer", "one"), ("x-trailer", "two")])
}

pub(super) fn fields<const N: usize>(fields: [(&'static str, &'static str); N]) -> HeaderMap {
    let mut map = HeaderMap::new();
    for (name, value) in fields {
        map.append(HeaderName::from_static(name), HeaderValue::from_static(value));
    }
    map
}

/// The first field of `sent` of which `received` does not have all values.
pub(super) fn missing<'a>(sent: &'a HeaderMap, received: &HeaderMap) -> Option<&'a HeaderName> {
    sent.keys().find(|name| !sent.get_all(*name).iter().eq(received.get_all(*name)))
}

fn response(body: MockBody, cache_control: &'static str) -> Response<MockBody> {
    let mut response = Response::new(body);
    let fields = response.headers_mut();
    fields.insert("cache-control", HeaderValue::from_static(cache_control));
    fields.insert("content-type", HeaderValue::from_static("text/plain"));
    response
}
