use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::header::CONTENT_LENGTH;
use http::{HeaderMap, HeaderValue, Response, response};
use http_body::Body;
use tower_edge_core::{Coding, Event, Step, Trace};

use crate::CompressBody;
use crate::codec::{Kind, Scratch, Then};
use crate::fields::{describe, drop_digests};
use crate::pool::Lease;
use crate::shared::Shared;

/// A response whose body is all there, and is encoded before its head goes out.
#[derive(Debug)]
pub(crate) struct Whole {
    shared: Arc<Shared>,
    coding: Coding,
    head: response::Parts,
    plain: Bytes,
    trailers: Option<HeaderMap>,
    lease: Lease,
    /// How much of it is encoded.
    at: usize,
    encoded: Vec<u8>,
    spent: Duration,
}

impl Whole {
    pub(crate) fn new(
        shared: Arc<Shared>,
        coding: Coding,
        head: response::Parts,
        (plain, trailers): (Bytes, Option<HeaderMap>),
    ) -> Self {
        let kind = if plain.len() <= SLICE { Kind::Whole } else { Kind::Large };
        let mut lease = shared.pool.lease(coding, shared.level(coding), kind);
        lease.expect(plain.len() as u64);
        let (encoded, spent) = (Vec::new(), Duration::ZERO);
        Self { shared, coding, head, plain, trailers, lease, at: 0, encoded, spent }
    }

    /// Encodes a slice; gives the bytes when it was the last. They are none if they
    /// would be more than the plain ones.
    pub(crate) fn encode_slice(&mut self) -> Option<Encoded> {
        let clock = self.shared.clock;
        let start = Trace::with(|_| ()).map(|()| clock.now());
        let done = self.slice();
        if let Some(start) = start {
            self.spent += clock.now().saturating_duration_since(start);
        }
        done
    }

    fn slice(&mut self) -> Option<Encoded> {
        let end = self.plain.len().min(self.at + SLICE);
        let last = end == self.plain.len();
        let then = if last { Then::Finish } else { Then::Go };
        let (slice, before) = (&self.plain[self.at..end], self.encoded.len());
        let lease = &mut self.lease;
        let encoded = Scratch::with(|scratch| {
            lease.encode(slice, then, scratch).ok()?;
            // What is done at once is copied once, to where it fits.
            let only = last && before == 0;
            let bytes = only.then(|| scratch.take());
            self.encoded.extend_from_slice(scratch.written());
            Some(bytes)
        });
        self.at = end;
        let size = before + encoded.iter().flatten().map(Bytes::len).sum::<usize>();
        if encoded.is_none() || size.max(self.encoded.len()) >= self.plain.len() {
            return Some(Encoded(None));
        }
        last.then(|| {
            let all = std::mem::take(&mut self.encoded).into_boxed_slice();
            Encoded(Some(encoded.flatten().unwrap_or_else(|| all.into())))
        })
    }

    /// The response, of these bytes or the plain ones.
    pub(crate) fn finish<B: Body<Data = Bytes>>(
        self,
        Encoded(encoded): Encoded,
    ) -> Response<CompressBody<B>> {
        let Self { shared, coding, mut head, plain, mut trailers, spent, .. } = self;
        let bytes = match encoded {
            None => plain,
            Some(encoded) => {
                describe(&mut head.headers, coding, shared.level(coding), false);
                match &mut trailers {
                    Some(trailers) => drop_digests(trailers),
                    // hyper sends no trailers behind a length.
                    None => {
                        let length = HeaderValue::from(encoded.len());
                        head.headers.insert(CONTENT_LENGTH, length);
                    }
                }
                if let Some(observe) = &shared.observe {
                    let (plain, encoded) = (plain.len() as u64, encoded.len() as u64);
                    observe.event(&Event::Encoded { coding: coding.as_str(), plain, encoded });
                }
                Trace::with(|trace| trace.push(Step::new("compress", spent).note(coding.as_str())));
                encoded
            }
        };
        Response::from_parts(head, CompressBody::own(bytes, trailers))
    }
}

/// The bytes that a body was encoded to; none if it stays plain.
#[derive(Debug)]
pub(crate) struct Encoded(Option<Bytes>);

/// How much is encoded before others get their turn: a fraction of a millisecond's
/// work.
pub(crate) const SLICE: usize = 64 << 10;
