//! gRPC by its own library, on both sides of the gateway.

use std::convert::Infallible;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::{Buf, BufMut, Bytes};
use futures_util::{Stream, StreamExt, stream};
use http::uri::PathAndQuery;
use tokio::net::TcpListener;
use tokio::sync::mpsc;
use tonic::body::Body;
use tonic::client::Grpc;
use tonic::codec::{Codec, DecodeBuf, Decoder, EncodeBuf, Encoder};
use tonic::server::NamedService;
use tonic::transport::server::TcpIncoming;
use tonic::transport::{Channel, Endpoint, Server};
use tonic::{Code, Request, Response, Status, Streaming};
use tower::{Service, service_fn};
use tower_edge_tests::{Program, soon};

use crate::gateway;

/// Messages that are bytes.
#[derive(Clone, Copy, Default)]
struct Raw;

impl Codec for Raw {
    type Encode = Bytes;
    type Decode = Bytes;
    type Encoder = Self;
    type Decoder = Self;

    fn encoder(&mut self) -> Self {
        Self
    }

    fn decoder(&mut self) -> Self {
        Self
    }
}

impl Encoder for Raw {
    type Item = Bytes;
    type Error = Status;

    fn encode(&mut self, message: Bytes, into: &mut EncodeBuf<'_>) -> Result<(), Status> {
        into.put(message);
        Ok(())
    }
}

impl Decoder for Raw {
    type Item = Bytes;
    type Error = Status;

    fn decode(&mut self, from: &mut DecodeBuf<'_>) -> Result<Option<Bytes>, Status> {
        Ok(Some(from.copy_to_bytes(from.remaining())))
    }
}

/// Says what it hears; `fail` is an error, before or after what came before it.
#[derive(Clone)]
struct Echo;

impl NamedService for Echo {
    const NAME: &'static str = "test.Echo";
}

impl Service<http::Request<Body>> for Echo {
    type Response = http::Response<Body>;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, Infallible>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: http::Request<Body>) -> Self::Future {
        Box::pin(async move {
            let mut server = tonic::server::Grpc::new(Raw);
            Ok(match request.uri().path() {
                "/test.Echo/Unary" => server.unary(service_fn(unary), request).await,
                "/test.Echo/Stream" => server.streaming(service_fn(streaming), request).await,
                _ => Status::unimplemented("no such call").into_http(),
            })
        })
    }
}

async fn unary(request: Request<Bytes>) -> Result<Response<Bytes>, Status> {
    let (metadata, _, message) = request.into_parts();
    let mut answer = Response::new(said(message)?);
    answer.metadata_mut().insert("x-heard", metadata.get("x-said").unwrap().clone());
    Ok(answer)
}

async fn streaming(
    request: Request<Streaming<Bytes>>,
) -> Result<Response<impl Stream<Item = Result<Bytes, Status>>>, Status> {
    Ok(Response::new(request.into_inner().map(|message| said(message?))))
}

fn said(message: Bytes) -> Result<Bytes, Status> {
    match &*message {
        b"fail" => Err(Status::data_loss("as you wish: 100 %")),
        _ => Ok(message),
    }
}

async fn pairs() -> Vec<(Program, Grpc<Channel>)> {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let server = Server::builder().add_service(Echo);
    tokio::spawn(server.serve_with_incoming(TcpIncoming::from(listener)));
    let mut pairs = Vec::new();
    for flags in [&[][..], &["--bare"]] {
        let gateway = gateway(&[&["--origin", &url, "--origin-http2"], flags].concat()).await;
        let channel = Endpoint::from_shared(gateway.url("")).unwrap().connect().await.unwrap();
        pairs.push((gateway, Grpc::new(channel)));
    }
    pairs
}

fn path(name: &str) -> PathAndQuery {
    format!("/test.Echo/{name}").parse().unwrap()
}

#[tokio::test]
async fn a_unary_call_brings_its_message_metadata_and_status() {
    for (gateway, mut client) in pairs().await {
        for message in [Bytes::new(), Bytes::from("one"), Bytes::from(vec![7; 1 << 20])] {
            let mut request = Request::new(message.clone());
            request.metadata_mut().insert("x-said", "this".parse().unwrap());
            client.ready().await.unwrap();
            let answer = soon(client.unary(request, path("Unary"), Raw)).await.unwrap();
            assert_eq!(answer.metadata().get("x-heard").unwrap(), "this");
            assert_eq!(answer.into_inner(), message);
        }
        for (name, code, detail) in [
            ("Unary", Code::DataLoss, "as you wish: 100 %"),
            ("Nothing", Code::Unimplemented, "no such call"),
        ] {
            client.ready().await.unwrap();
            let call = client.unary(Request::new(Bytes::from("fail")), path(name), Raw);
            let status = soon(call).await.unwrap_err();
            assert_eq!((status.code(), status.message()), (code, detail));
        }
        drop(client);
        assert_eq!(gateway.stop().await, "");
    }
}

#[tokio::test]
async fn a_stream_goes_both_ways_at_once_and_ends_with_its_status() {
    for (_gateway, mut client) in pairs().await {
        for (last, ended) in [("done", None), ("fail", Some(Code::DataLoss))] {
            let (say, said) = mpsc::unbounded_channel();
            let said = stream::unfold(said, async |mut said: mpsc::UnboundedReceiver<Bytes>| {
                Some((said.recv().await?, said))
            });
            client.ready().await.unwrap();
            let call = client.streaming(Request::new(said), path("Stream"), Raw);
            let mut heard = soon(call).await.unwrap().into_inner();
            for n in 0..100 {
                let message = Bytes::from(vec![n; usize::from(n) * 99]);
                say.send(message.clone()).unwrap();
                assert_eq!(soon(heard.message()).await.unwrap(), Some(message));
            }
            say.send(Bytes::from(last)).unwrap();
            let answer = soon(heard.message()).await;
            assert_eq!(answer.as_ref().err().map(Status::code), ended);
            drop(say);
            if ended.is_none() {
                assert_eq!(answer.unwrap().unwrap(), last);
                assert_eq!(soon(heard.message()).await.unwrap(), None);
            }
        }
    }
}

#[tokio::test]
async fn a_call_that_the_client_gives_up_ends_at_the_server() {
    for (gateway, mut client) in pairs().await {
        client.ready().await.unwrap();
        let call = client.streaming(Request::new(stream::pending()), path("Stream"), Raw);
        drop(soon(call).await.unwrap());
        drop(client);
        // A call that is still in flight would keep it for ten seconds.
        assert_eq!(gateway.stop().await, "");
    }
}
