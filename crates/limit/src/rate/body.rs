use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use pin_project::pin_project;
use tower_edge_core::{End, Expected, Tap, TapBody};

use super::after::Debtor;
use super::charge::Charge;
use super::limit::Limit;
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
    pub(super) fn inner(body: B) -> Self {
        Self { kind: Kind::Inner(body) }
    }

    pub(super) fn answer(bytes: Bytes) -> Self {
        Self { kind: Kind::Answer(bytes) }
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
            KindProj::Inner(body) => body.poll_frame(cx),
            KindProj::Settling(body) => body.poll_frame(cx),
            KindProj::Answer(bytes) => {
                let bytes = std::mem::take(bytes);
                Poll::Ready((!bytes.is_empty()).then(|| Ok(Frame::data(bytes))))
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        match &self.kind {
            Kind::Inner(body) => body.is_end_stream(),
            Kind::Settling(body) => body.is_end_stream(),
            Kind::Answer(bytes) => bytes.is_empty(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match &self.kind {
            Kind::Inner(body) => body.size_hint(),
            Kind::Settling(body) => body.size_hint(),
            Kind::Answer(bytes) => SizeHint::with_exact(bytes.len() as u64),
        }
    }
}

/// Charges what was added since the head when the body ends.
#[derive(Debug)]
pub(super) struct Settle {
    shared: Arc<Shared>,
    debtor: Box<Debtor>,
    charge: Charge,
}

impl Settle {
    pub(super) fn new(shared: Arc<Shared>, debtor: Box<Debtor>, charge: Charge) -> Self {
        Self { shared, debtor, charge }
    }
}

impl Tap<Bytes> for Settle {
    fn data(&mut self, _: &Bytes) {}

    fn end(&mut self, _: End<'_>) {
        let permits = self.charge.take();
        if permits > 0 {
            let charged = |limit: &Limit| if limit.charged { permits } else { 0 };
            self.shared.charge_more(&self.debtor.costs, charged);
        }
    }
}

#[pin_project(project = KindProj)]
#[derive(Debug)]
enum Kind<B: Body<Data = Bytes>> {
    Inner(#[pin] B),
    Settling(#[pin] TapBody<B, Settle>),
    Answer(Bytes),
}
