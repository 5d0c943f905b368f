use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use http::header::ACCEPT_ENCODING;
use http::{HeaderMap, Request, Response};
use tower::{Layer, Service, ServiceExt};
use tower_edge::Edge;
use tower_edge::cache::CacheLayer;
use tower_edge::compress::CompressLayer;
use tower_edge::core::{AcceptedCodings, BoxError, Clock, Coding, Event, RequestHead};
use tower_edge::metrics::LatencyLayer;
use tower_edge_testkit::{Answer, MockBody, Received, Upstream, UpstreamHandle};

/// A page whose version only the test changes; it knows conditions and ranges.
struct Page {
    version: Arc<AtomicU64>,
    /// How its bodies come: all at once, or with a pause.
    paused: Arc<AtomicU64>,
}

impl Page {
    fn new() -> Self {
        Self { version: Arc::new(AtomicU64::new(1)), paused: Arc::default() }
    }

    fn upstream(&self) -> (Upstream, UpstreamHandle) {
        let (version, paused) = (self.version.clone(), self.paused.clone());
        Upstream::new(move |_, head| {
            let version = version.load(Ordering::Relaxed);
            let paused = paused.load(Ordering::Relaxed) % 2 == 1;
            Answer::from(answer(head, version, paused))
        })
    }
}

fn answer(request: &RequestHead<'_>, version: u64, paused: bool) -> Response<MockBody> {
    let (tag, content) = (format!("\"v{version}\""), content(version));
    let field = |name| request.headers().get(name).map(|value| value.to_str().unwrap());
    let head = Response::builder().header("etag", &tag).header("cache-control", "max-age=60");
    let head = head.header("content-type", "text/plain");
    let known = field("if-none-match").unwrap_or_default();
    if known.split(',').any(|one| one.trim().trim_start_matches("W/") == tag) {
        return head.status(304).body(MockBody::new()).unwrap();
    }
    let range = field("range").filter(|_| field("if-range").is_none_or(|if_range| if_range == tag));
    if let Some(first) = range.and_then(|range| range.strip_prefix("bytes=")?.strip_suffix('-')) {
        let first: usize = first.parse().unwrap();
        let range = format!("bytes {first}-{}/{}", content.len() - 1, content.len());
        let head = head.status(206).header("content-range", range);
        return head.body(MockBody::new().data(content[first..].to_vec())).unwrap();
    }
    let (first, rest) = content.split_at(1_000);
    let body = MockBody::new().data(first.to_vec());
    let body = if paused { body.pause() } else { body };
    head.body(body.data(rest.to_vec())).unwrap()
}

fn content(version: u64) -> Vec<u8> {
    let line = |number: u64| format!("line {} of version {version}\n", number * number % 97);
    (0..100).map(line).collect::<String>().into_bytes()
}

async fn ask<S, B>(service: &S, fields: &[(&str, &str)]) -> (u16, HeaderMap, Bytes)
where
    S: Service<Request<MockBody>, Response = Response<B>> + Clone,
    S::Error: std::fmt::Debug,
    B: http_body::Body,
    B::Error: Into<BoxError>,
{
    let mut request = Request::get("http://a/");
    for (name, value) in fields {
        request = request.header(*name, *value);
    }
    let request = request.body(MockBody::new()).unwrap();
    let (head, body) = service.clone().oneshot(request).await.unwrap().into_parts();
    let received = Received::from(body).await;
    assert_eq!(received.error, None);
    (head.status.as_u16(), head.headers, received.bytes())
}

/// Counts what is encoded.
fn counting() -> (CompressLayer, Arc<AtomicU64>) {
    let encoded = Arc::new(AtomicU64::new(0));
    let count = encoded.clone();
    let observe = move |event: &Event<'_>| {
        if let Event::Encoded { .. } = event {
            count.fetch_add(1, Ordering::Relaxed);
        }
    };
    (CompressLayer::new().observe(Arc::new(observe)), encoded)
}

