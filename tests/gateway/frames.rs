//! Frames of HTTP/2 that nobody with good intentions sends.

use futures_util::future::join_all;
use tower_edge_tests::Program;

use crate::hostile::Target;

const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
const DATA: u8 = 0;
const HEADERS: u8 = 1;
const PRIORITY: u8 = 2;
const RST_STREAM: u8 = 3;
const SETTINGS: u8 = 4;
const PUSH_PROMISE: u8 = 5;
const PING: u8 = 6;
const WINDOW_UPDATE: u8 = 8;
const CONTINUATION: u8 = 9;
const END_STREAM: u8 = 1;
const END_HEADERS: u8 = 4;
const WHOLE: u8 = END_STREAM | END_HEADERS;

/// GET / of the host `h`, in HPACK.
const GET: &[u8] = b"\x82\x86\x84\x41\x01h";
/// POST / of the host `h`.
const POST: &[u8] = b"\x83\x86\x84\x41\x01h";

fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
    [&length[1..], &[kind, flags], &stream.to_be_bytes(), payload].concat()
}

/// A field that goes into no table.
fn field(name: &str, value: &str) -> Vec<u8> {
    let text = |text: &str| [&[u8::try_from(text.len()).unwrap()], text.as_bytes()].concat();
    [vec![0], text(name), text(value)].concat()
}

fn request(head: &[u8], fields: &[(&str, &str)]) -> Vec<u8> {
    let fields: Vec<_> = fields.iter().flat_map(|(name, value)| field(name, value)).collect();
    frame(HEADERS, WHOLE, 1, &[head, &fields].concat())
}

/// A connection that begins as it should, and goes on with `frames`.
fn opened(frames: &[Vec<u8>]) -> Vec<u8> {
    [PREFACE, &frame(SETTINGS, 0, 0, &[]), &frames.concat()].concat()
}

/// Sends it and reads until the gateway closes, or is done with the streams.
async fn send(gateway: &Program, bytes: &[u8]) {
    let mut client = gateway.connect().await;
    client.push(bytes).await;
    client.rest().await;
}

#[tokio::test]
async fn malformed_frames_reach_nobody() {
    let long = vec![b'.'; (16 << 10) + 1];
    let broken = [
        [PREFACE, &frame(PING, 0, 0, &[0; 8])].concat(),
        [b"PRI * HTTP/2.0\r\n\r\nXX\r\n\r\n", &*frame(SETTINGS, 0, 0, &[])].concat(),
        opened(&[frame(HEADERS, WHOLE, 1, &long)]),
        opened(&[frame(DATA, 0, 1, &long)]),
        opened(&[frame(HEADERS, WHOLE, 0, GET)]),
        opened(&[frame(HEADERS, WHOLE, 2, GET)]),
        opened(&[frame(DATA, END_STREAM, 1, b"x")]),
        opened(&[frame(CONTINUATION, END_HEADERS, 1, GET)]),
        opened(&[frame(HEADERS, END_STREAM, 1, GET), frame(DATA, END_STREAM, 1, b"x")]),
        opened(&[frame(HEADERS, END_STREAM, 1, GET), frame(CONTINUATION, END_HEADERS, 3, &[])]),
        opened(&[frame(HEADERS, WHOLE | 8, 1, &[&[255][..], GET].concat())]),
        opened(&[frame(HEADERS, WHOLE | 32, 1, &[&[0, 0, 0, 1, 0][..], GET].concat())]),
        opened(&[frame(PRIORITY, 0, 1, &[0; 4])]),
        opened(&[frame(RST_STREAM, 0, 1, &[0; 4])]),
        opened(&[frame(RST_STREAM, 0, 1, &[0; 3])]),
        opened(&[frame(SETTINGS, 0, 0, &[0; 5])]),
        opened(&[frame(SETTINGS, 0, 1, &[])]),
        opened(&[frame(SETTINGS, 1, 0, &[0; 6])]),
        opened(&[frame(SETTINGS, 0, 0, &[0, 4, 255, 255, 255, 255])]),
        opened(&[frame(SETTINGS, 0, 0, &[0, 2, 0, 0, 0, 9])]),
        opened(&[frame(PUSH_PROMISE, END_HEADERS, 1, &[&[0, 0, 0, 2][..], GET].concat())]),
        opened(&[frame(PING, 0, 0, &[0; 7])]),
        opened(&[frame(WINDOW_UPDATE, 0, 0, &[0; 4])]),
        opened(&[frame(WINDOW_UPDATE, 0, 0, &[127, 255, 255, 255])]),
        opened(&[frame(HEADERS, WHOLE, 1, b"\x80")]),
        opened(&[frame(HEADERS, WHOLE, 1, b"\xff\xff\xff\xff\xff\xff\xff\xff\xff\x7f")]),
        opened(&[frame(HEADERS, WHOLE, 1, &[GET, b"\x00\x7f\xff\xff\xff\x7f"].concat())]),
        opened(&[frame(HEADERS, WHOLE, 1, &[b"\x3f\xff\xff\xff\x7f", GET].concat())]),
        opened(&[frame(HEADERS, WHOLE, 1, &[GET, b"\x00\x01x\x82\xff\xff"].concat())]),
    ];
    for target in Target::both().await {
        join_all(broken.iter().map(|bytes| send(&target.gateway, bytes))).await;
        assert_eq!(target.origin.take(), Vec::<String>::new());
        target.assert_well().await;
    }
}

