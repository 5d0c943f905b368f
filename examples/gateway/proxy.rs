use std::convert::Infallible;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http::header::{CONTENT_LENGTH, MAX_FORWARDS, TRANSFER_ENCODING, UPGRADE};
use http::uri::{PathAndQuery, Scheme};
use http::{HeaderValue, Method, Request, Response, StatusCode, Uri, Version, request};
use hyper::body::{Body, Incoming};
use hyper::upgrade::OnUpgrade;
use tower::Service;
use tower_edge::core::{Expected, Problem, ReplyBody, RequestHead, TapBody};

use crate::origin::{Fault, Origin, Outgoing};
use crate::upload::Upload;
use crate::{fields, tunnel};

/// Forwards requests to the origin, over connections that it keeps.
///
/// Whatever goes wrong becomes a response here, so that the layers see it.
#[derive(Clone, Debug)]
pub(crate) struct Proxy {
    origin: Origin,
    timeout: Duration,
}

impl Proxy {
    /// Forwards to `origin`, which may be silent for `timeout` before it answers.
    pub(crate) fn new(origin: Origin, timeout: Duration) -> Self {
        Self { origin, timeout }
    }

    async fn forward(self, mut request: Request<Incoming>) -> Response<ReplyBody<Incoming>> {
        if fields::hops_left(request.method(), request.headers()) == Some(0) {
            return last_hop(&RequestHead::new(&request)).map(ReplyBody::bytes);
        }
        let upgrade = request.headers().contains_key(UPGRADE);
        let upgrade = upgrade.then(|| hyper::upgrade::on(&mut request));
        let (head, body) = request.into_parts();
        match self.exchange(&head, body, upgrade).await {
            Ok(response) => response.map(ReplyBody::inner),
            Err(problem) => problem.response(&RequestHead::from(&head)).map(ReplyBody::bytes),
        }
    }

    /// The origin's answer, cleaned, or why there is none.
    async fn exchange(
        &self,
        head: &request::Parts,
        body: Incoming,
        upgrade: Option<OnUpgrade>,
    ) -> Result<Response<Incoming>, Problem> {
        let upload = Upload::default();
        let request = self.outbound(head, body, &upload)?;
        let answer = upload.unless_silent(self.timeout, self.origin.send(request)).await;
        let mut response = answer.ok_or(SLOW)?.map_err(|error| match upload.is_broken() {
            true => BROKEN_UPLOAD,
            false => fault(&error),
        })?;
        let (status, version) = (response.status(), response.version());
        if status == StatusCode::SWITCHING_PROTOCOLS {
            tunnel::join(upgrade.ok_or(BAD_ANSWER)?, hyper::upgrade::on(&mut response));
        }
        fields::clean_response(status, version, response.headers_mut());
        *response.version_mut() = Version::HTTP_11;
        Ok(response)
    }

    /// The request as the origin gets it.
    fn outbound(
        &self,
        head: &request::Parts,
        body: Incoming,
        upload: &Upload,
    ) -> Result<Request<Outgoing>, Problem> {
        if head.method == Method::CONNECT {
            return Err(NO_CONNECT);
        }
        let target = RequestHead::from(head).target();
        if head.version != Version::HTTP_10 && target.authority().is_none() {
            return Err(NO_HOST);
        }
        if head.uri.authority().is_some() && head.uri.scheme().is_none() {
            return Err(NO_PATH);
        }
        let path = head.uri.path_and_query().cloned();
        let path = path.unwrap_or_else(|| PathAndQuery::from_static("/"));

        let mut fields = head.headers.clone();
        if let Some(left) = fields::hops_left(&head.method, &fields) {
            fields.insert(MAX_FORWARDS, HeaderValue::from(left.saturating_sub(1)));
        }
        if self.origin.is_http2() {
            fields::for_http2(&mut fields);
        } else if !body.is_end_stream() && !fields.contains_key(CONTENT_LENGTH) {
            // hyper's client would drop the body of a GET that has no length.
            fields.insert(TRANSFER_ENCODING, HeaderValue::from_static("chunked"));
        }
        let expected = Expected::by_size(&body.size_hint());
        let mut request = Request::new(TapBody::new(body, upload.clone(), expected));
        *request.method_mut() = head.method.clone();
        *request.uri_mut() = match target.authority().filter(|_| self.origin.is_http2()) {
            Some(host) => {
                Uri::builder().scheme(Scheme::HTTP).authority(host).path_and_query(path).build()
            }
            None => Ok(Uri::from(path)),
        }
        .map_err(|_| NO_HOST)?;
        *request.headers_mut() = fields;
        Ok(request)
    }
}

impl Service<Request<Incoming>> for Proxy {
    type Response = Response<ReplyBody<Incoming>>;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, Infallible>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<Incoming>) -> Self::Future {
        let proxy = self.clone();
        Box::pin(async move { Ok(proxy.forward(request).await) })
    }
}

/// The answer to a request that shall not go further than here
/// (RFC 9110 §7.6.2).
///
/// A TRACE is not echoed: it would show a script the cookies it must not see.
fn last_hop(request: &RequestHead<'_>) -> Response<Bytes> {
    if *request.method() == Method::TRACE {
        return NO_MORE_HOPS.response(request);
    }
    let mut response = Response::new(Bytes::new());
    *response.status_mut() = StatusCode::NO_CONTENT;
    response
}

/// Tells the log what happened; the client gets no more than the problem.
fn fault(fault: &Fault) -> Problem {
    tracing::warn!(error = fault.causes(), "the origin failed");
    match fault.unreachable {
        true => UNREACHABLE,
        false => BAD_ANSWER,
    }
}

const NO_CONNECT: Problem =
    Problem::new(StatusCode::NOT_IMPLEMENTED, 12, "this gateway opens no tunnels");
const NO_HOST: Problem =
    Problem::new(StatusCode::BAD_REQUEST, 3, "the request names no host, or more than one");
const NO_PATH: Problem =
    Problem::new(StatusCode::BAD_REQUEST, 3, "the target of the request is no path and no URL");
const NO_MORE_HOPS: Problem =
    Problem::new(StatusCode::NOT_IMPLEMENTED, 12, "this gateway does not echo requests");
const BROKEN_UPLOAD: Problem =
    Problem::new(StatusCode::BAD_REQUEST, 1, "the body of the request broke off");
const UNREACHABLE: Problem =
    Problem::new(StatusCode::BAD_GATEWAY, 14, "the origin cannot be reached");
const BAD_ANSWER: Problem =
    Problem::new(StatusCode::BAD_GATEWAY, 14, "the origin gave no valid answer");
const SLOW: Problem =
    Problem::new(StatusCode::GATEWAY_TIMEOUT, 4, "the origin did not answer in time");
