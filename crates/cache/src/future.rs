use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http::{Request, Response};
use http_body::Body;
use pin_project::{pin_project, pinned_drop};
use tower_edge_core::{BoxError, ReplyBody, RequestHead};
use tower_service::Service;

use crate::answer::Answer;
use crate::body::CacheBody;
use crate::call::{BoxCall, Call};
use crate::flight::{Fetch, Flight};
use crate::landing::{Follow, Landed, Sequel};
use crate::lookup::Decision;
use crate::shared::Shared;
use crate::tier::Loaded;

/// The future of [`CacheService`](crate::CacheService).
///
/// A hit is ready at its first poll. Dropping the future drops the call to the
/// inner service, unless other requests wait for what comes back: then the call
/// goes on in a task, or, outside a tokio runtime, one of those makes its own.
#[pin_project(PinnedDrop)]
pub struct ResponseFuture<S: Service<Req>, Req, B: Body<Data = Bytes>> {
    #[pin]
    state: State<S, Req, B>,
}

impl<S, ReqBody, B> ResponseFuture<S, Request<ReqBody>, B>
where
    S: Service<Request<ReqBody>, Response = Response<B>> + Clone + Send + 'static,
    S::Future: Send,
    ReqBody: Body + Send + 'static,
    B: Body<Data = Bytes, Error: Into<BoxError>> + Send + 'static,
{
    pub(crate) fn new(inner: &S, request: Request<ReqBody>, shared: &Arc<Shared>) -> Self {
        Self { state: State::begin(inner, request, shared, None) }
    }
}

impl<S, ReqBody, B> Future for ResponseFuture<S, Request<ReqBody>, B>
where
    S: Service<Request<ReqBody>, Response = Response<B>> + Clone + Send + 'static,
    S::Future: Send,
    ReqBody: Body + Send + 'static,
    B: Body<Data = Bytes, Error: Into<BoxError>> + Send + 'static,
{
    type Output = Result<Response<CacheBody<B>>, S::Error>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let mut state = self.project().state;
        loop {
            let next = match state.as_mut().project() {
                StateProj::Answer(answer) => {
                    return Poll::Ready(Ok(answer.take().expect(READY).response()));
                }
                StateProj::Shared(response) => {
                    return Poll::Ready(Ok(response.take().expect(READY)));
                }
                StateProj::Forward(call) => return call.poll(cx),
                StateProj::Lead(call) => {
                    let result = ready!(call.as_mut().expect(READY).as_mut().poll(cx));
                    *call = None;
                    return Poll::Ready(result);
                }
                StateProj::Load(loading) => {
                    let mut loading = loading.as_mut().expect(READY).as_mut().project();
                    let loaded = ready!(loading.load.as_mut().poll(cx));
                    loading.held.take().expect(READY).go_on(loaded)
                }
                StateProj::Follow(waiting) => {
                    let landed = ready!(waiting.as_ref().expect(READY).follow.poll(cx));
                    waiting.take().expect(READY).go_on(landed)
                }
            };
            state.set(next);
        }
    }
}

#[pinned_drop]
impl<S: Service<Req>, Req, B: Body<Data = Bytes>> PinnedDrop for ResponseFuture<S, Req, B> {
    fn drop(self: Pin<&mut Self>) {
        if let StateProj::Lead(call) = self.project().state.project()
            && let Some(call) = call.take()
        {
            call.leave();
        }
    }
}

impl<S: Service<Req>, Req, B: Body<Data = Bytes>> fmt::Debug for ResponseFuture<S, Req, B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ResponseFuture").finish_non_exhaustive()
    }
}

