//! The gateway behind a proxy that is not ours.

use futures_util::{SinkExt, StreamExt};
use tokio::net::{TcpListener, TcpStream};
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::{accept_async, client_async};
use tower_edge_tests::{Program, Recorder, is_hit, run, soon};

use crate::gateway;
use crate::origins::Server;

/// nginx in front of `gateway`, as its documentation has it.
fn nginx(gateway: &Program, extra: &str) -> Server {
    let address = gateway.address();
    Server::nginx_with(&format!(
        "client_max_body_size 0;
        proxy_request_buffering off;
        proxy_buffering off;
        proxy_set_header Host $host;
        proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for;
        proxy_set_header X-Forwarded-Proto https;
        {extra}
        location / {{ proxy_pass http://{address}; }}"
    ))
}

const KEPT_ALIVE: &str = "proxy_http_version 1.1; proxy_set_header Connection '';";

#[tokio::test]
async fn the_origin_learns_who_asked_the_front_and_how() {
    let origin = Recorder::start("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok").await;
    for (trust, version) in [("127.0.0.1", "1.0"), ("127.0.0.1", "1.1"), ("10.0.0.0/8", "1.1")] {
        let url = origin.url();
        let gateway = gateway(&["--origin", &url, "--trust", trust]).await;
        let nginx = nginx(&gateway, if version == "1.1" { KEPT_ALIVE } else { "" });
        let spoofs = "-H 'X-Forwarded-For: 6.6.6.6' -H 'Forwarded: for=6.6.6.6;proto=gopher'";
        run(&format!("curl {spoofs} -H 'Host: shop.example' {}", nginx.url())).await;
        let [head] = &origin.take()[..] else { panic!("one request is one request") };
        let (clients, forwarded, scheme) = match trust {
            "127.0.0.1" => {
                ("6.6.6.6, 127.0.0.1, 127.0.0.1", "for=6.6.6.6, for=127.0.0.1, ", "https")
            }
            _ => ("127.0.0.1", "", "http"),
        };
        for line in [
            "host: shop.example".to_owned(),
            format!("via: {version} tower-edge"),
            format!("x-forwarded-for: {clients}"),
            format!("x-forwarded-proto: {scheme}"),
            format!("forwarded: {forwarded}for=127.0.0.1;host=\"shop.example\";proto=http"),
        ] {
            assert!(head.contains(&format!("\r\n{line}\r\n")), "{line} is missing in\n{head}");
        }
    }
}

#[tokio::test]
async fn what_the_front_passes_on_is_what_the_gateway_says() {
    for flags in [&[][..], &["--bare"]] {
        let gateway = gateway(flags).await;
        for extra in ["", KEPT_ALIVE] {
            let nginx = nginx(&gateway, extra);
            let get = format!("curl -i {}/json", nginx.url());
            run(&get).await;
            assert_eq!(is_hit(&run(&get).await.to_ascii_lowercase()), flags.is_empty());
            let large =
                format!("curl -o /dev/null -w '%{{size_download}}' '{}/large?mib=16'", nginx.url());
            assert_eq!(run(&large).await, (16 << 20).to_string());
            let upload = format!(
                "head -c 16777216 /dev/zero | curl {}/upload -H 'Transfer-Encoding: chunked' --data-binary @-",
                nginx.url()
            );
            assert_eq!(run(&upload).await, "16777216 bytes\n");
            let events = run(&format!("curl -N {}/sse", nginx.url())).await;
            assert_eq!(events.matches("data: event ").count(), 15);
        }
        assert_eq!(gateway.stop().await, "");
    }
}

#[tokio::test]
async fn a_websocket_passes_the_front_and_the_gateway() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let echo = async {
        let mut socket = accept_async(listener.accept().await.unwrap().0).await.unwrap();
        let message = socket.next().await.unwrap().unwrap();
        socket.send(message).await.unwrap();
        socket
    };
    let gateway = gateway(&["--origin", &url]).await;
    let upgrades = "proxy_http_version 1.1; proxy_set_header Upgrade $http_upgrade; \
        proxy_set_header Connection upgrade;";
    let nginx = nginx(&gateway, upgrades);
    let asks = async {
        let url = nginx.url().replace("http://", "ws://");
        let stream = TcpStream::connect(&url[5..]).await.unwrap();
        let mut socket = client_async(&url, stream).await.unwrap().0;
        socket.send(Message::text("hello")).await.unwrap();
        socket.next().await.unwrap().unwrap()
    };
    let (_socket, answer) = soon(async { tokio::join!(echo, asks) }).await;
    assert_eq!(answer, Message::text("hello"));
}
