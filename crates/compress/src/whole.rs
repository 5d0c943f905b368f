use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use http::header::CONTENT_LENGTH;
use http::{HeaderMap, HeaderValue, Response, response};
use http_body::Body;
use tower_edge_core::{Coding, Event, Step, Trace};

use crate::CompressBody;
use crate::away::{Coming, Done, Job};
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
    work: Work,
    spent: Duration,
}

/// How a body is encoded.
#[derive(Debug)]
enum Work {
    /// A slice at a time.
    Here {
        lease: Lease,
        /// How much of it is encoded.
        at: usize,
        encoded: Vec<u8>,
    },
    /// All at once, which takes long.
    Away(Coming),
    Done(Option<Done>),
}

impl Whole {
    pub(crate) fn new(
        shared: Arc<Shared>,
        coding: Coding,
        head: response::Parts,
        (plain, trailers): (Bytes, Option<HeaderMap>),
    ) -> Self {
        let level = shared.level(coding);
        let is_small = plain.len() <= SLICE;
        let work = if !is_small && matches!(coding, Coding::Gzip | Coding::Deflate) {
            let (pool, clock, plain) = (shared.pool.clone(), shared.clock, plain.clone());
            match shared.away.encode(Job { pool, coding, level, plain, clock }) {
                Ok(coming) => Work::Away(coming),
                Err(done) => Work::Done(Some(done)),
            }
        } else {
            let kind = if is_small { Kind::Whole } else { Kind::Large };
            let mut lease = shared.pool.lease(coding, level, kind);
            lease.expect(plain.len() as u64);
            Work::Here { lease, at: 0, encoded: Vec::new() }
        };
        Self { shared, coding, head, plain, trailers, work, spent: Duration::ZERO }
    }

    /// Goes on encoding; gives the bytes when they are there. They are none if they
    /// would be more than the plain ones.
    pub(crate) fn poll_encode(&mut self, cx: &mut Context<'_>) -> Poll<Encoded> {
        let (encoded, spent) = match &mut self.work {
            Work::Here { .. } => match self.timed_slice() {
                Some(encoded) => return Poll::Ready(encoded),
                None => {
                    cx.waker().wake_by_ref();
                    return Poll::Pending;
                }
            },
            // The runtime that was to do it has ended, if it does not come.
            Work::Away(coming) => ready!(Pin::new(coming).poll(cx)).unwrap_or_default(),
            Work::Done(done) => done.take().unwrap_or_default(),
        };
        self.spent = spent;
        Poll::Ready(Encoded(encoded.filter(|bytes| bytes.len() < self.plain.len())))
    }

    fn timed_slice(&mut self) -> Option<Encoded> {
        let clock = self.shared.clock;
        let start = Trace::with(|_| ()).map(|()| clock.now());
        let done = self.slice();
        if let Some(start) = start {
            self.spent += clock.now().saturating_duration_since(start);
        }
        done
    }

    fn slice(&mut self) -> Option<Encoded> {
        let Work::Here { lease, at, encoded: all } = &mut self.work else { return None };
        let end = self.plain.len().min(*at + SLICE);
        let last = end == self.plain.len();
        let then = if last { Then::Finish } else { Then::Go };
        let (slice, before) = (&self.plain[*at..end], all.len());
        let encoded = Scratch::with(|scratch| {
            lease.encode(slice, then, scratch).ok()?;
            // What is done at once is copied once, to where it fits.
            let only = last && before == 0;
            let bytes = only.then(|| scratch.take());
            all.extend_from_slice(scratch.written());
            Some(bytes)
        });
        *at = end;
        let size = before + encoded.iter().flatten().map(Bytes::len).sum::<usize>();
        if encoded.is_none() || size.max(all.len()) >= self.plain.len() {
            return Some(Encoded(None));
        }
        last.then(|| {
            let all = std::mem::take(all).into_boxed_slice();
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
