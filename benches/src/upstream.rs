use std::cell::Cell;
use std::convert::Infallible;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Request, Response};
use http_body_util::Full;
use tower_service::Service;

/// The service under the layers: always ready, answers at the first poll.
///
/// It allocates nothing but its header fields, and it is `Copy`, so that what
/// cloning a stack costs is the cost of the layers.
#[derive(Clone, Copy, Debug)]
pub struct Upstream {
    body: &'static [u8],
    fields: Option<&'static HeaderMap>,
    /// How many more fields there is room for.
    room: usize,
}

impl Upstream {
    /// Answers 200 with so many bytes and no header field.
    ///
    /// # Panics
    ///
    /// If that is more than 1 MiB.
    pub fn new(bytes: usize) -> Self {
        Self { body: &BODY[..bytes], fields: None, room: 0 }
    }

    /// Answers 200 with these bytes and no header field. They stay in memory for
    /// good.
    pub fn of(body: Vec<u8>) -> Self {
        Self { body: body.leak(), fields: None, room: 0 }
    }

    /// Adds a header field to each answer. The fields stay in memory for good.
    #[must_use]
    pub fn field(self, (name, value): (&'static str, &'static str)) -> Self {
        let mut fields = self.fields.cloned().unwrap_or_default();
        fields.insert(name, HeaderValue::from_static(value));
        Self { fields: Some(Box::leak(Box::new(fields))), ..self }
    }

    /// Leaves room for so many more fields in each answer, as maps have that a handler
    /// or a parser has filled one by one.
    #[must_use]
    pub fn room(self, fields: usize) -> Self {
        Self { room: fields, ..self }
    }

    /// How many answers all upstreams of this thread gave.
    pub(crate) fn calls() -> u64 {
        CALLS.get()
    }

    fn answer(self) -> Response<Full<Bytes>> {
        CALLS.set(CALLS.get() + 1);
        let mut response = Response::new(Full::new(Bytes::from_static(self.body)));
        let headers = response.headers_mut();
        match self.fields {
            Some(fields) if self.room > 0 => {
                headers.reserve(fields.len() + self.room);
                for (name, value) in fields {
                    headers.append(name, value.clone());
                }
            }
            Some(fields) => headers.clone_from(fields),
            None => {}
        }
        response
    }
}

impl<B> Service<Request<B>> for Upstream {
    type Response = Response<Full<Bytes>>;
    type Error = Infallible;
    type Future = Answer;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, _: Request<B>) -> Answer {
        Answer(*self)
    }
}

/// The future of [`Upstream`]; like an async handler it does nothing before it
/// is polled.
#[derive(Debug)]
pub struct Answer(Upstream);

impl Future for Answer {
    type Output = Result<Response<Full<Bytes>>, Infallible>;

    fn poll(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Self::Output> {
        Poll::Ready(Ok(self.0.answer()))
    }
}

thread_local! {
    static CALLS: Cell<u64> = const { Cell::new(0) };
}

static BODY: [u8; 1 << 20] = [b'x'; 1 << 20];
