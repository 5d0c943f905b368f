use bytes::Bytes;
use http::{HeaderMap, Request, StatusCode};
use http_body_util::{BodyExt, Empty};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;

/// What a client of a real server got.
#[derive(Debug)]
pub(crate) struct Got {
    pub(crate) status: StatusCode,
    pub(crate) fields: HeaderMap,
    pub(crate) text: String,
}

impl Got {
    pub(crate) fn cache_status(&self) -> &str {
        self.fields["cache-status"].to_str().unwrap()
    }
}

/// Sends `request` on a connection of its own, over HTTP/2 if asked so.
pub(crate) async fn send(request: Request<Empty<Bytes>>, http2: bool) -> Got {
    let mut client = Client::builder(TokioExecutor::new());
    let client: Client<HttpConnector, Empty<Bytes>> = client.http2_only(http2).build_http();
    let (head, body) = client.request(request).await.unwrap().into_parts();
    let text = String::from_utf8(body.collect().await.unwrap().to_bytes().into()).unwrap();
    Got { status: head.status, fields: head.headers, text }
}

pub(crate) async fn get(uri: String) -> Got {
    send(Request::get(uri).body(Empty::new()).unwrap(), false).await
}
