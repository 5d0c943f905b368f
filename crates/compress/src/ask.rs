use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;
use http::header::{ACCEPT_ENCODING, CONTENT_LENGTH, CONTENT_TYPE, ETAG, VARY};
use http::{HeaderValue, Method, Request, Response, StatusCode};
use http_body::Body;
use tower_edge_core::{AcceptedCodings, BoxError, Coding, CodingChoice, ResponseHead};

use crate::conditions::{is_condition, named};
use crate::fields::{describe, drop_digests};
use crate::fitness::{Fitness, Judged, length};
use crate::predicate::is_event_stream;
use crate::shared::{Rules, Shared};
use crate::source::Source;
use crate::stream::Stream;
use crate::whole::Whole;
use crate::{CompressBody, Predicate};

/// What a request asked for, as far as it matters to the response.
#[derive(Debug)]
pub(crate) enum Ask {
    /// Nothing that this layer does.
    Nothing,
    /// The plain bytes. All that may come of it is a line of `Vary`, and what decides on
    /// that is copied, which takes less than a count of references.
    Plain { rules: Rules, head: bool },
    /// Maybe other ones.
    Wish(Wish),
}

/// What is to be done for a request; small, since what is written and copied soon after
/// keeps a processor waiting.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Need {
    /// To answer with the plain bytes, as [`Ask::Plain`].
    Plain,
    /// To answer with this coding, or none, as [`Ask::Wish`].
    Choice(Option<Coding>),
    /// To see what else it says.
    More,
}

/// What a client wants if it may be something else than the plain bytes.
#[derive(Debug)]
pub(crate) struct Wish {
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

impl Need {
    /// What a request takes that has no conditions, and says what it accepts in one line
    /// at most; [`More`](Self::More) for others.
    #[inline]
    pub(crate) fn of<B>(shared: &Shared, request: &Request<B>) -> Self {
        let headers = request.headers();
        if request.method() == Method::CONNECT || headers.keys().any(is_condition) {
            return Self::More;
        }
        if shared.predicate.is_none() && !headers.keys().any(|name| *name == ACCEPT_ENCODING) {
            return Self::Plain;
        }
        let mut lines = headers.iter().filter(|(name, _)| **name == ACCEPT_ENCODING);
        let accepts = lines.next().map(|(_, line)| line);
        if lines.next().is_some() {
            return Self::More;
        }
        let choose = |line| shared.offered.choose(&AcceptedCodings::known_line(line));
        match accepts.map(choose) {
            Some(CodingChoice::Encode(coding)) => Self::Choice(Some(coding)),
            Some(CodingChoice::NotAcceptable) => Self::More,
            Some(CodingChoice::Plain) | None => Self::Choice(None),
        }
    }
}

impl Ask {
    /// Decides what becomes of a response, and writes its head if the body goes out as
    /// it is; gives what is to be done with it, if not.
    pub(crate) fn judge<B: Body>(&self, response: &mut Response<B>) -> Option<Encode> {
        match self {
            Self::Nothing => None,
            Self::Plain { rules, head } => {
                rules.judge(response, *head, None);
                None
            }
            Self::Wish(wish) => wish.judge(response),
        }
    }
}

impl Wish {
    fn judge<B: Body>(&self, response: &mut Response<B>) -> Option<Encode> {
        let predicate = self.shared.predicate.as_deref();
        let fitness = self.shared.rules.judge(response, self.head, predicate);
        match (fitness, self.chosen) {
            (Fitness::Fit, Some(coding)) if self.head => {
                let level = self.shared.level(coding);
                describe(response.headers_mut(), coding, level, true);
            }
            (Fitness::Fit, Some(coding)) => {
                return Some(Encode { shared: self.shared.clone(), coding });
            }
            (Fitness::Kin, _) => self.name_what_is_known(response),
            (Fitness::Fit, None) | (Fitness::Unfit, _) => {}
        }
        None
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

impl Rules {
    /// Judges a response, and says in its `Vary` if it may be encoded.
    fn judge<B: Body>(
        &self,
        response: &mut Response<B>,
        head: bool,
        predicate: Option<&dyn Predicate>,
    ) -> Fitness {
        let size = if head { None } else { response.body().size_hint().exact() };
        let judged = Judged::of(&ResponseHead::new(response), size, self.min_size, predicate);
        if judged.fitness != Fitness::Unfit && !judged.varies {
            response.headers_mut().append(VARY, self.vary.clone());
        }
        judged.fitness
    }
}

/// What a response is to be encoded with.
#[derive(Debug)]
pub(crate) struct Encode {
    shared: Arc<Shared>,
    coding: Coding,
}

impl Encode {
    /// Reads what is in hand of the body, and encodes it or what will come of it.
    pub(crate) fn start<B>(self, response: Response<B>, cx: &mut Context<'_>) -> Answer<B>
    where
        B: Body<Data = Bytes>,
        B::Error: Into<BoxError>,
    {
        let Self { shared, coding } = self;
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
            Some((plain, trailers)) if (plain.len() as u64) < shared.rules.min_size => {
                Answer::Send(Response::from_parts(head, CompressBody::own(plain, trailers)))
            }
            Some(whole) => {
                let mut whole = Whole::new(shared, coding, head, whole);
                match whole.poll_encode(cx) {
                    Poll::Ready(encoded) => Answer::Send(whole.finish(encoded)),
                    Poll::Pending => Answer::Encode(Box::new(whole)),
                }
            }
            None => {
                describe(&mut head.headers, coding, shared.level(coding), true);
                let stream = Stream::new(shared, coding, source, events);
                Answer::Send(Response::from_parts(head, CompressBody::stream(stream)))
            }
        }
    }
}

/// Bodies up to this many bytes that are in hand are encoded before their head goes
/// out, so that it has a length.
const MOST_WHOLE: usize = 1 << 20;
