//! WebSockets over both protocols, to origins of both protocols.

use std::convert::Infallible;

use bytes::Bytes;
use futures_util::{SinkExt, StreamExt};
use http::{Method, Request, Response, StatusCode};
use http_body_util::{Empty, Full};
use hyper::body::Incoming;
use hyper::client::conn::http2::{self, SendRequest};
use hyper::ext::Protocol;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio_tungstenite::tungstenite::protocol::Role;
use tokio_tungstenite::tungstenite::{Error, Message};
use tokio_tungstenite::{WebSocketStream, accept_async, client_async};
use tower_edge_tests::{Connection, Origin, Program, soon};

use crate::{Exchange, before, gateway};

const UPGRADE: &str = "GET /chat HTTP/1.1\r\nHost: h\r\nConnection: Upgrade\r\n\
    Upgrade: websocket\r\nSec-WebSocket-Version: 13\r\n\
    Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";

trait Io: AsyncRead + AsyncWrite + Unpin + Send {}

impl<T: AsyncRead + AsyncWrite + Unpin + Send> Io for T {}

type Socket = WebSocketStream<Box<dyn Io>>;

/// Each combination of the client's protocol, the origin's, and layers.
async fn pairs() -> Vec<(Program, bool)> {
    let (http1, http2) = (echo_of_http1().await, echo_of_http2(true).await);
    let mut pairs = Vec::new();
    for layers in [&[][..], &["--bare"]] {
        for origin in [&["--origin", &http1][..], &["--origin", &http2, "--origin-http2"]] {
            for over_http2 in [false, true] {
                let flags = [origin, layers, &["--idle-timeout", "100"]].concat();
                pairs.push((gateway(&flags).await, over_http2));
            }
        }
    }
    pairs
}

async fn open(gateway: &Program, over_http2: bool) -> Socket {
    let stream = TcpStream::connect(gateway.address()).await.unwrap();
    if !over_http2 {
        let url = format!("ws://{}/chat", gateway.address());
        let (socket, answer) = soon(client_async(url, Box::new(stream) as _)).await.unwrap();
        assert_eq!(answer.status(), 101);
        return socket;
    }
    let answer = soon(connect(&mut speak(stream).await, Some("websocket"))).await;
    assert_eq!(answer.status(), 200);
    let upgraded = soon(hyper::upgrade::on(answer)).await.unwrap();
    let stream: Box<dyn Io> = Box::new(TokioIo::new(upgraded));
    WebSocketStream::from_raw_socket(stream, Role::Client, None).await
}

/// A connection of HTTP/2 on which the server may be asked for tunnels.
async fn speak(stream: TcpStream) -> SendRequest<Empty<Bytes>> {
    let http2 = http2::handshake(TokioExecutor::new(), TokioIo::new(stream)).await;
    let (requests, driver) = http2.unwrap();
    tokio::spawn(driver);
    requests
}

async fn connect(
    requests: &mut SendRequest<Empty<Bytes>>,
    protocol: Option<&'static str>,
) -> Response<Incoming> {
    let uri = if protocol.is_some() { "http://h/chat" } else { "h:80" };
    let request = Request::connect(uri).header("sec-websocket-version", "13");
    let mut request = request.body(Empty::new()).unwrap();
    if let Some(protocol) = protocol {
        request.extensions_mut().insert(Protocol::from_static(protocol));
    }
    requests.send_request(request).await.unwrap()
}

async fn echo_of_http1() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            tokio::spawn(async { echo(accept_async(stream).await.unwrap()).await });
        }
    });
    url
}

async fn echo_of_http2(tunnels: bool) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let mut server = hyper::server::conn::http2::Builder::new(TokioExecutor::new());
            if tunnels {
                server.enable_connect_protocol();
            }
            tokio::spawn(server.serve_connection(TokioIo::new(stream), service_fn(accept)));
        }
    });
    url
}

