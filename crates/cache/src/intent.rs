use std::cell::RefCell;
use std::sync::Arc;
use std::time::Instant;

use bytes::Bytes;
use http::header::{CONTENT_LOCATION, LOCATION};
use http::{HeaderMap, Method, Response, StatusCode};
use http_body::Body;
use tower_edge_core::{BoxError, Event, RequestHead, ResponseHead, Target};

use crate::body::CacheBody;
use crate::epochs::Ticket;
use crate::flight::{Fetch, passed};
use crate::policy::{Exchange, names_target, same_origin};
use crate::resource::{Parts, Resource, ResourceKey};
use crate::shared::Shared;
use crate::status::{Forward, Status};

/// An unsafe request on its way upstream: if it succeeds, what is stored for its
/// target is no longer true, and in place of it the response to a POST may be.
///
/// Most say nothing to a cache in the end. So what has to be kept of them is, in
/// memory that is used again.
#[derive(Debug)]
pub(crate) struct Intent(Option<Box<Kept>>);

impl Intent {
    /// None if nobody knows the target.
    pub(crate) fn of(
        shared: &Shared,
        request: &RequestHead<'_>,
        target: &Target<'_>,
        now: Instant,
    ) -> Option<Self> {
        let mut kept = SPARE.with_borrow_mut(Vec::pop).unwrap_or_default();
        kept.parts = Parts::write(target, &mut kept.text)?;
        // What comes back to one user says nothing to others.
        kept.post = (request.method() == Method::POST && shared.keys.user.is_none()).then(|| {
            let ticket = shared.store.ticket(&Resource::new(*target, None));
            Post { request: request.headers().clone(), ticket, requested: now }
        });
        Some(Self(Some(kept)))
    }

    /// Ends it with the head of its response (RFC 9111 §4.4, RFC 9110 §9.3.3).
    pub(crate) fn land<B>(
        mut self,
        shared: &Arc<Shared>,
        response: Response<B>,
    ) -> Response<CacheBody<B>>
    where
        B: Body<Data = Bytes, Error: Into<BoxError>> + Send + 'static,
    {
        if let Some(kept) = &mut self.0 {
            invalidate(shared, &kept.target(), &ResponseHead::new(&response));
            if response.status() == StatusCode::OK
                && let Some(post) = kept.post.take()
                && names_target(&kept.target(), response.headers())
                && shared.rules.directives(response.headers()).states_lifetime()
                && let Some(fetch) = post.fetch(shared, &kept.target())
            {
                let (requested, responded) = (fetch.requested, shared.clock.now());
                let exchange = Exchange { requested, responded, wall: shared.clock.wall() };
                return fetch.deliver(shared, response, &exchange);
            }
        }
        passed(shared, Status::Forwarded(Forward::Method), response)
    }
}

impl Drop for Intent {
    fn drop(&mut self) {
        let Some(mut kept) = self.0.take() else { return };
        kept.post = None;
        // A thread that is about to end has nothing to spare.
        let _ = SPARE.try_with(|spare| {
            let mut spare = spare.borrow_mut();
            if spare.len() < MOST && kept.text.capacity() <= LONG {
                spare.push(kept);
            }
        });
    }
}

#[derive(Debug, Default)]
struct Kept {
    text: String,
    parts: Parts,
    post: Option<Post>,
}

/// What is kept of a POST, whose response may be stored.
#[derive(Debug)]
struct Post {
    request: HeaderMap,
    ticket: Ticket,
    requested: Instant,
}

impl Kept {
    fn target(&self) -> Target<'_> {
        self.parts.target(&self.text)
    }
}

impl Post {
    fn fetch(self, shared: &Shared, target: &Target<'_>) -> Option<Box<Fetch>> {
        let Self { request, ticket, requested } = self;
        let resource = Resource::new(*target, None);
        let key = ResourceKey::of(&resource)?;
        let ticket = shared.store.renewed(&resource, ticket);
        Some(Box::new(Fetch {
            key,
            ticket,
            head_only: false,
            request,
            selected: None,
            nominated: Vec::new(),
            default_ttl: None,
            forward: Forward::Method,
            requested,
            lead: None,
            hold: None,
        }))
    }
}

/// Removes what an unsafe request that succeeded has made untrue: its target,
/// and what its response names of the same origin (RFC 9111 §4.4).
fn invalidate(shared: &Shared, target: &Target<'_>, response: &ResponseHead<'_>) {
    if !response.status().is_success() && !response.status().is_redirection() {
        return;
    }
    let tell = |was_there: bool| {
        if was_there {
            shared.tell(&Event::CacheInvalidated);
        }
    };
    tell(shared.invalidate(target));
    for name in [LOCATION, CONTENT_LOCATION] {
        let reference = response.headers().get(name).and_then(|value| value.to_str().ok());
        if let Some(named) = reference.and_then(|reference| same_origin(target, reference)) {
            let named = shared.keys.shared(Target::from_uri(&named));
            tell(shared.invalidate(&named.resource().target));
        }
    }
}

thread_local! {
    #[expect(clippy::vec_box, reason = "it is the boxes that are used again")]
    static SPARE: RefCell<Vec<Box<Kept>>> = const { RefCell::new(Vec::new()) };
}

/// The most that a thread keeps to be used again, and the longest target.
const MOST: usize = 64;
const LONG: usize = 1_024;
