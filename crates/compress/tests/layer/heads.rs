//! What the heads of responses say.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use http::Response;
use http::response::Builder;
use tower_edge_compress::CompressLayer;
use tower_edge_core::Coding;
use tower_edge_testkit::MockBody;

use crate::play::{CODINGS, Play, Reply, get, noise, request, text};

const BROWSER: &str = "gzip, deflate, br, zstd, dcb";

fn layer() -> CompressLayer {
    CompressLayer::new()
}

/// Answers all requests with `head`, and a text of a kilobyte; HEAD without it.
fn of(layer: CompressLayer, head: fn() -> Builder) -> Play {
    Play::new(layer, move |request| {
        let body = MockBody::new();
        let body = if request.method() == "HEAD" { body } else { body.data(text(1_000)) }.sized();
        head().header("content-type", "text/plain").body(body).unwrap()
    })
}

fn tagged() -> Builder {
    Response::builder().header("etag", "\"v1\"").header("accept-ranges", "bytes")
}

async fn answered(head: fn() -> Builder, accepts: &str) -> Reply {
    of(layer(), head).get(accepts).await
}

#[tokio::test(start_paused = true)]
async fn the_client_gets_the_coding_that_it_wants() {
    for (accepts, coding) in [
        (BROWSER, Some("zstd")),
        ("gzip, deflate, br", Some("br")),
        ("gzip, deflate", Some("gzip")),
        ("deflate", Some("deflate")),
        ("br;q=0.5, X-GZIP", Some("gzip")),
        ("identity", None),
        ("", None),
        ("*;q=0", None),
    ] {
        let reply = answered(Response::builder, accepts).await;
        assert_eq!(reply.field("content-encoding"), coding, "{accepts}");
        assert_eq!(reply.field("vary"), Some("accept-encoding"));
        assert_eq!(reply.decoded(), text(1_000));
    }
    let lines = [("accept-encoding", "gzip;q=0.5"), ("accept-encoding", "br")];
    let reply = of(layer(), Response::builder).read(get(&lines)).await;
    assert_eq!(reply.field("content-encoding"), Some("br"), "of two lines");
    let all = [Coding::Gzip, Coding::Zstd];
    let reply = of(layer().codings(all), Response::builder).get(BROWSER).await;
    assert_eq!(reply.field("content-encoding"), Some("gzip"));
}

#[tokio::test(start_paused = true)]
async fn what_is_encoded_has_fields_of_its_own() {
    for coding in CODINGS {
        let head = || tagged().header("content-md5", "AA==").header("content-length", "1000");
        let reply = answered(head, coding.as_str()).await;
        let level = if coding == Coding::Br {
            5
        } else if coding == Coding::Zstd {
            3
        } else {
            6
        };
        let tag = format!("\"v1+{}{level}\"", coding.as_str());
        assert_eq!(reply.field("etag"), Some(&tag[..]));
        assert_eq!((reply.field("accept-ranges"), reply.field("content-md5")), (None, None));
        let length = reply.body.bytes().len().to_string();
        assert_eq!(reply.field("content-length"), Some(&length[..]));
        assert!(reply.body.bytes().len() < 600);
    }
    let plain = answered(tagged, "identity").await;
    assert_eq!(
        (plain.field("etag"), plain.field("accept-ranges")),
        (Some("\"v1\""), Some("bytes"))
    );
}

#[tokio::test(start_paused = true)]
async fn what_is_not_to_be_encoded_passes_untouched() {
    for head in [
        || tagged().header("content-encoding", "br"),
        || tagged().header("cache-control", "max-age=1, no-transform"),
        || tagged().status(204),
        || tagged().header("content-length", "255"),
    ] {
        let reply = answered(head, BROWSER).await;
        assert_eq!(reply.field("etag"), Some("\"v1\""));
        assert_eq!(reply.field("vary"), None);
        assert_eq!(reply.body.bytes(), text(1_000));
    }
    let image = Play::new(layer(), |_| {
        let head = Response::builder().header("content-type", "IMAGE/PNG");
        head.body(MockBody::new().data(text(1_000))).unwrap()
    });
    let reply = image.get(BROWSER).await;
    assert_eq!((reply.field("content-encoding"), reply.field("vary")), (None, None));
}

