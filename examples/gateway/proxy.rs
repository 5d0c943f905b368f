use std::convert::Infallible;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use http::header::{CONNECTION, CONTENT_LENGTH, MAX_FORWARDS, TRANSFER_ENCODING};
use http::uri::{PathAndQuery, Scheme};
use http::{HeaderValue, Method, Request, Response, StatusCode, Uri, Version, request};
use hyper::body::{Body, Incoming};
use hyper::ext::Protocol;
use hyper::upgrade::OnUpgrade;
use tower::Service;
use tower_edge::core::{Expected, Problem, ReplyBody, RequestHead, TapBody};

use crate::connection::Link;
use crate::origin::{Fault, Origin, Outgoing};
use crate::trailers::Onward;
use crate::upload::{Hold, Patience, Silent, Upload};
use crate::websocket::Opening;
use crate::{fields, tunnel};

/// Forwards requests to the origin, over connections that it keeps.
///
/// Whatever goes wrong becomes a response here, so that the layers see it.
#[derive(Clone, Debug)]
pub(crate) struct Proxy {
    origin: Origin,
    patience: Patience,
}

impl Proxy {
    /// Forwards to `origin`, and has patience with it and with its clients.
    pub(crate) fn new(origin: Origin, patience: Patience) -> Self {
        Self { origin, patience }
    }

    async fn forward(self, mut request: Request<Incoming>) -> Response<Answer> {
        if fields::hops_left(request.method(), request.headers()) == Some(0) {
            return last_hop(&RequestHead::new(&request)).map(ReplyBody::bytes);
        }
        let link = request.extensions_mut().remove::<Link>();
        let client = link.map(|link| (hyper::upgrade::on(&mut request), link));
        let (head, body) = request.into_parts();
        match self.exchange(&head, body, client).await {
            Ok(response) => response.map(ReplyBody::inner),
            Err(problem) => refuse(problem, &RequestHead::from(&head)).map(ReplyBody::bytes),
        }
    }

    /// The origin's answer, cleaned, or why there is none.
    async fn exchange(
        &self,
        head: &request::Parts,
        body: Incoming,
        client: Option<(OnUpgrade, Link)>,
    ) -> Result<Response<TapBody<Onward<Incoming>, Hold>>, Problem> {
        let hops = head.extensions.get().cloned().unwrap_or_default();
        let (upload, progress) = Upload::new(Onward::new(body, hops));
        let (mut request, hold) = self.outbound(head, upload)?;
        let opening = Opening::ask(&mut request, self.origin.version())?;
        if self.origin.version() == Version::HTTP_2 {
            fields::for_http2(request.headers_mut());
        }
        let answer = progress.unless_slow(self.patience, self.origin.send(request)).await;
        let answer = answer.map_err(|silent| match silent {
            Silent::Client => SLOW_UPLOAD,
            Silent::Origin => SLOW,
        })?;
        let mut response = answer.map_err(|error| match progress.is_broken() {
            true => BROKEN_UPLOAD,
            false => fault(&error),
        })?;
        let (status, version) = (response.status(), response.version());
        let hops = fields::clean_response(status, version, response.headers_mut());
        *response.version_mut() = Version::HTTP_11;
        let open = match (opening, status) {
            (Some(opening), _) => opening.answer(&mut response)?,
            (None, StatusCode::SWITCHING_PROTOCOLS) => return Err(BAD_ANSWER),
            (None, _) => false,
        };
        if open {
            let (client, link) = client.ok_or(BAD_ANSWER)?;
            tunnel::join(client, hyper::upgrade::on(&mut response), link);
        }
        let expected = Expected::by_size(&response.body().size_hint());
        Ok(response.map(|body| TapBody::new(Onward::new(body, hops), hold, expected)))
    }

