use std::any::Any;
use std::future::{Future, poll_fn};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::pin;

use http::header::CONTENT_LENGTH;
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, Response, StatusCode, Version};
use http::{Uri, response};

use super::messages::{fields, get, lasting};
use super::trial::Trial;
use super::{Lawful, Subject};
use crate::MockBody;

/// Law: no request makes a layer panic, hang, or answer what is not valid.
///
/// 1,000 of them, the same ones each time, with methods, targets, versions and
/// fields that say anything.
pub async fn hostile_requests_do_no_harm<L: Lawful>(make: impl Fn() -> Subject<L>) {
    let trial = Trial::new("hostile_requests_do_no_harm", make(), |_, _| {
        let mut response = lasting(MockBody::new().data(BODY).sized());
        response.headers_mut().extend(fields([
            ("etag", "\"a\""),
            ("last-modified", "Sun, 06 Nov 1994 08:49:37 GMT"),
        ]));
        response.into()
    });
    let mut dice = Dice(SEED);
    for _ in 0..1_000 {
        check_exchange(&trial, hostile_request(&mut dice), StatusCode::OK).await;
    }
    trial.check_nothing_is_left("after hostile requests").await;
}

/// Law: no response makes a layer panic, hang, or answer what is not valid.
///
/// Every status from 100 to 999, with fields that say anything; each is asked
/// for again by a request that does so too, as it may be stored by then.
pub async fn hostile_responses_do_no_harm<L: Lawful>(make: impl Fn() -> Subject<L>) {
    let (mut dice, mut asking) = (Dice(SEED), Dice(!SEED));
    let trial = Trial::new("hostile_responses_do_no_harm", make(), move |_, head| {
        let mut response = Response::new(MockBody::new().data(BODY));
        *response.status_mut() = head.uri().path()[1..].parse().expect("a path is a status");
        *response.version_mut() = dice.pick(VERSIONS);
        *response.headers_mut() = hostile_fields(&mut dice);
        response.into()
    });
    for status in 100..=999 {
        let status = StatusCode::from_u16(status).expect("100 to 999 are statuses");
        let path = format!("/{}", status.as_str());
        check_exchange(&trial, get(&path), status).await;
        let mut again = get(&path);
        again.headers_mut().extend(hostile_fields(&mut asking));
        check_exchange(&trial, again, status).await;
    }
    trial.check_nothing_is_left("after hostile responses").await;
}

/// The upstream's response passes, or the layer answers by itself, validly.
async fn check_exchange<L: Lawful>(
    trial: &Trial<L>,
    request: Request<MockBody>,
    status: StatusCode,
) {
    let (sent, body) = request.into_parts();
    let request = Request::from_parts(sent.clone(), body);
    let exchange = caught(async {
        let (head, body) = trial.call(request).await.into_parts();
        (head, trial.read(Response::new(body)).await)
    });
    let (head, body) = match exchange.await {
        Ok(exchange) => exchange,
        Err(panic) => panic!("law {}: panic `{panic}` at {sent:?}", trial.law),
    };
    trial.check(body.error.is_none(), format_args!("the body breaks off at {sent:?}"));
    let bytes = body.bytes();
    let passed = head.status == status && bytes == BODY;
    let valid = passed || is_framed(&head, &sent.method, bytes.len());
    trial.check(valid, format_args!("{head:?} with {} bytes at {sent:?}", bytes.len()));
}

/// Whether a head that the layer made or changed fits the `size` of its body.
fn is_framed(head: &response::Parts, method: &Method, size: usize) -> bool {
    let bodiless = method == Method::HEAD || matches!(head.status.as_u16(), 100..200 | 204 | 304);
    match head.headers.get(CONTENT_LENGTH) {
        _ if bodiless => size == 0,
        Some(length) => length.to_str().is_ok_and(|length| length == size.to_string()),
        None => true,
    }
}

fn hostile_request(dice: &mut Dice) -> Request<MockBody> {
    let mut request = Request::new(MockBody::new().data(BODY));
    *request.method_mut() = dice.pick(METHODS).parse().expect("METHODS are tokens");
    *request.uri_mut() = dice.pick(TARGETS).parse::<Uri>().expect("TARGETS are URIs");
    *request.version_mut() = dice.pick(VERSIONS);
    *request.headers_mut() = hostile_fields(dice);
    request
}

fn hostile_fields(dice: &mut Dice) -> HeaderMap {
    let mut fields = HeaderMap::new();
    for _ in 0..dice.roll(12) {
        let name = HeaderName::from_static(dice.pick(NAMES));
        // Now and then a field that is there very often, or is very long.
        let (times, repeat) = match dice.roll(20) {
            0 => (100, 1),
            1 => (1, 500),
            _ => (1 + dice.roll(2), 1),
        };
        for _ in 0..times {
            let value = HeaderValue::from_bytes(&dice.pick(VALUES).repeat(repeat));
            fields.append(name.clone(), value.expect("VALUES are field values"));
        }
    }
    fields
}