#[tokio::test(start_paused = true)]
async fn parts_pass_and_vary() {
    let part = || tagged().status(206).header("content-range", "bytes 0-999/2000");
    let reply = answered(part, BROWSER).await;
    assert_eq!((reply.status.as_u16(), reply.field("content-encoding")), (206, None));
    assert_eq!(
        (reply.field("vary"), reply.field("etag")),
        (Some("accept-encoding"), Some("\"v1\""))
    );
    assert_eq!(reply.body.bytes(), text(1_000));
}

#[tokio::test(start_paused = true)]
async fn who_names_no_coding_is_answered_as_who_wants_none() {
    let heads: [(fn() -> Builder, bool); 9] = [
        (tagged, true),
        (|| tagged().status(304), true),
        (|| tagged().status(206).header("content-range", "bytes 0-999/2000"), true),
        (|| tagged().header("vary", "accept-language"), true),
        (|| tagged().status(205), false),
        (|| tagged().header("content-length", "100"), false),
        (|| tagged().header("cache-control", "no-transform"), false),
        (|| tagged().header("content-type", "image/png"), false),
        (|| tagged().header("content-encoding", "gzip"), false),
    ];
    let layers: [fn() -> CompressLayer; 4] = [
        layer,
        || layer().strict(),
        || layer().min_size(2_000),
        || layer().when_by(|response| response.status() != 304),
    ];
    for (head, varies) in heads {
        for (number, layer) in layers.into_iter().enumerate() {
            for method in ["GET", "HEAD", "POST", "CONNECT"] {
                let play = of(layer(), head);
                let silent = play.read(request(method, &[])).await;
                let told = play.read(request(method, &[("accept-encoding", "identity")])).await;
                assert_eq!((silent.status, &silent.fields), (told.status, &told.fields));
                assert_eq!(silent.body.bytes(), told.body.bytes());
                if number == 0 {
                    let named =
                        silent.fields.get_all("vary").iter().any(|n| n == "accept-encoding");
                    assert_eq!(named, varies && method != "CONNECT", "{method} {silent:?}");
                }
            }
        }
    }
}

#[tokio::test(start_paused = true)]
async fn what_does_not_get_shorter_goes_out_as_it_is() {
    for trailers in [false, true] {
        let play = Play::new(layer(), move |_| {
            let body = MockBody::new()
                .data(noise(1_000)[..700].to_vec())
                .data(noise(1_000)[700..].to_vec());
            let fields = http::HeaderMap::from_iter([("x".parse().unwrap(), "y".parse().unwrap())]);
            tagged().body(if trailers { body.trailers(fields) } else { body }).unwrap()
        });
        let reply = play.get(BROWSER).await;
        assert_eq!((reply.field("content-encoding"), reply.field("etag")), (None, Some("\"v1\"")));
        assert_eq!(reply.field("vary"), Some("accept-encoding"));
        assert_eq!(reply.body.bytes(), noise(1_000));
        assert_eq!(reply.body.trailers.is_some(), trailers);
    }
}

#[tokio::test(start_paused = true)]
async fn the_size_that_counts_is_that_of_the_body_in_hand() {
    let sized = |size: usize, layer: CompressLayer| {
        Play::new(layer, move |_| Response::new(MockBody::new().data(text(size))))
    };
    for (size, encoded) in [(255, false), (256, true)] {
        let reply = sized(size, layer()).get("gzip").await;
        assert_eq!(reply.field("content-encoding").is_some(), encoded, "{size}");
        assert_eq!(reply.decoded(), text(size));
    }
    let reply = sized(255, layer().min_size(100)).get("gzip").await;
    assert_eq!(reply.field("content-encoding"), Some("gzip"));
}

#[tokio::test(start_paused = true)]
async fn a_predicate_sees_the_head() {
    let layer = || layer().when_by(|response| !response.headers().contains_key("x-secret"));
    for (head, encoded) in [
        (Response::builder as fn() -> Builder, true),
        (|| Response::builder().header("x-secret", "1"), false),
    ] {
        let reply = of(layer(), head).get("gzip").await;
        assert_eq!(reply.field("content-encoding").is_some(), encoded);
        assert_eq!(reply.field("vary").is_some(), encoded);
    }
}