#[tokio::test(start_paused = true)]
async fn a_response_is_encoded_once_and_stored_so() {
    let clock = Clock::anchored(SystemTime::UNIX_EPOCH + Duration::from_secs(1 << 30));
    let ((compress, encoded), page) = (counting(), Page::new());
    let (upstream, calls) = page.upstream();
    let cache = CacheLayer::new(1 << 20).clock(clock);
    // In whatever order they are set, the cache stands outside.
    let service = Edge::new().compress(compress).cache(cache).layer(upstream);
    let load = |count: &AtomicU64| count.load(Ordering::Relaxed);

    for (number, (accepts, coding)) in [
        ("gzip", Some("gzip")),
        ("br", Some("br")),
        ("zstd", Some("zstd")),
        ("deflate", Some("deflate")),
        ("identity", None),
    ]
    .into_iter()
    .enumerate()
    {
        let mut seen = Vec::new();
        // What means the same is the same.
        for accepts in [accepts, &format!(" {accepts};q=1.0"), &accepts.to_uppercase()] {
            let (status, fields, bytes) = ask(&service, &[("accept-encoding", accepts)]).await;
            let found = fields.get("content-encoding").map(|coding| coding.to_str().unwrap());
            assert_eq!((status, found), (200, coding));
            assert_eq!(fields["vary"], "accept-encoding");
            seen.push((fields["etag"].clone(), bytes));
        }
        assert!(seen.iter().all(|one| *one == seen[0]));
        let number = number as u64 + 1;
        assert_eq!((calls.calls(), load(&encoded)), (number, number.min(4)), "{accepts}");
    }

    // Ranges of what is stored are those of the encoded bytes.
    let (_, fields, whole) = ask(&service, &[("accept-encoding", "gzip")]).await;
    let tag = fields["etag"].to_str().unwrap();
    let part = [("accept-encoding", "gzip"), ("range", "bytes=50-"), ("if-range", tag)];
    let (status, fields, bytes) = ask(&service, &part).await;
    assert_eq!((status, &bytes[..]), (206, &whole[50..]));
    assert_eq!(fields["etag"], tag);
    assert_eq!((calls.calls(), load(&encoded)), (5, 4));

    // A stale one is validated as what it is, and stays as it is.
    tokio::time::advance(Duration::from_secs(90)).await;
    let (status, fields, bytes) = ask(&service, &[("accept-encoding", "gzip")]).await;
    assert_eq!((status, &bytes), (200, &whole));
    assert!(fields["cache-status"].to_str().unwrap().contains("fwd-status=304"));
    assert_eq!((calls.calls(), load(&encoded)), (6, 4));
    ask(&service, &[("accept-encoding", "gzip")]).await;
    assert_eq!(calls.calls(), 6);
}

/// Ten ways to say so, for each coding, that it is what the client wants.
const WAYS: [(Option<&str>, [&str; 10]); 5] = [
    (
        None,
        [
            "",
            "identity",
            "compress",
            "gzip;q=0",
            "identity, gzip;q=0.5",
            "identity;q=1, *;q=0",
            "br;q=0, zstd;q=0",
            "dcb, dcz",
            "*;q=0, identity",
            "sdch;q=1",
        ],
    ),
    (
        Some("gzip"),
        [
            "gzip",
            "x-gzip",
            "GZIP;q=1.0",
            "gzip, deflate",
            "deflate, gzip",
            "gzip, br;q=0",
            "gzip;q=0.8, deflate;q=0.5",
            "gzip, compress, sdch",
            "*;q=0, gzip;q=0.001",
            "br;q=0.5, gzip",
        ],
    ),
    (
        Some("br"),
        [
            "br",
            "gzip, deflate, br",
            "br, gzip",
            "gzip;q=0.9, br",
            "br;q=1, zstd;q=0.5",
            "*, zstd;q=0",
            "gzip, br, dcb",
            "br;q=0.3",
            "BR",
            "deflate, br",
        ],
    ),
    (
        Some("zstd"),
        [
            "zstd",
            "gzip, deflate, br, zstd",
            "*",
            "zstd, br",
            "zstd;q=0.9, gzip;q=0.8",
            "br, zstd",
            "gzip, zstd, dcz",
            "identity;q=0.5, zstd",
            "zstd;q=0.1",
            "ZSTD, *;q=0",
        ],
    ),
    (
        Some("deflate"),
        [
            "deflate",
            "Deflate;q=0.5",
            "deflate, gzip;q=0.5",
            "deflate, br;q=0.9, zstd;q=0",
            "compress, deflate",
            "*;q=0, deflate",
            "identity;q=0, deflate",
            "deflate;q=1.000",
            "gzip;q=0, deflate",
            "deflate, identity;q=0.9",
        ],
    ),
];