#[tokio::test]
async fn malformed_requests_reach_nobody() {
    let head = |fields: &[(&str, &str)]| fields.iter().flat_map(|(n, v)| field(n, v)).collect();
    let (method, path) = ((":method", "GET"), (":path", "/"));
    let (scheme, host) = ((":scheme", "http"), (":authority", "h"));
    let heads: Vec<Vec<u8>> = vec![
        head(&[method, path, host]),
        head(&[method, scheme, host]),
        head(&[path, scheme, host]),
        head(&[method, method, path, scheme, host]),
        head(&[method, path, path, scheme, host]),
        head(&[method, path, scheme, host, ("a", "b"), (":path", "/hidden")]),
        head(&[method, path, scheme, host, (":status", "200")]),
        head(&[method, path, scheme, host, (":unknown", "x")]),
        head(&[method, path, scheme, host, (":protocol", "websocket")]),
        head(&[method, (":path", ""), scheme, host]),
        head(&[method, (":path", "/ HTTP/1.1\r\nHost: h\r\n\r\nGET /hidden"), scheme, host]),
        head(&[method, (":path", "/a b"), scheme, host]),
        head(&[(":method", "GET /hidden HTTP/1.1\r\n"), path, scheme, host]),
        head(&[(":method", "G T"), path, scheme, host]),
        head(&[(":method", ""), path, scheme, host]),
        head(&[method, path, scheme, (":authority", "h\r\nX: y")]),
        head(&[method, path, scheme, (":authority", "h/hidden")]),
        head(&[method, path, scheme, (":authority", "h h")]),
        head(&[method, path, scheme, host, ("Upper", "case")]),
        head(&[method, path, scheme, host, ("a b", "c")]),
        head(&[method, path, scheme, host, ("a:b", "c")]),
        head(&[method, path, scheme, host, ("", "c")]),
        head(&[method, path, scheme, host, ("a\r\nx", "c")]),
        head(&[method, path, scheme, host, ("a", "b\r\nTransfer-Encoding: chunked")]),
        head(&[method, path, scheme, host, ("a", "b\nc")]),
        head(&[method, path, scheme, host, ("a", "b\0")]),
        head(&[method, path, scheme, host, ("connection", "close")]),
        head(&[method, path, scheme, host, ("transfer-encoding", "chunked")]),
        head(&[method, path, scheme, host, ("te", "gzip")]),
        head(&[method, path, scheme, host, ("upgrade", "h2c")]),
        head(&[method, path, scheme, host, ("keep-alive", "1")]),
        head(&[method, path, scheme, host, ("content-length", "5")]),
        head(&[method, path, scheme, host, ("content-length", "x")]),
        head(&[method, path, scheme]),
        head(&[method, path, scheme, ("host", "a"), ("host", "b")]),
    ];
    for target in Target::both().await {
        let requests: Vec<_> = heads.iter().map(|head| opened(&[request(head, &[])])).collect();
        join_all(requests.iter().map(|request| send(&target.gateway, request))).await;
        assert_eq!(target.origin.take(), Vec::<String>::new());
        target.assert_well().await;
    }
}