#[tokio::test(start_paused = true)]
async fn head_is_answered_as_get_would_be() {
    let heads: [fn() -> Builder; 4] = [
        || tagged().header("content-length", "1000"),
        || tagged().header("content-length", "100"),
        || tagged().header("cache-control", "no-transform"),
        || tagged().status(404),
    ];
    for head in heads {
        for accepts in [BROWSER, "gzip", "identity"] {
            let get = answered(head, accepts).await;
            let asked = request("HEAD", &[("accept-encoding", accepts)]);
            let head = of(layer(), head).read(asked).await;
            assert_eq!(head.body.bytes(), "");
            for name in ["content-encoding", "vary", "content-type", "accept-ranges"] {
                assert_eq!(head.field(name), get.field(name), "{name} {accepts}");
            }
            // Which bytes they would be is not known without them.
            let strong = |reply: &Reply| reply.field("etag").unwrap().replace("W/", "");
            assert_eq!(strong(&head), strong(&get));
            if get.field("content-encoding").is_some() {
                assert_eq!(head.field("content-length"), None);
                assert!(head.field("etag").unwrap().starts_with("W/"));
            }
        }
    }
}

/// An origin that knows version 1 by its tag, and when it was made.
fn origin() -> Play {
    Play::new(layer(), |request| {
        let asked = request.headers().get_all("if-none-match").iter();
        let asked: Vec<_> = asked.map(|line| line.to_str().unwrap()).collect();
        let known = asked.join(",").split(',').any(|tag| tag.trim() == "\"v1\"");
        let head = Response::builder().header("etag", "\"v1\"");
        match known {
            true => head.status(304).body(MockBody::new()).unwrap(),
            false => head.body(MockBody::new().data(text(1_000))).unwrap(),
        }
    })
}

#[tokio::test(start_paused = true)]
async fn a_client_validates_what_it_has_in_whatever_coding() {
    for (accepts, has, status, tag) in [
        ("gzip", "\"v1+gzip6\"", 304, "\"v1+gzip6\""),
        ("gzip", "W/\"v1+gzip6\"", 304, "W/\"v1+gzip6\""),
        ("gzip, zstd", "\"v1+gzip6\"", 304, "\"v1+gzip6\""),
        ("gzip", "\"v1\"", 304, "\"v1\""),
        ("gzip", "\"v0+gzip6\"", 200, "\"v1+gzip6\""),
        ("gzip", "\"v1+br5\"", 200, "\"v1+gzip6\""),
        ("identity", "\"v1+gzip6\"", 200, "\"v1\""),
    ] {
        let asked = get(&[("accept-encoding", accepts), ("if-none-match", has)]);
        let reply = origin().read(asked).await;
        assert_eq!((reply.status.as_u16(), reply.field("etag")), (status, Some(tag)), "{has}");
        assert_eq!(reply.field("vary"), Some("accept-encoding"), "on 304 too");
        assert_eq!(reply.body.bytes().is_empty(), status == 304);
    }
}

