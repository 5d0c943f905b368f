use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;
use http::header::{CONTENT_LENGTH, CONTENT_TYPE, ETAG, VARY};
use http::{HeaderValue, Response, StatusCode};
use http_body::Body;
use tower_edge_core::{AcceptedCodings, BoxError, Coding, ResponseHead};

use crate::CompressBody;
use crate::conditions::named;
use crate::fields::{describe, drop_digests};
use crate::fitness::{Fitness, Judged, length};
use crate::predicate::is_event_stream;
use crate::shared::Shared;
use crate::source::Source;
use crate::stream::Stream;
use crate::whole::Whole;

/// What a request asked for, as far as it matters to the response.
#[derive(Debug)]
pub(crate) struct Ask {
    pub(crate) shared: Arc<Shared>,
    pub(crate) chosen: Option<Coding>,
    pub(crate) head: bool,
    /// There if what the client has may be encoded bytes.
    pub(crate) asked: Option<Box<Asked>>,
}

/// Which bytes a client has, and may have.
#[derive(Debug)]
pub(crate) struct Asked {
    /// Its `If-None-Match`.
    pub(crate) tags: Box<[u8]>,
    pub(crate) accepted: AcceptedCodings,
}

/// What becomes of a response that is to be encoded.
#[derive(Debug)]
pub(crate) enum Answer<B> {
    /// It goes out.
    Send(Response<CompressBody<B>>),
    /// Its body is all there, and is encoded before the head goes out.
    Encode(Box<Whole>),
}

impl Ask {
    /// Decides what becomes of a response, and writes its head if the body goes out as
    /// it is; gives the coding to [`encode`](Self::encode) it with, if not.
    pub(crate) fn judge<B: Body>(&self, response: &mut Response<B>) -> Option<Coding> {
        let size = if self.head { None } else { response.body().size_hint().exact() };
        let (min_size, predicate) = (self.shared.min_size, self.shared.predicate.as_deref());
        let judged = Judged::of(&ResponseHead::new(response), size, min_size, predicate);
        if judged.fitness != Fitness::Unfit && !judged.varies {
            response.headers_mut().append(VARY, self.shared.offered.vary.clone());
        }
        match (judged.fitness, self.chosen) {
            (Fitness::Fit, Some(coding)) if self.head => {
                let level = self.shared.level(coding);
                describe(response.headers_mut(), coding, level, true);
            }
            (Fitness::Fit, Some(coding)) => return Some(coding),
            (Fitness::Kin, _) => self.name_what_is_known(response),
            (Fitness::Fit, None) | (Fitness::Unfit, _) => {}
        }
        None
    }

    /// Reads what is in hand of the body, and encodes it or what will come of it.
    pub(crate) fn encode<B>(
        self,
        response: Response<B>,
        coding: Coding,
        cx: &mut Context<'_>,
    ) -> Answer<B>
    where
        B: Body<Data = Bytes>,
        B::Error: Into<BoxError>,
    {
        let (mut head, body) = response.into_parts();
        let media_type = head.headers.get(CONTENT_TYPE).map(HeaderValue::as_bytes);
        let events = media_type.is_some_and(is_event_stream);
        let size = body.size_hint().exact();
        let announced = head.headers.get(CONTENT_LENGTH).and_then(length).or(size);
        let large = announced.is_some_and(|size| size > MOST_WHOLE as u64);
        let mut source = Source::new(body);
        if !events && !large {
            source.gather(MOST_WHOLE, cx);
        }
        match source.whole() {
            Some((plain, trailers)) if (plain.len() as u64) < self.shared.min_size => {
                Answer::Send(Response::from_parts(head, CompressBody::own(plain, trailers)))
            }
            Some(whole) => {
                let mut whole = Whole::new(self.shared, coding, head, whole);
                match whole.poll_encode(cx) {
                    Poll::Ready(encoded) => Answer::Send(whole.finish(encoded)),
                    Poll::Pending => Answer::Encode(Box::new(whole)),
                }
            }
            None => {
                describe(&mut head.headers, coding, self.shared.level(coding), true);
                let stream = Stream::new(self.shared, coding, source, events);
                Answer::Send(Response::from_parts(head, CompressBody::stream(stream)))
            }
        }
    }

    /// Takes the tag that a 304 has of the plain bytes for the one that the client
    /// named, and digests of them away.
    fn name_what_is_known<B>(&self, response: &mut Response<B>) {
        let not_modified = response.status() == StatusCode::NOT_MODIFIED;
        let Some(asked) = self.asked.as_ref().filter(|_| not_modified) else { return };
        let accepts = |coding| asked.accepted.quality(coding) > 0;
        let headers = response.headers_mut();
        let tag = headers.get(ETAG).and_then(|tag| named(&asked.tags, tag, self.chosen, accepts));
        if let Some(tag) = tag {
            headers.insert(ETAG, tag);
            drop_digests(headers);
        }
    }
}

/// Bodies up to this many bytes that are in hand are encoded before their head goes
/// out, so that it has a length.
const MOST_WHOLE: usize = 1 << 20;
