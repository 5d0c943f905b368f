use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http::{Request, Response};
use http_body::Body;
use pin_project::pin_project;
use tower::util::Oneshot;
use tower_edge_core::{ReplyBody, RequestHead};
use tower_service::Service;

use super::after::After;
use super::body::RateLimitBody;
use super::turn::Turn;

/// The future of [`RateLimit`](crate::RateLimit).
///
/// Dropping it while the request waits for its quota costs nothing, and lets those
/// behind it move up; later what was charged stays charged.
#[pin_project]
pub struct RateLimitFuture<S: Service<R>, R, B> {
    #[pin]
    state: State<S, R, B>,
    /// Taken when the inner service has answered.
    after: Option<After>,
}

impl<S: Service<R>, R, B> RateLimitFuture<S, R, B> {
    pub(super) fn answer(response: Response<ReplyBody<B>>) -> Self {
        Self { state: State::Answer(Some(response)), after: None }
    }

    pub(super) fn calling(future: S::Future, after: After) -> Self {
        Self { state: State::Calling(future), after: Some(after) }
    }

    pub(super) fn waiting(turn: Turn, service: S, request: R) -> Self {
        let waiting = Box::new(Waiting { turn, call: Some((service, request)) });
        Self { state: State::Waiting(waiting), after: None }
    }
}

impl<S, ReqBody, B> Future for RateLimitFuture<S, Request<ReqBody>, B>
where
    S: Service<Request<ReqBody>, Response = Response<B>>,
    B: Body<Data = Bytes>,
{
    type Output = Result<Response<RateLimitBody<B>>, S::Error>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let mut this = self.project();
        loop {
            let response = match this.state.as_mut().project() {
                StateProj::Answer(response) => {
                    let response = response.take().expect(ENDED);
                    return Poll::Ready(Ok(response.map(RateLimitBody::reply)));
                }
                StateProj::Waiting(waiting) => {
                    let admitted = ready!(waiting.turn.poll(cx));
                    let (service, request) = waiting.call.take().expect(ENDED);
                    let head = RequestHead::new(&request);
                    if let Err(refused) = admitted
                        && let Some(response) = waiting.turn.refuse(&head, refused)
                    {
                        this.state.set(State::Answer(Some(response)));
                        continue;
                    }
                    *this.after = Some(waiting.turn.after(request.method()));
                    this.state.set(State::Late(Box::pin(Oneshot::new(service, request))));
                    continue;
                }
                StateProj::Calling(future) => ready!(future.poll(cx))?,
                StateProj::Late(call) => ready!(call.as_mut().poll(cx))?,
            };
            return Poll::Ready(Ok(this.after.take().expect(ENDED).apply(response)));
        }
    }
}

impl<S: Service<R>, R, B> fmt::Debug for RateLimitFuture<S, R, B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RateLimitFuture").finish_non_exhaustive()
    }
}

#[pin_project(project = StateProj)]
enum State<S: Service<R>, R, B> {
    Answer(Option<Response<ReplyBody<B>>>),
    Calling(#[pin] S::Future),
    Waiting(Box<Waiting<S, R>>),
    /// Admitted after a wait: another clone has to become ready first. Boxed, as
    /// is what waits, or each future would have room for a request.
    Late(Pin<Box<Oneshot<S, R>>>),
}

struct Waiting<S, R> {
    turn: Turn,
    /// Taken when it is admitted.
    call: Option<(S, R)>,
}

const ENDED: &str = "no future is polled after it ended";