/// What is asked first must not decide what others get.
#[tokio::test(start_paused = true)]
async fn whoever_gets_the_same_coding_shares_one_fetch_and_one_encoding() {
    for first in 0..WAYS.len() {
        let clock = Clock::anchored(SystemTime::UNIX_EPOCH + Duration::from_secs(1 << 30));
        let ((compress, encoded), page) = (counting(), Page::new());
        let (upstream, calls) = page.upstream();
        let cache = CacheLayer::new(1 << 20).clock(clock);
        let service = Edge::new().compress(compress).cache(cache).layer(upstream);
        let load = |count: &AtomicU64| count.load(Ordering::Relaxed);
        let ways = WAYS.iter().cycle().skip(first).take(WAYS.len());
        for (turn, (coding, accepts)) in (1..).zip(ways) {
            for accepts in accepts {
                let (status, fields, _) = ask(&service, &[("accept-encoding", accepts)]).await;
                let found = fields.get("content-encoding").map(|coding| coding.to_str().unwrap());
                assert_eq!((status, found), (200, *coding), "{accepts}");
                assert_eq!(fields["vary"], "accept-encoding");
            }
            assert_eq!(calls.calls(), turn, "{coding:?}");
        }
        assert_eq!(load(&encoded), 4);

        // Each is validated for all who get it, and is not encoded again.
        tokio::time::advance(Duration::from_secs(90)).await;
        for (turn, (coding, accepts)) in (6..).zip(&WAYS) {
            for accepts in accepts {
                let (status, fields, _) = ask(&service, &[("accept-encoding", accepts)]).await;
                let found = fields.get("content-encoding").map(|coding| coding.to_str().unwrap());
                assert_eq!((status, found), (200, *coding), "{accepts}");
            }
            assert_eq!((calls.calls(), load(&encoded)), (turn, 4), "{coding:?}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn whoever_asks_at_the_same_time_waits_for_the_one_who_gets_the_same_coding() {
    let ((compress, encoded), page) = (counting(), Page::new());
    page.paused.store(1, Ordering::Relaxed);
    let (upstream, calls) = page.upstream();
    let service = Edge::new().compress(compress).cache(CacheLayer::new(1 << 20)).layer(upstream);
    let (service, mut asked) = (&service, Vec::new());
    for turn in 0..10 {
        for (coding, accepts) in &WAYS {
            asked.push(async move {
                let (_, fields, _) = ask(service, &[("accept-encoding", accepts[turn])]).await;
                let found = fields.get("content-encoding").map(|coding| coding.to_str().unwrap());
                assert_eq!(found, *coding);
            });
        }
    }
    futures_util::future::join_all(asked).await;
    assert_eq!((calls.calls(), encoded.load(Ordering::Relaxed)), (5, 4));
}

/// The 304 of what is never encoded cannot be told from that of what is.
#[tokio::test(start_paused = true)]
async fn what_is_not_encoded_stays_one_response_for_all_when_it_is_validated() {
    let clock = Clock::anchored(SystemTime::UNIX_EPOCH + Duration::from_secs(1 << 30));
    for (media_type, size) in [("image/png", 2_000), ("text/plain", 200)] {
        let (upstream, calls) = Upstream::new(move |_, head| {
            let answer = Response::builder().header("cache-control", "max-age=60");
            let answer = answer.header("etag", "\"v1\"");
            Answer::from(match head.headers().contains_key("if-none-match") {
                true => answer.status(304).body(MockBody::new()).unwrap(),
                false => {
                    let answer = answer.header("content-type", media_type);
                    answer.body(MockBody::new().data(vec![b'x'; size]).sized()).unwrap()
                }
            })
        });
        let cache = CacheLayer::new(1 << 20).clock(clock);
        let service = Edge::new().compress(CompressLayer::new()).cache(cache).layer(upstream);
        for turn in 1..4 {
            for (_, accepts) in &WAYS {
                let (status, fields, bytes) =
                    ask(&service, &[("accept-encoding", accepts[0])]).await;
                assert_eq!((status, bytes.len(), fields.get("vary")), (200, size, None));
            }
            assert_eq!(calls.calls(), turn, "{media_type}");
            tokio::time::advance(Duration::from_secs(90)).await;
        }
    }
}

/// An origin that encodes some things by itself, and says so: what that gives to
/// others is its own affair.
/// HEAD is told a weak tag, for nobody knows of a body that is not there whether it
/// would have been in hand; GET a strong one.
#[tokio::test(start_paused = true)]
async fn a_head_makes_what_is_stored_encoded_fresh_again() {
    let clock = Clock::anchored(SystemTime::UNIX_EPOCH + Duration::from_secs(1 << 30));
    let (upstream, calls) = Upstream::new(|_, head| {
        let size = content(1).len().to_string();
        let response = Response::builder().header("cache-control", "max-age=60");
        let response = response.header("content-type", "text/plain").header("etag", "\"v1\"");
        let response = response.header("content-length", size);
        let body = MockBody::new();
        let body = if head.method() == "HEAD" { body } else { body.data(content(1)) };
        Answer::from(response.body(body).unwrap())
    });
    let service = Edge::new().cache(CacheLayer::new(1 << 20).clock(clock));
    let service = service.compress(CompressLayer::new()).layer(upstream);
    let gzip = [("accept-encoding", "gzip")];
    let (_, first, encoded) = ask(&service, &gzip).await;
    assert_eq!(first["etag"], "\"v1+gzip6\"");
    tokio::time::advance(Duration::from_secs(70)).await;
    let request = Request::head("http://a/").header("accept-encoding", "gzip");
    let request = request.body(MockBody::new()).unwrap();
    let head = service.clone().oneshot(request).await.unwrap();
    assert_eq!(head.headers()["etag"], "W/\"v1+gzip6\"");
    let (_, fields, again) = ask(&service, &gzip).await;
    assert_eq!((&fields["etag"], again), (&first["etag"], encoded));
    assert_eq!(fields["cache-status"], "tower-edge; hit; ttl=60");
    assert_eq!(calls.calls(), 2);
}

#[tokio::test(start_paused = true)]
async fn an_origin_that_chooses_by_itself_is_asked_by_each_who_means_something_else() {
    let (upstream, calls) = Upstream::new(|_, head| {
        let accepts = head.headers()["accept-encoding"].to_str().unwrap().to_owned();
        let head = Response::builder().header("cache-control", "max-age=60");
        let head = head.header("content-type", "text/plain").header("vary", "Accept-Encoding");
        // It knows a coding that nobody else does, and wants deflate least.
        let (coding, tag) = match &accepts[..] {
            accepts if accepts.contains("dcz") => ("dcz", "\"dcz\""),
            accepts if accepts.contains("gzip") => ("gzip", "\"gzip\""),
            _ => ("identity", "\"plain\""),
        };
        let head = head.header("content-encoding", coding).header("etag", tag);
        Answer::from(head.body(MockBody::new().data(accepts)).unwrap())
    });
    let service = Edge::new().compress(CompressLayer::new().codings([]));
    let service = service.cache(CacheLayer::new(1 << 20)).layer(upstream);
    let all = ["deflate", "gzip", "gzip, deflate", "dcz, gzip", "identity"];
    for accepts in all.into_iter().chain(all) {
        let (_, _, bytes) = ask(&service, &[("accept-encoding", accepts)]).await;
        assert_eq!(bytes, accepts);
    }
    assert_eq!(calls.calls(), 5);
}

#[tokio::test(start_paused = true)]
async fn a_client_is_told_how_long_it_took_to_encode() {
    let latency = LatencyLayer::new().server_timing(true);
    let service = Edge::new().compress(CompressLayer::new()).latency(latency);
    let service = service.layer(Page::new().upstream().0);
    for (accepts, told) in [("gzip", true), ("identity", false)] {
        let (_, fields, _) = ask(&service, &[("accept-encoding", accepts)]).await;
        let timing = fields["server-timing"].to_str().unwrap();
        assert_eq!(timing.contains("compress;desc=\"gzip\";dur="), told, "{timing}");
    }
}

/// Random requests, with what earlier answers had as conditions, while the page
/// changes and its bodies come as they like.
async fn equal_strong_tags_mean_equal_bytes(cached: bool, seed: u64) {
    let clock = Clock::anchored(SystemTime::UNIX_EPOCH + Duration::from_secs(1 << 30));
    let page = Page::new();
    let cache = cached.then(|| CacheLayer::new(1 << 20).clock(clock));
    let service = Edge::new().cache(cache).compress(CompressLayer::new());
    let service = service.layer(page.upstream().0);
    let (mut turn, mut known) = (seed, HashMap::<String, (Option<String>, Bytes)>::new());
    // What was seen last: clients rarely have anything older.
    let mut recent = VecDeque::<String>::new();
    let mut roll = move |sides: u64| {
        turn = turn.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        (turn >> 33) % sides
    };
    let mut statuses = HashMap::new();
    for _ in 0..250 {
        match roll(12) {
            0 => drop(page.version.fetch_add(1, Ordering::Relaxed)),
            1 => drop(page.paused.fetch_add(1, Ordering::Relaxed)),
            2 => tokio::time::advance(Duration::from_secs(40)).await,
            _ => {}
        }
        let accepts = WAYS[roll(5) as usize].1[roll(10) as usize];
        let tag = recent.get(roll(recent.len() as u64 + 1) as usize).map_or("\"v1\"", |tag| tag);
        let tag = tag.to_owned();
        let range = format!("bytes={}-", roll(200));
        let mut fields = vec![("accept-encoding", accepts)];
        match roll(5) {
            0 => fields.push(("if-none-match", &tag)),
            1 => fields.extend([("range", &range[..]), ("if-range", &tag)]),
            2 => fields.push(("range", &range)),
            _ => {}
        }
        let (status, head, bytes) = ask(&service, &fields).await;
        *statuses.entry(status).or_insert(0) += 1;
        let text = |name| head.get(name).map(|value: &http::HeaderValue| value.to_str().unwrap());
        let coding = text("content-encoding").map(str::to_owned);
        let sent = Coding::from_name(coding.as_deref().unwrap_or("identity")).unwrap();
        let sent_by = HeaderMap::from_iter([(ACCEPT_ENCODING, accepts.parse().unwrap())]);
        let quality = AcceptedCodings::known(&sent_by).quality(sent);
        assert!(quality > 0 || sent == Coding::Identity, "{coding:?} for {accepts}");
        let strong = text("etag").unwrap();
        recent.push_front(strong.to_owned());
        recent.truncate(6);
        if strong.starts_with("W/") {
            continue;
        }
        match status {
            200 => {
                let (seen, whole) =
                    known.entry(strong.to_owned()).or_insert((coding.clone(), bytes.clone()));
                assert!((&*seen, &*whole) == (&coding, &bytes), "{strong} is two things");
            }
            206 => {
                let range = text("content-range").unwrap().strip_prefix("bytes ").unwrap();
                let first: usize = range.split('-').next().unwrap().parse().unwrap();
                if let Some((_, whole)) = known.get(strong) {
                    assert!(whole[first..] == bytes, "{strong} in part");
                }
            }
            304 => assert!(fields.contains(&("if-none-match", strong)), "{strong} for {fields:?}"),
            other => panic!("{other}"),
        }
    }
    assert!([200, 206, 304].iter().all(|status| statuses.contains_key(status)), "{statuses:?}");
}

#[tokio::test(start_paused = true)]
async fn equal_strong_tags_mean_equal_bytes_without_the_cache() {
    for seed in 1..9 {
        equal_strong_tags_mean_equal_bytes(false, seed).await;
    }
}

#[tokio::test(start_paused = true)]
async fn equal_strong_tags_mean_equal_bytes_with_the_cache() {
    for seed in 1..9 {
        equal_strong_tags_mean_equal_bytes(true, seed).await;
    }
}
