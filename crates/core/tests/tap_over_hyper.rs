//! What a tap is told when a real server sends the body.
//!
//! hyper does not read every body to its end: over HTTP/1 it drops one once the
//! length is written, and never reads one that the client will not get.

#![allow(clippy::unwrap_used, reason = "a test may end where it fails")]

use std::any::Any;
use std::time::Duration;

use bytes::Bytes;
use http::header::{CONTENT_LENGTH, TE, TRAILER};
use http::{HeaderMap, HeaderValue, Method, Request, Response, Version};
use http_body_util::{BodyExt, Empty};
use hyper::body::{Body, Incoming};
use hyper::client::conn::{http1, http2};
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;
use tower_edge_core::{End, Expected, ResponseHead, Tap, TapBody};
use tower_edge_testkit::MockBody;

#[tokio::test]
async fn get_with_a_known_length_is_complete_once_that_is_written() {
    // Neither body tells the server by itself that its last frame was the last.
    for version in VERSIONS {
        let by_field = || with_length(MockBody::new().data("abc").pause().data("de").pause());
        assert_eq!(get(version, by_field()).await, whole("abcde"), "{version:?}");
        let by_size = MockBody::new().data("abc").data("de").pause().sized();
        assert_eq!(get(version, Response::new(by_size)).await, whole("abcde"), "{version:?}");
    }
    let never = with_length(MockBody::new().data("abcde").never());
    assert_eq!(get(Version::HTTP_11, never).await, whole("abcde"));
}

#[tokio::test]
async fn get_without_a_length_is_complete_at_the_end_of_the_body() {
    for version in VERSIONS {
        for (body, read) in [
            (MockBody::new(), ""),
            (MockBody::new().pause(), ""),
            (MockBody::new().data("abcde"), "abcde"),
            (MockBody::new().data("abc").pause().data("de").pause(), "abcde"),
        ] {
            assert_eq!(get(version, Response::new(body)).await, whole(read), "{version:?}");
        }
    }
}

#[tokio::test]
async fn a_response_to_head_is_complete_unread() {
    let unread = || MockBody::new().data("abc").never();
    for response in [with_length(unread()), Response::new(unread())] {
        let seen = exchange(Version::HTTP_11, Method::HEAD, response, Client::Stays).await;
        assert_eq!(seen, whole(""));
    }
    // Over HTTP/2 hyper would send it, so whoever answers HEAD empties the body.
    let empty = with_length(MockBody::new());
    let seen = exchange(Version::HTTP_2, Method::HEAD, empty, Client::Stays).await;
    assert_eq!(seen, whole(""));
}

#[tokio::test]
async fn a_status_without_a_body_is_complete_unread() {
    for status in [204, 304] {
        let mut response = Response::new(MockBody::new().data("abc").never());
        *response.status_mut() = status.try_into().unwrap();
        assert_eq!(get(Version::HTTP_11, response).await, whole(""), "{status}");
        for version in VERSIONS {
            let mut response = with_length(MockBody::new());
            *response.status_mut() = status.try_into().unwrap();
            if status == 204 {
                response.headers_mut().remove(CONTENT_LENGTH);
            }
            assert_eq!(get(version, response).await, whole(""), "{status} {version:?}");
        }
    }
}

#[tokio::test]
async fn trailers_are_told_with_the_end() {
    for version in VERSIONS {
        let body = MockBody::new().data("abc").pause().data("de").trailers(trailers());
        let mut response = Response::new(body);
        response.headers_mut().insert(TRAILER, HeaderValue::from_static("x-trailer"));
        let seen = get(version, response).await;
        let told = Told::Complete { bytes: 5, trailers: Some(trailers()) };
        let expected = Seen {
            read: "abcde".into(),
            trailers: Some(trailers()),
            broken: false,
            told: vec![told],
        };
        assert_eq!(seen, expected, "{version:?}");
    }
}

#[tokio::test]
async fn a_client_that_leaves_half_way_is_a_drop() {
    // Over HTTP/1 it closes the connection, over HTTP/2 it resets the stream.
    for version in VERSIONS {
        let half = || MockBody::new().data("abc").never();
        for response in [with_length(half()), Response::new(half())] {
            let seen = exchange(version, Method::GET, response, Client::LeavesAfter(3)).await;
            let told = vec![Told::Dropped { bytes: 3 }];
            assert_eq!(seen, Seen { read: "abc".into(), told, ..Seen::default() }, "{version:?}");
        }
    }
}

#[tokio::test]
async fn a_client_that_leaves_while_the_server_writes_is_a_drop() {
    // More than any buffer on the way holds, so that the server has to wait.
    let chunk = Bytes::from(vec![b'a'; 1 << 20]);
    for version in VERSIONS {
        let body = (0..64).fold(MockBody::new(), |body, _| body.data(chunk.clone()));
        let response = Response::new(body.sized());
        let seen = exchange(version, Method::GET, response, Client::LeavesAfter(1)).await;
        assert!(
            matches!(seen.told[..], [Told::Dropped { bytes }] if bytes < 64 << 20),
            "{version:?}"
        );
    }
}

#[tokio::test]
async fn an_upstream_that_dies_half_way_is_a_failure_for_the_client_too() {
    for version in VERSIONS {
        let half = || MockBody::new().data("abc").pause().fail();
        for response in [with_length(half()), Response::new(half())] {
            let seen = get(version, response).await;
            let told = vec![Told::Failed { bytes: 3 }];
            assert_eq!((seen.broken, seen.told), (true, told), "{version:?}");
        }
    }
}