#[tokio::test]
async fn a_body_of_another_length_than_announced_is_no_request() {
    let post = |length: &str| [POST, &*field("content-length", length)].concat();
    for target in Target::both().await {
        for (length, bodies) in [
            ("2", &[&b"GET /hidden HTTP/1.1\r\nHost: h\r\n\r\n"[..]][..]),
            ("9", &[b"less"]),
            ("9", &[b"", b"", b"less"]),
            ("4", &[b"more", b" than that"]),
        ] {
            let mut frames = vec![frame(HEADERS, END_HEADERS, 1, &post(length))];
            frames.extend(bodies.iter().map(|body| frame(DATA, 0, 1, body)));
            frames.push(frame(DATA, END_STREAM, 1, &[]));
            send(&target.gateway, &opened(&frames)).await;
            let hidden = |request: &String| request.contains("/hidden");
            assert!(!target.origin.take().iter().any(hidden), "{length} {bodies:?}");
        }
        target.assert_well().await;
    }
}

#[tokio::test]
async fn one_request_is_one_request() {
    for target in Target::both().await {
        for (fields, seen) in [
            (&[("host", "other")][..], "\r\nhost: h\r\n"),
            (&[("te", "trailers")], "\r\nte: trailers\r\n"),
            (&[("cookie", "a=1"), ("cookie", "b=2")], "\r\ncookie: a=1; b=2\r\n"),
            (&[("x-forwarded-host", "evil")], "\r\nx-forwarded-host: h\r\n"),
            (&[("expect", "100-continue")], "\r\nhost: h\r\n"),
        ] {
            send(&target.gateway, &opened(&[request(GET, fields)])).await;
            let passed = target.origin.take();
            assert_eq!(passed.len(), 1, "{fields:?} {passed:?}");
            assert!(passed[0].starts_with("GET / HTTP/1.1\r\n"), "{passed:?}");
            assert!(passed[0].to_ascii_lowercase().contains(seen), "{passed:?}");
            assert_eq!(passed[0].to_ascii_lowercase().matches("\r\nhost: ").count(), 1);
        }
        target.assert_well().await;
    }
}

#[tokio::test]
async fn floods_end_the_connection_and_nothing_else() {
    let many = |count: usize, frame: &dyn Fn(u32) -> Vec<u8>| -> Vec<Vec<u8>> {
        (0..count).map(|n| frame(u32::try_from(n).unwrap())).collect()
    };
    let literal = field("x", &"v".repeat(100));
    let big = [&b"\x40\x01x\x7f\x81\x1e"[..], &[b'v'; 4_000]].concat();
    let begun = frame(HEADERS, END_STREAM, 1, GET);
    let floods: Vec<(&str, Vec<Vec<u8>>)> = vec![
        (
            "continuation",
            many(20_000, &|n| match n {
                0 => begun.clone(),
                _ => frame(CONTINUATION, 0, 1, &literal),
            }),
        ),
        (
            "empty continuation",
            many(100_000, &|n| match n {
                0 => begun.clone(),
                _ => frame(CONTINUATION, 0, 1, &[]),
            }),
        ),
        (
            "hpack bomb",
            many(1, &|_| frame(HEADERS, WHOLE, 1, &[GET, &big, &[0xbe; 10_000]].concat())),
        ),
        (
            "rapid reset",
            many(20_000, &|n| {
                let stream = 2 * n + 1;
                let begun = frame(HEADERS, WHOLE, stream, GET);
                [begun, frame(RST_STREAM, 0, stream, &[0, 0, 0, 8])].concat()
            }),
        ),
        ("settings", many(50_000, &|_| frame(SETTINGS, 0, 0, &[]))),
        ("ping", many(50_000, &|_| frame(PING, 0, 0, &[0; 8]))),
        ("priority", many(50_000, &|n| frame(PRIORITY, 0, 2 * n + 1, &[0, 0, 0, 0, 1]))),
        (
            "empty data",
            many(50_000, &|n| match n {
                0 => frame(HEADERS, END_HEADERS, 1, POST),
                _ => frame(DATA, 0, 1, &[]),
            }),
        ),
        ("window", many(50_000, &|_| frame(WINDOW_UPDATE, 0, 0, &[0, 0, 0, 1]))),
        ("streams", many(20_000, &|n| frame(HEADERS, END_HEADERS, 2 * n + 1, POST))),
    ];
    for target in Target::both().await {
        for (name, frames) in &floods {
            send(&target.gateway, &opened(frames)).await;
            for passed in target.origin.take() {
                assert!(passed.starts_with("GET / HTTP/1.1\r\n"), "{name} {passed}");
            }
        }
        assert!(target.gateway.peak_mib() < 128, "{} MiB", target.gateway.peak_mib());
        target.assert_well().await;
    }
}
