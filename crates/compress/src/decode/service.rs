use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::task::{Context, Poll};

use bytes::Bytes;
use http::header::{ACCEPT_ENCODING, CONTENT_ENCODING, CONTENT_LENGTH};
use http::{HeaderValue, Request, Response, StatusCode};
use http_body::Body;
use tower_edge_core::{BoxError, Coding, Problem, ReplyBody, RequestHead};
use tower_service::Service;

use super::chain::{Chain, Limits};
use super::fields::codings;
use super::future::Guard;
use crate::codec::CODINGS;
use crate::fields::drop_digests;
use crate::{DecompressBody, DecompressFuture};

/// The service that [`DecompressRequestLayer`](crate::DecompressRequestLayer) makes.
#[derive(Clone, Debug)]
pub struct DecompressRequest<S> {
    inner: S,
    limits: Limits,
}

impl<S> DecompressRequest<S> {
    pub(crate) fn new(inner: S, limits: Limits) -> Self {
        Self { inner, limits }
    }
}

impl<S, ReqB, ResB> Service<Request<ReqB>> for DecompressRequest<S>
where
    S: Service<Request<DecompressBody<ReqB>>, Response = Response<ResB>>,
    ReqB: Body<Data = Bytes>,
    ReqB::Error: Into<BoxError>,
{
    type Response = Response<ReplyBody<ResB>>;
    type Error = S::Error;
    type Future = DecompressFuture<S::Future>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, mut request: Request<ReqB>) -> Self::Future {
        if !request.headers().contains_key(CONTENT_ENCODING) {
            let request = request.map(DecompressBody::passed);
            return DecompressFuture::forward(self.inner.call(request), None);
        }
        let codings = codings(request.headers());
        if codings.as_ref().is_some_and(Vec::is_empty) {
            let request = request.map(DecompressBody::passed);
            return DecompressFuture::forward(self.inner.call(request), None);
        }
        let chain = codings.and_then(|codings| Chain::new(&codings, self.limits));
        let Some(chain) = chain else {
            return DecompressFuture::refuse(unsupported(&RequestHead::new(&request)));
        };
        let too_large = Arc::new(AtomicBool::new(false));
        let response = TOO_LARGE.response(&RequestHead::new(&request));
        let guard = Guard { too_large: too_large.clone(), response };
        let headers = request.headers_mut();
        headers.remove(CONTENT_ENCODING);
        headers.remove(CONTENT_LENGTH);
        drop_digests(headers);
        let request = request.map(|body| DecompressBody::decoding(body, chain, too_large));
        DecompressFuture::forward(self.inner.call(request), Some(guard))
    }
}

/// Names the codings that there are (RFC 9110 §12.5.3).
fn unsupported(request: &RequestHead<'_>) -> Response<Bytes> {
    let mut response = UNSUPPORTED.response(request);
    let names: Vec<_> = CODINGS.iter().copied().map(Coding::as_str).collect();
    if let Ok(names) = HeaderValue::from_str(&names.join(", ")) {
        response.headers_mut().insert(ACCEPT_ENCODING, names);
    }
    response
}

const UNSUPPORTED: Problem =
    Problem::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, 12, "content coding is not known here");
const TOO_LARGE: Problem =
    Problem::new(StatusCode::PAYLOAD_TOO_LARGE, 8, "content is too large when it is decoded");