/// What both sides of one exchange saw.
#[derive(Debug, Default, PartialEq)]
struct Seen {
    read: Bytes,
    trailers: Option<HeaderMap>,
    /// Whether the client met an error.
    broken: bool,
    /// All that the tap was told of the end; it must be one thing.
    told: Vec<Told>,
}

/// How the body ended, after so many bytes of data.
#[derive(Debug, PartialEq)]
enum Told {
    Complete { bytes: usize, trailers: Option<HeaderMap> },
    Failed { bytes: usize },
    Dropped { bytes: usize },
}

struct Note {
    bytes: usize,
    told: mpsc::UnboundedSender<Told>,
}

impl Tap<Bytes> for Note {
    fn data(&mut self, data: &Bytes) {
        self.bytes += data.len();
    }

    fn end(&mut self, end: End<'_>) {
        let bytes = self.bytes;
        let told = match end {
            End::Complete(trailers) => Told::Complete { bytes, trailers: trailers.cloned() },
            End::Failed => Told::Failed { bytes },
            End::Dropped => Told::Dropped { bytes },
        };
        self.told.send(told).expect("the test waits for it");
    }
}

#[derive(Clone, Copy)]
enum Client {
    Stays,
    /// Hangs up once it has so many bytes.
    LeavesAfter(usize),
}

async fn get(version: Version, response: Response<MockBody>) -> Seen {
    exchange(version, Method::GET, response, Client::Stays).await
}

/// Sends one request over loopback to a server that answers `response`, with a
/// tap on its body.
async fn exchange(
    version: Version,
    method: Method,
    response: Response<MockBody>,
    client: Client,
) -> Seen {
    let (sender, mut told) = mpsc::unbounded_channel();
    let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
    let stream = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
    let (accepted, _) = listener.accept().await.unwrap();
    let response = tapped(&method, response, sender);
    tokio::spawn(serve(version, accepted, response));

    let request = Request::builder().method(method).uri("http://localhost/").header(TE, "trailers");
    let request = request.header("host", "localhost").body(Empty::<Bytes>::new()).unwrap();
    let exchange = async {
        // The connection stays open: what ends early is the one stream.
        let (mut seen, _connection) = ask(version, stream, request, client).await;
        while let Some(one) = told.recv().await {
            seen.told.push(one);
        }
        seen
    };
    tokio::time::timeout(Duration::from_secs(60), exchange).await.expect("the exchange hangs")
}

fn tapped(
    method: &Method,
    response: Response<MockBody>,
    told: mpsc::UnboundedSender<Told>,
) -> Response<TapBody<MockBody, Note>> {
    let size = response.body().size_hint();
    let expected = Expected::of(method, &ResponseHead::new(&response), &size);
    response.map(|body| TapBody::new(body, Note { bytes: 0, told }, expected))
}

async fn serve(
    version: Version,
    stream: TcpStream,
    response: Response<TapBody<MockBody, Note>>,
) -> hyper::Result<()> {
    let response = std::sync::Mutex::new(Some(response));
    let service = service_fn(|_: Request<Incoming>| {
        let response = response.lock().unwrap().take().expect("one request");
        async { Ok::<_, std::convert::Infallible>(response) }
    });
    let stream = TokioIo::new(stream);
    match version {
        Version::HTTP_2 => {
            let server = hyper::server::conn::http2::Builder::new(TokioExecutor::new());
            server.serve_connection(stream, service).await
        }
        _ => hyper::server::conn::http1::Builder::new().serve_connection(stream, service).await,
    }
}

/// Reads the response as `client` does; also returns what keeps the connection.
async fn ask(
    version: Version,
    stream: TcpStream,
    request: Request<Empty<Bytes>>,
    client: Client,
) -> (Seen, Box<dyn Any>) {
    let stream = TokioIo::new(stream);
    match version {
        Version::HTTP_2 => {
            let handshake = http2::handshake(TokioExecutor::new(), stream);
            let (mut sender, connection) = handshake.await.unwrap();
            tokio::spawn(connection);
            let response = sender.send_request(request).await.unwrap();
            (read(response, client).await, Box::new(sender))
        }
        _ => {
            let (mut sender, connection) = http1::handshake(stream).await.unwrap();
            tokio::spawn(connection);
            let response = sender.send_request(request).await.unwrap();
            (read(response, client).await, Box::new(sender))
        }
    }
}

async fn read(response: Response<Incoming>, client: Client) -> Seen {
    let mut body = response.into_body();
    let (mut seen, mut read) = (Seen::default(), Vec::new());
    while !matches!(client, Client::LeavesAfter(bytes) if read.len() >= bytes) {
        match body.frame().await {
            None => break,
            Some(Err(_)) => {
                seen.broken = true;
                break;
            }
            Some(Ok(frame)) => match frame.into_data() {
                Ok(data) => read.extend_from_slice(&data),
                Err(frame) => seen.trailers = frame.into_trailers().ok(),
            },
        }
    }
    seen.read = read.into();
    seen
}

/// A response that says it has five bytes.
fn with_length(body: MockBody) -> Response<MockBody> {
    let mut response = Response::new(body);
    response.headers_mut().insert(CONTENT_LENGTH, HeaderValue::from_static("5"));
    response
}

fn whole(read: &'static str) -> Seen {
    let told = vec![Told::Complete { bytes: read.len(), trailers: None }];
    Seen { read: read.into(), told, ..Seen::default() }
}

fn trailers() -> HeaderMap {
    HeaderMap::from_iter([("x-trailer".parse().unwrap(), "last".parse().unwrap())])
}

const VERSIONS: [Version; 2] = [Version::HTTP_11, Version::HTTP_2];