#[tokio::test(start_paused = true)]
async fn a_304_about_encoded_bytes_has_no_digest_of_the_plain_ones() {
    for (has, digest) in [("\"v1+gzip6\"", None), ("\"v1\"", Some("sha-256=:AA==:"))] {
        let play = Play::new(layer(), |_| {
            let head = tagged().status(304).header("repr-digest", "sha-256=:AA==:");
            head.body(MockBody::new()).unwrap()
        });
        let asked = get(&[("accept-encoding", "gzip"), ("if-none-match", has)]);
        assert_eq!(play.read(asked).await.field("repr-digest"), digest, "{has}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_range_of_encoded_bytes_is_never_one_of_the_plain_ones() {
    for (validator, passes) in [("\"v1+gzip6\"", false), ("\"v1\"", true)] {
        let play = origin();
        let range = ("range", "bytes=500-");
        let asked = get(&[("accept-encoding", "gzip"), range, ("if-range", validator)]);
        play.read(asked).await;
        let seen = &play.upstream.requests()[0].headers;
        assert_eq!(seen.contains_key("range"), passes);
    }
}

/// An origin that knows a state by `tag`, and compares strongly (RFC 9110 §13.1.1).
fn guarded(tag: &'static str) -> Play {
    Play::new(layer(), move |request| {
        let named = request.headers().get("if-match").map(|line| line.to_str().unwrap());
        let same = |one: &str| one.trim() == tag && !tag.starts_with("W/");
        let met = named.is_none_or(|named| named == "*" || named.split(',').any(same));
        let ranged = request.headers().contains_key("range");
        let status = if !met {
            412
        } else if ranged {
            206
        } else {
            200
        };
        let head = Response::builder().status(status).header("etag", tag);
        let head =
            if status == 206 { head.header("content-range", "bytes 5-9/1000") } else { head };
        let size = if status == 206 { 5 } else { 1_000 };
        head.body(MockBody::new().data(text(size))).unwrap()
    })
}

#[tokio::test(start_paused = true)]
async fn a_writer_may_name_the_state_in_any_coding() {
    for (tag, named, status) in [
        ("\"v1\"", "\"v1\"", 200),
        ("\"v1\"", "\"v1+zstd3\"", 200),
        // Of a stream: its bytes are not always the same, their state is.
        ("\"v1\"", "W/\"v1+zstd3\"", 200),
        ("\"v1\"", "\"v0\", \"v1+br5\"", 200),
        ("\"v1\"", "\"v0+zstd3\"", 412),
        ("\"v1\"", "W/\"v0+zstd3\"", 412),
        ("\"v1\"", "W/\"v1\"", 412),
        // Weak stays weak.
        ("W/\"v1\"", "W/\"v1+zstd3\"", 412),
        ("W/\"v1\"", "\"v1+zstd3\"", 412),
    ] {
        let reply = guarded(tag).read(request("PUT", &[("if-match", named)])).await;
        assert_eq!(reply.status, status, "{named} of {tag}");
    }
}

#[tokio::test(start_paused = true)]
async fn who_has_encoded_bytes_gets_no_plain_ones_to_go_with_them() {
    const DATE: &str = "Sun, 06 Nov 1994 08:49:37 GMT";
    for (condition, accepts, status) in [
        (("if-match", "\"v1+gzip6\""), "gzip", 412),
        (("if-match", "\"v1+gzip6\""), "identity", 412),
        (("if-match", "W/\"v1+gzip6\""), "gzip", 412),
        (("if-match", "\"v1\""), "gzip", 206),
        (("if-range", "\"v1+gzip6\""), "gzip", 200),
        (("if-range", "\"v1+gzip6\""), "identity", 200),
        (("if-range", DATE), "gzip", 200),
        (("if-range", DATE), "identity", 206),
        (("if-unmodified-since", DATE), "gzip", 200),
        (("if-unmodified-since", DATE), "identity", 206),
    ] {
        let fields = [("accept-encoding", accepts), ("range", "bytes=5-9"), condition];
        let reply = guarded("\"v1\"").read(get(&fields)).await;
        assert_eq!(reply.status, status, "{condition:?} {accepts}");
        if status == 412 {
            continue;
        }
        let encoded = status == 200 && accepts == "gzip";
        assert_eq!(reply.field("content-encoding").is_some(), encoded, "{condition:?}");
        assert_eq!(reply.field("etag"), Some(if encoded { "\"v1+gzip6\"" } else { "\"v1\"" }));
    }
}

#[tokio::test(start_paused = true)]
async fn who_is_strict_refuses_before_the_handler_runs() {
    for (layer, accepts, status) in [
        (layer().strict(), "identity;q=0", 406),
        (layer().strict(), "*;q=0", 406),
        (layer().strict(), "compress, *;q=0", 406),
        (layer().strict(), "gzip, *;q=0", 200),
        (layer().strict(), "gzip;q=0", 200),
        (layer(), "identity;q=0", 200),
    ] {
        let play = of(layer, Response::builder);
        let reply = play.get(accepts).await;
        assert_eq!(
            (reply.status.as_u16(), play.upstream.calls()),
            (status, u64::from(status == 200))
        );
        assert_eq!(reply.field("vary"), Some("accept-encoding"));
    }
}

#[tokio::test(start_paused = true)]
async fn what_was_encoded_is_told() {
    let [plain, encoded] = [(); 2].map(|()| Arc::new(AtomicU64::new(0)));
    let (before, after) = (plain.clone(), encoded.clone());
    let observe = move |event: &tower_edge_core::Event<'_>| {
        if let tower_edge_core::Event::Encoded { coding: "gzip", plain, encoded, .. } = event {
            before.fetch_add(*plain, Ordering::Relaxed);
            after.fetch_add(*encoded, Ordering::Relaxed);
        }
    };
    let layer = layer().observe(Arc::new(observe));
    let mut bytes = 0;
    for paused in [false, true] {
        let play = Play::new(layer.clone(), move |_| {
            let body = MockBody::new().data(text(1_000));
            Response::new(if paused { body.pause() } else { body })
        });
        bytes += play.get("gzip").await.body.bytes().len() as u64;
        play.get("identity").await;
    }
    assert_eq!((plain.load(Ordering::Relaxed), encoded.load(Ordering::Relaxed)), (2_000, bytes));
}
