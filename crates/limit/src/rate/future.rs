use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http::{Request, Response};
use http_body::Body;
use pin_project::pin_project;
use tower::util::Oneshot;
use tower_edge_core::RequestHead;
use tower_service::Service;

use super::after::After;
use super::body::RateLimitBody;
use super::turn::Turn;

/// The future of [`RateLimit`](crate::RateLimit).
///
/// Dropping it while the request waits for its quota costs nothing, and lets those
/// behind it move up; later what was charged stays charged.
#[pin_project]
pub struct RateLimitFuture<S: Service<R>, R> {
    #[pin]
    state: State<S, R>,
    after: After,
}

impl<S: Service<R>, R> RateLimitFuture<S, R> {
    pub(super) fn answer(response: Response<Bytes>) -> Self {
        Self { state: State::Answer(Some(Box::new(response))), after: After::Nothing }
    }

    pub(super) fn calling(future: S::Future, after: After) -> Self {
        Self { state: State::Calling(future), after }
    }

    pub(super) fn waiting(turn: Turn, service: S, request: R) -> Self {
        let waiting = Box::new(Waiting { turn, call: Some((service, request)) });
        Self { state: State::Waiting(waiting), after: After::Nothing }
    }
}

impl<S, ReqBody, B> Future for RateLimitFuture<S, Request<ReqBody>>
where
    S: Service<Request<ReqBody>, Response = Response<B>>,
    B: Body<Data = Bytes>,
{
    type Output = Result<Response<RateLimitBody<B>>, S::Error>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let mut this = self.project();
        loop {
            let polled = match this.state.as_mut().project() {
                StateProj::Answer(response) => {
                    let response = response.take().expect(ENDED);
                    return Poll::Ready(Ok((*response).map(RateLimitBody::answer)));
                }
                StateProj::Waiting(waiting) => {
                    let admitted = ready!(waiting.turn.poll(cx));
                    let (service, request) = waiting.call.take().expect(ENDED);
                    let head = RequestHead::new(&request);
                    if let Err(denied) = admitted
                        && let Some(response) = waiting.turn.refuse(&head, denied)
                    {
                        this.state.set(State::Answer(Some(Box::new(response))));
                        continue;
                    }
                    *this.after = waiting.turn.after(request.method());
                    this.state.set(State::Late(Box::pin(Oneshot::new(service, request))));
                    continue;
                }
                StateProj::Calling(future) => future.poll(cx),
                StateProj::Late(call) => call.as_mut().poll(cx),
            };
            return match polled {
                Poll::Ready(Ok(response)) => Poll::Ready(Ok(this.after.apply(response))),
                Poll::Ready(Err(error)) => Poll::Ready(Err(error)),
                Poll::Pending => Poll::Pending,
            };
        }
    }
}

impl<S: Service<R>, R> fmt::Debug for RateLimitFuture<S, R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RateLimitFuture").finish_non_exhaustive()
    }
}

#[pin_project(project = StateProj)]
enum State<S: Service<R>, R> {
    /// Boxed, as all that is rare: a future is moved on its way to who polls it.
    Answer(Option<Box<Response<Bytes>>>),
    Calling(#[pin] S::Future),
    Waiting(Box<Waiting<S, R>>),
    /// Admitted after a wait: another clone has to become ready first.
    Late(Pin<Box<Oneshot<S, R>>>),
}

struct Waiting<S, R> {
    turn: Turn,
    /// Taken when it is admitted.
    call: Option<(S, R)>,
}

const ENDED: &str = "no future is polled after it ended";