async fn accept(request: Request<Incoming>) -> Result<Response<Full<Bytes>>, Infallible> {
    let mut answer = Response::new(Full::default());
    let protocol = request.extensions().get::<Protocol>().map(Protocol::as_str);
    if (request.method(), protocol) != (&Method::CONNECT, Some("websocket")) {
        *answer.status_mut() = StatusCode::IM_A_TEAPOT;
        return Ok(answer);
    }
    assert_eq!(request.uri().path(), "/chat");
    assert_eq!(request.headers()["sec-websocket-version"], "13");
    assert!(!request.headers().contains_key("sec-websocket-key"));
    tokio::spawn(async {
        let stream = TokioIo::new(hyper::upgrade::on(request).await.unwrap());
        echo(WebSocketStream::from_raw_socket(stream, Role::Server, None).await).await;
    });
    Ok(answer)
}

async fn echo<S: AsyncRead + AsyncWrite + Unpin>(mut socket: WebSocketStream<S>) {
    while let Some(Ok(message)) = socket.next().await {
        if !message.is_close() && !message.is_ping() {
            let _ = socket.send(message).await;
        }
    }
}

async fn say(socket: &mut Socket, message: Message) -> Message {
    soon(socket.send(message)).await.unwrap();
    soon(socket.next()).await.unwrap().unwrap()
}

#[tokio::test]
async fn frames_pass_between_all_protocols() {
    for (gateway, over_http2) in pairs().await {
        let mut socket = open(&gateway, over_http2).await;
        for message in [
            Message::text("one"),
            Message::binary(vec![]),
            Message::binary(vec![7; 1 << 20]),
            Message::text("two"),
        ] {
            assert_eq!(say(&mut socket, message.clone()).await, message);
        }
        let pong = say(&mut socket, Message::Ping("p".into())).await;
        assert_eq!(pong, Message::Pong("p".into()));
        assert_eq!(say(&mut socket, Message::Close(None)).await, Message::Close(None));
        assert!(soon(socket.next()).await.is_none());
        assert_eq!(gateway.stop().await, "");
    }
}

#[tokio::test]
async fn a_silent_websocket_is_kept_open() {
    for (gateway, over_http2) in pairs().await {
        let mut socket = open(&gateway, over_http2).await;
        for _ in 0..5 {
            assert_eq!(gateway.connect().await.rest().await, "");
        }
        let message = Message::text("still there");
        assert_eq!(say(&mut socket, message.clone()).await, message);
    }
}

#[tokio::test]
async fn the_gateway_does_not_wait_for_websockets_to_end() {
    let url = echo_of_http1().await;
    for over_http2 in [false, true] {
        let gateway = gateway(&["--origin", &url, "--shutdown-grace", "3600000"]).await;
        let mut socket = open(&gateway, over_http2).await;
        assert_eq!(gateway.stop().await, "");
        let end = soon(socket.next()).await;
        assert!(matches!(end, None | Some(Err(Error::Protocol(_) | Error::Io(_)))), "{end:?}");
    }
}

#[tokio::test]
async fn an_end_on_one_side_reaches_the_other_one() {
    let origin = Origin::start().await;
    let gateway = before(&origin, &[]).await;
    for origin_leaves in [true, false] {
        let mut client = gateway.connect().await;
        client.send(UPGRADE).await;
        let (_, mut asked) = origin.asked().await;
        asked.send("HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n").await;
        asked.send("Connection: Upgrade\r\n\r\nhello").await;
        client.until("hello").await;
        let (leaves, stays): (Connection, Connection) =
            if origin_leaves { (asked, client) } else { (client, asked) };
        drop(leaves);
        assert_eq!(stays.rest().await, "");
    }
}

#[tokio::test]
async fn a_tunnel_to_elsewhere_is_refused() {
    for flags in [&[][..], &["--bare"]] {
        let gateway = gateway(flags).await;
        let mut requests = speak(TcpStream::connect(gateway.address()).await.unwrap()).await;
        for protocol in [None, Some("connect-udp"), Some("webtransport")] {
            let answer = soon(connect(&mut requests, protocol)).await;
            assert_eq!(answer.status(), 501, "{protocol:?}");
        }
        let connect = "CONNECT h:80 HTTP/1.1\r\nHost: h:80\r\nConnection: close\r\n\r\n";
        let answer = gateway.exchange(connect).await;
        assert!(answer.starts_with("HTTP/1.1 501 Not Implemented\r\n"), "{answer}");
        assert_eq!(gateway.stop().await, "");
    }
}

