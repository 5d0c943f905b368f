//! The origin that the gateway forwards to when it is given none.

use std::convert::Infallible;
use std::future::pending;
use std::io;
use std::net::Ipv4Addr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use futures_util::stream;
use http::header::{
    ACCEPT_LANGUAGE, ALLOW, CACHE_CONTROL, CONTENT_LANGUAGE, CONTENT_LENGTH, CONTENT_TYPE, ETAG,
    IF_NONE_MATCH, SET_COOKIE, VARY,
};
use http::uri::Authority;
use http::{HeaderMap, Method, Request, Response, StatusCode, response};
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, Full, StreamBody};
use hyper::body::{Frame, Incoming};
use tokio::net::TcpListener;

use crate::server::{self, Patience};

/// Starts the demo origin on a free port of the loopback interface.
pub(crate) async fn start() -> io::Result<Authority> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
    let address = listener.local_addr()?.to_string();
    let demo = Arc::new(Demo::default());
    let service = tower::service_fn(move |request| {
        let demo = demo.clone();
        async move { Ok::<_, Infallible>(demo.answer(request).await) }
    });
    let patience = Patience { idle: IDLE, grace: Duration::ZERO };
    tokio::spawn(server::serve(listener, service, pending(), patience));
    address.parse().map_err(io::Error::other)
}

#[derive(Debug, Default)]
struct Demo {
    /// How often `/json` was changed.
    changes: AtomicU64,
    /// How often `/flaky` was asked.
    flaky: AtomicU64,
    /// How many sessions `/login` has opened.
    sessions: AtomicU64,
}

impl Demo {
    async fn answer(&self, request: Request<Incoming>) -> Response<Body> {
        let path = request.uri().path().to_owned();
        match (request.method(), path.as_str()) {
            (&Method::POST, "/json") => self.change(),
            (&Method::POST | &Method::PUT, "/upload") => count(request.into_body()).await,
            (_, "/upload") => not_allowed("POST, PUT"),
            (&Method::GET | &Method::HEAD, path) => self.read(path, &request).await,
            (_, "/json") => not_allowed("GET, HEAD, POST"),
            _ => not_allowed("GET, HEAD"),
        }
    }

    async fn read(&self, path: &str, request: &Request<Incoming>) -> Response<Body> {
        match path {
            "/" => text(fresh(), INDEX),
            "/json" => self.json(request.headers()),
            "/slow" => {
                tokio::time::sleep(Duration::from_secs(1)).await;
                text(fresh(), "That took a second.\n")
            }
            "/flaky" => self.flaky(),
            "/large" => large(request.uri().query()),
            "/sse" => events(),
            "/login" => self.login(),
            "/etag" => {
                validated(request.headers(), "no-cache", "\"always\"", "Ask me every time.\n")
            }
            "/vary" => greeting(request.headers()),
            _ => {
                text(Response::builder().status(StatusCode::NOT_FOUND), "There is nothing here.\n")
            }
        }
    }

    fn json(&self, fields: &HeaderMap) -> Response<Body> {
        let version = 1 + self.changes.load(Ordering::Relaxed);
        let body = format!("{{\"version\":{version}}}\n");
        let mut response = validated(fields, FRESH, &format!("\"v{version}\""), body);
        response
            .headers_mut()
            .insert(CONTENT_TYPE, http::HeaderValue::from_static("application/json"));
        response
    }

    fn change(&self) -> Response<Body> {
        let version = 2 + self.changes.fetch_add(1, Ordering::Relaxed);
        text(uncached(), format!("Version {version} it is.\n"))
    }

    fn flaky(&self) -> Response<Body> {
        match self.flaky.fetch_add(1, Ordering::Relaxed) % 3 {
            2 => text(uncached().status(StatusCode::SERVICE_UNAVAILABLE), "Not this time.\n"),
            _ => text(uncached(), "All is well.\n"),
        }
    }

    fn login(&self) -> Response<Body> {
        let session = self.sessions.fetch_add(1, Ordering::Relaxed);
        let cookie = format!("session={session}; HttpOnly; SameSite=Lax");
        text(fresh().header(SET_COOKIE, cookie), "Welcome.\n")
    }
}

type Body = UnsyncBoxBody<Bytes, Infallible>;

fn fresh() -> response::Builder {
    Response::builder().header(CACHE_CONTROL, FRESH)
}

fn uncached() -> response::Builder {
    Response::builder().header(CACHE_CONTROL, "no-store")
}