/// Turns a panic of `future` into its message.
async fn caught<F: Future>(future: F) -> Result<F::Output, String> {
    let mut future = pin!(future);
    poll_fn(|cx| {
        let polled = catch_unwind(AssertUnwindSafe(|| future.as_mut().poll(cx)));
        polled.map_or_else(|panic| Err(text(&*panic)).into(), |polled| polled.map(Ok))
    })
    .await
}

fn text(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().map(|text| (*text).to_owned());
    text.or_else(|| panic.downcast_ref::<String>().cloned()).unwrap_or_default()
}

/// Picks from the tables, the same way each time (an xorshift generator).
struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 16) as usize % sides
    }

    fn pick<T: Copy>(&mut self, table: &[T]) -> T {
        table[self.roll(table.len())]
    }
}

const SEED: u64 = 0x5eed_1e55_0dd5;

const BODY: &str = "what a hostile upstream sends";

const VERSIONS: &[Version] =
    &[Version::HTTP_09, Version::HTTP_10, Version::HTTP_11, Version::HTTP_2, Version::HTTP_3];

#[rustfmt::skip]
const METHODS: &[&str] = &[
    "GET", "GET", "GET", "GET", "HEAD", "POST", "PUT", "DELETE", "OPTIONS", "TRACE", "CONNECT", "PATCH",
    "PURGE", "QUERY", "PRI", "get", "!", "A-METHOD-THAT-IS-SO-LONG-THAT-NO-TABLE-OF-METHODS-HAS-ROOM-FOR-IT",
];

#[rustfmt::skip]
const TARGETS: &[&str] = &[
    "/", "/", "//", "/.", "/../..", "/%00", "/%ff%", "/a;b=c", "/?", "/??&&==", "/a?b#", "*", "h.example:1",
    "http://h.example", "HTTP://H.EXAMPLE:80/", "https://[::1]:443/x?y", "ftp://u:p@h.example/", "http://h.example:99999/",
];

#[rustfmt::skip]
const NAMES: &[&str] = &[
    "accept", "accept-encoding", "accept-language", "age", "authorization", "cache-control", "cache-status",
    "cdn-cache-control", "connection", "content-encoding", "content-length", "content-range", "content-type",
    "cookie", "date", "etag", "expect", "expires", "forwarded", "grpc-status", "grpc-timeout", "host", "if-match",
    "if-modified-since", "if-none-match", "if-range", "if-unmodified-since", "keep-alive", "last-modified",
    "location", "max-forwards", "pragma", "priority", "range", "ratelimit", "retry-after", "server-timing",
    "set-cookie", "te", "traceparent", "trailer", "transfer-encoding", "upgrade", "vary", "via", "warning",
    "x-cache", "x-forwarded-for", "x-forwarded-proto", "x-real-ip",
];

#[rustfmt::skip]
const VALUES: &[&[u8]] = &[
    b"", b" ", b"\t", b",", b",,, ,", b";", b"=", b"\"", b"\\", b"\"\\", b"\xff\xfe", b"caf\xe9", b"\xf0\x9f\x92\xa9", b"*", b"*,*",
    b"0", b"-1", b"1.5", b"007", b"+1", b"99999999999999999999999", b"18446744073709551615", b"NaN", b"1e308", b"5, 5", b"5, 6",
    b"max-age", b"max-age=", b"max-age=-1", b"max-age=\"60\"", b"max-age=60, max-age=0", b"max-age=99999999999999999999",
    b"s-maxage=60, private=\"set-cookie\"", b"no-cache=\"", b"no-store=1", b"public, max-age=60, stale-while-revalidate=9999999999",
    b"only-if-cached", b"min-fresh=x", b"max-stale", b"W/", b"W/\"", b"W/\"a\"", b"\"a\", \"b\"", b"\"a", b"w/\"a\"",
    b"gzip", b"gzip;q=", b"gzip;q=1.0001", b"gzip;q=-1, *;q=0", b"identity;q=0", b"br;q=0.5;q=0.7, zstd", b"x-gzip, deflate, aws-chunked",
    b"bytes=0-", b"bytes=-0", b"bytes=5-2", b"bytes=0-0,-1", b"bytes=99999999999999999999-", b"BYTES=1-2", b"lines=1-2", b"bytes 0-1/*",
    b"Thu, 01 Jan 1970 00:00:00 GMT", b"Fri, 31 Dec 9999 23:59:59 GMT", b"Mon, 32 Foo 2026 25:61:61 GMT", b"Sunday, 06-Nov-94 08:49:37 GMT",
    b"Sun Nov  6 08:49:37 1994", b"1.2.3.4", b"1.2.3.4:x", b"::1", b"[::1]:1", b"for=\"[::1\"", b"for=_x;by=", b"unknown", b"1.2.3.4, , 5.6.7.8",
    b"close", b"keep-alive, upgrade, x", b"websocket", b"h2c", b"chunked", b"chunked, gzip", b"trailers", b"100-continue", b"application/grpc",
    b"application/grpc+", b"text/html; charset=\"", b"text/", b"/", b"text/event-stream", b"application/json", b"multipart/byteranges",
    b"Accept-Encoding", b"cookie, *", b"vary", b"u=9, i=?2", b"99999999H", b"1S", b"00-0-0-0", b"a;dur=1, b;desc=\"",
];
