use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;
use http::header::VARY;
use http::{HeaderValue, Method, Request, Response};
use http_body::Body;
use tower_edge_core::{BoxError, Coding, CodingChoice, RequestHead};
use tower_service::Service;

use crate::ask::{Ask, Asked, Need, Wish};
use crate::conditions::ask_plainly;
use crate::shared::{NOT_ACCEPTABLE, Shared};
use crate::{CompressBody, ResponseFuture};

/// The service that [`CompressLayer`](crate::CompressLayer) makes.
///
/// It is ready when the inner service is. What a response is encoded with is
/// decided when it is called, whether it is when its head is there.
#[derive(Clone, Debug)]
pub struct Compress<S> {
    inner: S,
    shared: Arc<Shared>,
}

impl<S> Compress<S> {
    pub(crate) fn new(inner: S, shared: Arc<Shared>) -> Self {
        Self { inner, shared }
    }
}

impl<S, ReqB, ResB> Service<Request<ReqB>> for Compress<S>
where
    S: Service<Request<ReqB>, Response = Response<ResB>>,
    ResB: Body<Data = Bytes>,
    ResB::Error: Into<BoxError>,
{
    type Response = Response<CompressBody<ResB>>;
    type Error = S::Error;
    type Future = ResponseFuture<S::Future>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    #[inline]
    fn call(&mut self, request: Request<ReqB>) -> Self::Future {
        let head = request.method() == Method::HEAD;
        match Need::of(&self.shared, &request) {
            Need::Plain => {
                let inner = self.inner.call(request);
                ResponseFuture::forward(inner, Ask::Plain { rules: self.shared.rules, head })
            }
            Need::Choice(chosen) => {
                let inner = self.inner.call(request);
                let wish = Wish { shared: self.shared.clone(), chosen, head, asked: None };
                ResponseFuture::forward(inner, Ask::Wish(wish))
            }
            Need::More => self.negotiate(request),
        }
    }
}

impl<S> Compress<S> {
    /// Calls the service for a request that takes more than [`Need::of`].
    ///
    /// It stands apart so that others are moved once less, which takes that no function
    /// is given a reference to them.
    #[inline(never)]
    fn negotiate<ReqB, ResB>(&mut self, mut request: Request<ReqB>) -> ResponseFuture<S::Future>
    where
        S: Service<Request<ReqB>, Response = Response<ResB>>,
    {
        let head = RequestHead::new(&request);
        let Some((choice, accepted)) = self.shared.choose(&head) else {
            return ResponseFuture::forward(self.inner.call(request), Ask::Nothing);
        };
        let chosen = match choice {
            CodingChoice::Encode(coding) => Some(coding),
            CodingChoice::NotAcceptable if self.shared.strict && !head.is_grpc() => {
                return ResponseFuture::refuse(not_acceptable(&head, self.shared.rules.vary));
            }
            CodingChoice::Plain | CodingChoice::NotAcceptable => None,
        };
        let reads = matches!(*request.method(), Method::GET | Method::HEAD);
        // Whoever writes names the state that they know, in whatever coding.
        let accepts = |coding: Coding| !reads || accepted.quality(coding) > 0;
        let head = request.method() == Method::HEAD;
        let asked = ask_plainly(request.headers_mut(), accepts, chosen.is_some());
        let asked = asked.map(|tags| Box::new(Asked { tags, accepted }));
        let wish = Wish { shared: self.shared.clone(), chosen, head, asked };
        ResponseFuture::forward(self.inner.call(request), Ask::Wish(wish))
    }
}

#[cold]
fn not_acceptable(request: &RequestHead<'_>, vary: &HeaderValue) -> Response<Bytes> {
    let mut response = NOT_ACCEPTABLE.response(request);
    response.headers_mut().append(VARY, vary.clone());
    response
}