fn text(head: response::Builder, body: impl Into<Bytes>) -> Response<Body> {
    let head = head.header(CONTENT_TYPE, "text/plain; charset=utf-8");
    respond(head, Full::new(body.into()).boxed_unsync())
}

/// An answer with an entity tag, or 304 for who has it already.
fn validated(
    fields: &HeaderMap,
    cache_control: &str,
    tag: &str,
    body: impl Into<Bytes>,
) -> Response<Body> {
    let head = Response::builder().header(CACHE_CONTROL, cache_control).header(ETAG, tag);
    let known = fields.get_all(IF_NONE_MATCH).iter().filter_map(|line| line.to_str().ok());
    let known = known.flat_map(|line| line.split(',')).map(str::trim);
    match known.into_iter().any(|one| one == "*" || one.trim_start_matches("W/") == tag) {
        true => respond(head.status(StatusCode::NOT_MODIFIED), Body::default()),
        false => text(head, body),
    }
}

fn greeting(fields: &HeaderMap) -> Response<Body> {
    let wanted = fields.get(ACCEPT_LANGUAGE).and_then(|wanted| wanted.to_str().ok());
    let (language, greeting) = match wanted.and_then(|wanted| wanted.get(..2)) {
        Some("de") => ("de", "Guten Tag\n"),
        Some("fr") => ("fr", "Bonjour\n"),
        _ => ("en", "Hello\n"),
    };
    text(fresh().header(VARY, "accept-language").header(CONTENT_LANGUAGE, language), greeting)
}

fn large(query: Option<&str>) -> Response<Body> {
    let mib = query.and_then(|query| query.strip_prefix("mib=")).unwrap_or("1");
    let Some(chunks) = mib.parse().ok().and_then(|mib: u64| mib.checked_mul(CHUNKS_PER_MIB)) else {
        return text(
            Response::builder().status(StatusCode::BAD_REQUEST),
            "Ask for /large?mib=64\n",
        );
    };
    let Some(bytes) = chunks.checked_mul(CHUNK.len() as u64) else {
        return text(Response::builder().status(StatusCode::BAD_REQUEST), "Ask for less.\n");
    };
    let frames = (0..chunks).map(|_| Ok(Frame::data(Bytes::from_static(CHUNK))));
    let head = fresh().header(CONTENT_TYPE, "application/octet-stream");
    let head = head.header(CONTENT_LENGTH, bytes);
    respond(head, StreamBody::new(stream::iter(frames)).boxed_unsync())
}

/// An event each 200 ms for three seconds.
fn events() -> Response<Body> {
    let events = stream::unfold(0, async |sent| {
        if sent > 0 {
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
        let event = Bytes::from(format!("data: event {sent}\n\n"));
        (sent < EVENTS).then(|| (Ok(Frame::data(event)), sent + 1))
    });
    let head = uncached().header(CONTENT_TYPE, "text/event-stream");
    respond(head, StreamBody::new(events).boxed_unsync())
}

async fn count(mut body: Incoming) -> Response<Body> {
    let mut bytes = 0;
    while let Some(frame) = body.frame().await {
        match frame {
            Ok(frame) => bytes += frame.data_ref().map_or(0, Bytes::len),
            Err(_) => return text(uncached().status(StatusCode::BAD_REQUEST), "It broke off.\n"),
        }
    }
    text(uncached(), format!("{bytes} bytes\n"))
}

fn not_allowed(methods: &str) -> Response<Body> {
    let head = Response::builder().status(StatusCode::METHOD_NOT_ALLOWED);
    text(head.header(ALLOW, methods), format!("Only {methods}.\n"))
}

fn respond(head: response::Builder, body: Body) -> Response<Body> {
    head.body(body).expect("all fields are made of valid characters")
}

const FRESH: &str = "max-age=60";
/// Longer than the gateway keeps connections.
const IDLE: Duration = Duration::from_secs(60);
const EVENTS: u32 = 15;
static CHUNK: &[u8] = &[b'.'; 64 << 10];
const CHUNKS_PER_MIB: u64 = 16;

const INDEX: &str = "\
/json          JSON, fresh for a minute, with an ETag; POST changes it
/slow          takes a second, fresh for a minute
/flaky         every third answer is a 503
/large?mib=N   N MiB
/sse           an event each 200 ms for three seconds
/login         sets a cookie
/etag          must be revalidated every time
/vary          depends on Accept-Language: de, fr, or else English
/upload        counts the bytes that are sent to it by POST or PUT
";