#[tokio::test]
async fn an_origin_of_http_2_without_websockets_is_a_501() {
    let url = echo_of_http2(false).await;
    let gateway = gateway(&["--origin", &url, "--origin-http2"]).await;
    let mut requests = speak(TcpStream::connect(gateway.address()).await.unwrap()).await;
    assert_eq!(soon(connect(&mut requests, Some("websocket"))).await.status(), 501);
    let mut client = gateway.connect().await;
    client.send(UPGRADE).await;
    let answer = client.until("\r\n\r\n").await;
    assert!(answer.starts_with("HTTP/1.1 501 Not Implemented\r\n"), "{answer}");
    client.send("GET / HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n").await;
    assert!(client.rest().await.contains("HTTP/1.1 418 "));
}

#[tokio::test]
async fn an_origin_that_does_not_upgrade_opens_no_stream() {
    let upgrade = "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\n";
    let forged = "Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n";
    for (answer, seen) in [
        ("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok".to_owned(), 502),
        ("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n".to_owned(), 502),
        ("HTTP/1.1 403 Forbidden\r\nContent-Length: 2\r\n\r\nno".to_owned(), 403),
        (format!("{upgrade}Upgrade: websocket\r\n\r\n"), 502),
        (format!("{upgrade}Upgrade: websocket\r\n{forged}"), 502),
        (format!("{upgrade}Upgrade: other\r\n{forged}"), 502),
    ] {
        let origin = Origin::start().await;
        let gateway = before(&origin, &[]).await;
        let mut requests = speak(TcpStream::connect(gateway.address()).await.unwrap()).await;
        let (answer, head) = tokio::join!(connect(&mut requests, Some("websocket")), async {
            let (head, mut asked) = origin.asked().await;
            asked.send(&answer).await;
            head
        });
        assert_eq!(answer.status(), seen);
        let head = head.to_ascii_lowercase();
        assert!(head.starts_with("get /chat http/1.1\r\n"), "{head}");
        for line in ["connection: upgrade", "upgrade: websocket", "host: h", "via: 2 tower-edge"] {
            assert!(head.contains(&format!("\r\n{line}\r\n")), "{head}");
        }
        assert_eq!(head.matches("\r\nsec-websocket-key: ").count(), 1, "{head}");
    }
}

#[tokio::test]
async fn each_websocket_of_the_same_url_is_one_of_its_own() {
    let url = echo_of_http1().await;
    let gateway = gateway(&["--origin", &url]).await;
    let mut sockets = Vec::new();
    for n in 0..8 {
        sockets.push(open(&gateway, n % 2 == 0).await);
    }
    for (n, socket) in sockets.iter_mut().enumerate() {
        let message = Message::text(n.to_string());
        assert_eq!(say(socket, message.clone()).await, message);
    }
}

#[tokio::test]
async fn an_upgrade_without_a_valid_key_is_no_websocket() {
    let url = echo_of_http2(true).await;
    let gateway = gateway(&["--origin", &url, "--origin-http2"]).await;
    for key in ["", "Sec-WebSocket-Key: c2hvcnQ=\r\n"] {
        let request = UPGRADE.replace("Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n", key);
        let mut client = gateway.connect().await;
        client.send(&request).await;
        let answer = client.until("\r\n\r\n").await;
        assert!(answer.starts_with("HTTP/1.1 400 Bad Request\r\n"), "{answer}");
    }
}

#[tokio::test]
async fn what_follows_an_upgrade_at_once_is_not_lost() {
    let mut exchange = Exchange::start(&format!("{UPGRADE}early"), &[]).await;
    exchange.origin.send("HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n").await;
    exchange.origin.send("Connection: Upgrade\r\n\r\n").await;
    exchange.client.until("\r\n\r\n").await;
    assert_eq!(exchange.origin.until("early").await, "early");
}
