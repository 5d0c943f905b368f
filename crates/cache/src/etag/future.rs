use std::collections::VecDeque;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http::header::{CONTENT_LENGTH, CONTENT_TYPE, ETAG};
use http::{HeaderMap, Response, StatusCode};
use http_body::{Body, Frame};
use pin_project::pin_project;

use crate::etag::EtagBody;
use crate::policy::not_modified;
use crate::tag::ContentTag;

/// The future of [`EtagService`](crate::EtagService).
///
/// It ends at the poll at which the inner one does. Dropping it drops the inner
/// one.
#[pin_project]
#[derive(Debug)]
pub struct EtagFuture<F> {
    #[pin]
    inner: F,
    /// What the client asked; none if it was no GET.
    conditions: Option<HeaderMap>,
    max_body: u64,
}

impl<F> EtagFuture<F> {
    pub(crate) fn new(inner: F, conditions: Option<HeaderMap>, max_body: u64) -> Self {
        Self { inner, conditions, max_body }
    }
}

impl<F, B, E> Future for EtagFuture<F>
where
    F: Future<Output = Result<Response<B>, E>>,
    B: Body<Data = Bytes> + Unpin,
{
    type Output = Result<Response<EtagBody<B>>, E>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.project();
        let response = ready!(this.inner.poll(cx))?;
        let untagged =
            response.status() == StatusCode::OK && !response.headers().contains_key(ETAG);
        let small = response.body().size_hint().upper().is_some_and(|size| size <= *this.max_body);
        Poll::Ready(Ok(match this.conditions.take().filter(|_| untagged && small) {
            Some(conditions) => tagged(response, &conditions, cx),
            None => response.map(|body| EtagBody::new(VecDeque::new(), Some(body))),
        }))
    }
}

/// Reads what is in hand of a body, and tags the response if that is all of it.
fn tagged<B>(
    response: Response<B>,
    conditions: &HeaderMap,
    cx: &mut Context<'_>,
) -> Response<EtagBody<B>>
where
    B: Body<Data = Bytes> + Unpin,
{
    let (mut head, mut body) = response.into_parts();
    let (mut seen, mut tag) = (VecDeque::new(), ContentTag::default());
    let ended = loop {
        match Pin::new(&mut body).poll_frame(cx) {
            Poll::Ready(Some(frame)) => {
                if let Some(data) = frame.as_ref().ok().and_then(Frame::data_ref) {
                    tag.update(data);
                }
                seen.push_back(frame);
            }
            Poll::Ready(None) => break true,
            Poll::Pending => break false,
        }
    };
    if !ended || seen.iter().any(Result::is_err) {
        return Response::from_parts(head, EtagBody::new(seen, (!ended).then_some(body)));
    }
    if let Some(tag) = tag.finish() {
        head.headers.insert(ETAG, tag);
    }
    if not_modified(conditions, &head.headers) {
        head.status = StatusCode::NOT_MODIFIED;
        // What describes the content goes with it (RFC 9110 §15.4.5).
        [CONTENT_LENGTH, CONTENT_TYPE].iter().for_each(|name| drop(head.headers.remove(name)));
        seen.clear();
    }
    Response::from_parts(head, EtagBody::new(seen, None))
}