#[pin_project(project = StateProj)]
enum State<S: Service<Req>, Req, B: Body<Data = Bytes>> {
    Answer(Option<Answer>),
    Shared(Option<Response<CacheBody<B>>>),
    Forward(#[pin] Call<S, Req>),
    /// Others may wait for what comes back: it can be sent to a task.
    Lead(Option<BoxCall<B, S::Error>>),
    Follow(Option<Box<Waiting<S, Req>>>),
    Load(Option<Pin<Box<Loading<S, Req>>>>),
}

impl<S, ReqBody, B> State<S, Request<ReqBody>, B>
where
    S: Service<Request<ReqBody>, Response = Response<B>> + Clone + Send + 'static,
    S::Future: Send,
    ReqBody: Body + Send + 'static,
    B: Body<Data = Bytes, Error: Into<BoxError>> + Send + 'static,
{
    fn begin(
        inner: &S,
        request: Request<ReqBody>,
        shared: &Arc<Shared>,
        variant: Option<u64>,
    ) -> Self {
        let has_body = !request.body().is_end_stream();
        match shared.decide(&RequestHead::new(&request), has_body, variant) {
            Decision::Answer(answer) => Self::Answer(Some(answer)),
            decision => Self::enter(decision, inner.clone(), request, shared.clone(), variant),
        }
    }

    fn enter(
        decision: Decision,
        inner: S,
        request: Request<ReqBody>,
        shared: Arc<Shared>,
        variant: Option<u64>,
    ) -> Self {
        match decision {
            Decision::Answer(answer) => Self::Answer(Some(answer)),
            Decision::AnswerAndRefresh(answer, refresh) => {
                refresh.start(inner, request, shared);
                Self::Answer(Some(answer))
            }
            Decision::Unsatisfied(response) => {
                let response = response.map(ReplyBody::bytes).map(CacheBody::own);
                Self::Shared(Some(response))
            }
            Decision::Forward(flight) => Self::forward(inner, request, flight, shared),
            Decision::Follow(follow, fetch) => {
                let waiting = Waiting { follow, inner, request, fetch, shared, variant };
                Self::Follow(Some(Box::new(waiting)))
            }
            Decision::Load(behind, fetch) => {
                let load = async move {
                    let loaded = shared.load(&behind, &fetch.key, fetch.lead.is_some()).await;
                    (loaded, fetch, shared)
                };
                let held = Some(Held { inner, request, variant });
                Self::Load(Some(Box::pin(Loading { held, load })))
            }
        }
    }

    fn forward(
        inner: S,
        mut request: Request<ReqBody>,
        mut flight: Flight,
        shared: Arc<Shared>,
    ) -> Self {
        flight.prepare(request.headers_mut());
        let leads = flight.leads();
        let call = Call::new(inner, request, flight, shared);
        match leads {
            true => Self::Lead(Some(Box::pin(call))),
            false => Self::Forward(call),
        }
    }
}

/// A request that waits for what the tier behind memory has, in one allocation.
#[pin_project]
struct Loading<S, Req, F: ?Sized = dyn Future<Output = (Loaded, Box<Fetch>, Arc<Shared>)> + Send> {
    /// There until it is known.
    held: Option<Held<S, Req>>,
    #[pin]
    load: F,
}

/// What is not looked at meanwhile.
struct Held<S, Req> {
    inner: S,
    request: Req,
    variant: Option<u64>,
}

impl<S, ReqBody> Held<S, Request<ReqBody>>
where
    S: Service<Request<ReqBody>> + Clone + Send + 'static,
    S::Future: Send,
    ReqBody: Body + Send + 'static,
{
    fn go_on<B>(
        self,
        (loaded, fetch, shared): (Loaded, Box<Fetch>, Arc<Shared>),
    ) -> State<S, Request<ReqBody>, B>
    where
        S: Service<Request<ReqBody>, Response = Response<B>>,
        B: Body<Data = Bytes, Error: Into<BoxError>> + Send + 'static,
    {
        let Self { inner, request, variant } = self;
        let decision = shared.decide_loaded(&RequestHead::new(&request), fetch, loaded, variant);
        State::enter(decision, inner, request, shared, variant)
    }
}

/// A request that waits for what comes back to another.
struct Waiting<S, Req> {
    follow: Follow,
    inner: S,
    request: Req,
    fetch: Box<Fetch>,
    shared: Arc<Shared>,
    /// There if it waits for its variant.
    variant: Option<u64>,
}

impl<S, ReqBody, B> Waiting<S, Request<ReqBody>>
where
    S: Service<Request<ReqBody>, Response = Response<B>> + Clone + Send + 'static,
    S::Future: Send,
    ReqBody: Body + Send + 'static,
    B: Body<Data = Bytes, Error: Into<BoxError>> + Send + 'static,
{
    fn go_on(self, landed: Option<Landed>) -> State<S, Request<ReqBody>, B> {
        let Self { inner, request, mut fetch, shared, variant, .. } = self;
        let again = match landed {
            None => None,
            Some(landed) => match landed.share(&shared, &fetch, &RequestHead::new(&request)) {
                Sequel::Answer(response) => return State::Shared(Some(response)),
                Sequel::Regroup(digest) if variant.is_none() => Some(digest),
                Sequel::Regroup(_) | Sequel::Alone => {
                    fetch.requested = shared.clock.now();
                    return State::forward(inner, request, Flight::Fetch(fetch), shared);
                }
            },
        };
        State::begin(&inner, request, &shared, again)
    }
}

const READY: &str = "polled after it was ready";
