use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use pin_project::pin_project;
use tower_edge_core::{End, Expected, ReplyBody, Tap, TapBody};

use super::charge::Charge;
use super::charges::Costs;
use super::shared::Shared;

/// The body of the responses of [`RateLimit`](crate::RateLimit).
///
/// It passes everything on. Its end, however it comes, settles what a response is
/// still to be charged.
#[pin_project]
#[derive(Debug)]
pub struct RateLimitBody<B: Body<Data = Bytes>> {
    #[pin]
    kind: Kind<B>,
}

impl<B: Body<Data = Bytes>> RateLimitBody<B> {
    pub(super) fn reply(body: ReplyBody<B>) -> Self {
        Self { kind: Kind::Reply(body) }
    }

    pub(super) fn settling(body: B, settle: Settle, expected: Expected) -> Self {
        Self { kind: Kind::Settling(TapBody::new(body, settle, expected)) }
    }
}

impl<B: Body<Data = Bytes>> Body for RateLimitBody<B> {
    type Data = Bytes;
    type Error = B::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, B::Error>>> {
        match self.project().kind.project() {
            KindProj::Reply(body) => body.poll_frame(cx),
            KindProj::Settling(body) => body.poll_frame(cx),
        }
    }

    fn is_end_stream(&self) -> bool {
        match &self.kind {
            Kind::Reply(body) => body.is_end_stream(),
            Kind::Settling(body) => body.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match &self.kind {
            Kind::Reply(body) => body.size_hint(),
            Kind::Settling(body) => body.size_hint(),
        }
    }
}

/// Charges what was added since the head when the body ends.
#[derive(Debug)]
pub(super) struct Settle {
    shared: Arc<Shared>,
    costs: Box<Costs>,
    charge: Charge,
}

impl Settle {
    pub(super) fn new(shared: Arc<Shared>, costs: &Costs, charge: Charge) -> Self {
        Self { shared, costs: Box::new(*costs), charge }
    }
}

impl Tap<Bytes> for Settle {
    fn data(&mut self, _: &Bytes) {}

    fn end(&mut self, _: End<'_>) {
        let permits = self.charge.take();
        if permits > 0 {
            self.shared.charge_more(&self.costs, |limit| if limit.charged { permits } else { 0 });
        }
    }
}

#[pin_project(project = KindProj)]
#[derive(Debug)]
enum Kind<B: Body<Data = Bytes>> {
    Reply(#[pin] ReplyBody<B>),
    Settling(#[pin] TapBody<B, Settle>),
}