    /// The request as the origin gets it.
    fn outbound(
        &self,
        head: &request::Parts,
        body: Outgoing,
    ) -> Result<(Request<Outgoing>, Hold), Problem> {
        let target = RequestHead::from(head).target();
        if head.version != Version::HTTP_10 && target.authority().is_none() {
            return Err(NO_HOST);
        }
        let of_host = head.uri.authority().is_some() && head.uri.scheme().is_none();
        if of_host && head.method != Method::CONNECT {
            return Err(NO_PATH);
        }
        if fields::is_loop(&head.headers) {
            return Err(LOOP);
        }
        let path = head.uri.path_and_query().cloned();
        let path = path.unwrap_or_else(|| PathAndQuery::from_static("/"));

        let of_stream = self.origin.version() == Version::HTTP_2;
        let mut request = Request::new(body);
        *request.method_mut() = head.method.clone();
        *request.uri_mut() = match target.authority().filter(|_| of_stream) {
            Some(host) => {
                Uri::builder().scheme(Scheme::HTTP).authority(host).path_and_query(path).build()
            }
            None => Ok(Uri::from(path)),
        }
        .map_err(|_| NO_HOST)?;
        *request.headers_mut() = head.headers.clone();
        let fields = request.headers_mut();
        if let Some(left) = fields::hops_left(&head.method, fields) {
            fields.insert(MAX_FORWARDS, HeaderValue::from(left.saturating_sub(1)));
        }
        if let Some(protocol) = head.extensions.get::<Protocol>() {
            request.extensions_mut().insert(protocol.clone());
        }
        if of_stream || request.body().is_end_stream() {
            return Ok((request, Hold::default()));
        }
        if !request.headers().contains_key(CONTENT_LENGTH) {
            // hyper's client would drop the body of a GET that has no length.
            let chunked = HeaderValue::from_static("chunked");
            request.headers_mut().insert(TRANSFER_ENCODING, chunked);
        }
        Ok(match fields::expects_continue(request.headers()) {
            true => held_back(request),
            false => (request, Hold::default()),
        })
    }
}

/// The body of an answer: the origin's, or that of a problem.
type Answer = ReplyBody<TapBody<Onward<Incoming>, Hold>>;

impl Service<Request<Incoming>> for Proxy {
    type Response = Response<Answer>;
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

/// Sends the head alone, until the origin says that it wants the body as well.
fn held_back(request: Request<Outgoing>) -> (Request<Outgoing>, Hold) {
    let (head, body) = request.into_parts();
    let (body, hold) = body.held();
    let (mut request, asks) = (Request::from_parts(head, body), hold.clone());
    hyper::ext::on_informational(&mut request, move |interim| {
        if interim.status() == StatusCode::CONTINUE {
            asks.ask();
        }
    });
    (request, hold)
}

/// What the client gets instead of an answer; who is late with its own request
/// loses the connection as well.
fn refuse(problem: Problem, request: &RequestHead<'_>) -> Response<Bytes> {
    let mut response = problem.response(request);
    let late = response.status() == StatusCode::REQUEST_TIMEOUT;
    if late && request.version() != Version::HTTP_2 {
        response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
    }
    response
}

/// Tells the log what happened; the client gets no more than the problem.
fn fault(fault: &Fault) -> Problem {
    tracing::warn!(error = fault.causes(), "the origin failed");
    match fault {
        Fault::Unreachable(_) => UNREACHABLE,
        Fault::Broken(_) => BAD_ANSWER,
        Fault::NoTunnel => NO_STREAM,
    }
}

const NO_STREAM: Problem =
    Problem::new(StatusCode::NOT_IMPLEMENTED, 12, "the origin opens no tunnels over HTTP/2");
const LOOP: Problem =
    Problem::new(StatusCode::LOOP_DETECTED, 9, "the request goes round in circles");
const NO_HOST: Problem =
    Problem::new(StatusCode::BAD_REQUEST, 3, "the request names no host, or more than one");
const NO_PATH: Problem =
    Problem::new(StatusCode::BAD_REQUEST, 3, "the target of the request is no path and no URL");
const NO_MORE_HOPS: Problem =
    Problem::new(StatusCode::NOT_IMPLEMENTED, 12, "this gateway does not echo requests");
const BROKEN_UPLOAD: Problem =
    Problem::new(StatusCode::BAD_REQUEST, 1, "the body of the request broke off");
const SLOW_UPLOAD: Problem =
    Problem::new(StatusCode::REQUEST_TIMEOUT, 1, "the rest of the request did not come in time");
const UNREACHABLE: Problem =
    Problem::new(StatusCode::BAD_GATEWAY, 14, "the origin cannot be reached");
const BAD_ANSWER: Problem =
    Problem::new(StatusCode::BAD_GATEWAY, 14, "the origin gave no valid answer");
const SLOW: Problem =
    Problem::new(StatusCode::GATEWAY_TIMEOUT, 4, "the origin did not answer in time");
