use std::sync::Arc;

use bytes::Bytes;
use http::{Method, Response};
use http_body::Body;
use tower_edge_core::{Expected, ResponseHead};

use super::body::{RateLimitBody, Settle};
use super::charge::Charge;
use super::charges::Costs;
use super::shared::{Mode, Shared};
use super::told::Told;

/// What is to be done with the response to a request that was admitted.
#[derive(Debug)]
pub(super) enum After {
    Nothing,
    Something {
        shared: Arc<Shared>,
        /// How the client stands, if it is told.
        told: Option<Told>,
        /// What the response may be charged to.
        debtor: Option<Box<Debtor>>,
    },
}

/// Who is charged for a response.
#[derive(Debug)]
pub(super) struct Debtor {
    pub(super) costs: Costs,
    method: Method,
}

impl After {
    #[inline]
    pub(super) fn new(shared: &Arc<Shared>, method: &Method, costs: &Costs, nanos: u64) -> Self {
        Self::telling(shared, method, costs, || shared.told(costs, nanos))
    }

    /// As [`new`](Self::new), with what the client is told.
    #[inline]
    pub(super) fn telling(
        shared: &Arc<Shared>,
        method: &Method,
        costs: &Costs,
        tell: impl FnOnce() -> Option<Told>,
    ) -> Self {
        let tells = (shared.fields || shared.common_fields) && shared.mode != Mode::Shadow;
        if !tells && !shared.charges || costs.as_slice().is_empty() {
            return Self::Nothing;
        }
        let told = if tells { tell() } else { None };
        let debtor = || Box::new(Debtor { costs: *costs, method: method.clone() });
        let debtor = shared.charges.then(debtor);
        Self::Something { shared: shared.clone(), told, debtor }
    }

    #[inline]
    pub(super) fn apply<B>(&mut self, response: Response<B>) -> Response<RateLimitBody<B>>
    where
        B: Body<Data = Bytes>,
    {
        match std::mem::replace(self, Self::Nothing) {
            Self::Nothing => passed(response),
            Self::Something { shared, told, debtor } => done(shared, told, debtor, response),
        }
    }
}

#[inline]
fn passed<B: Body<Data = Bytes>>(response: Response<B>) -> Response<RateLimitBody<B>> {
    response.map(RateLimitBody::inner)
}

fn done<B: Body<Data = Bytes>>(
    shared: Arc<Shared>,
    told: Option<Told>,
    debtor: Option<Box<Debtor>>,
    mut response: Response<B>,
) -> Response<RateLimitBody<B>> {
    if let Some(told) = told {
        shared.write(&told, response.headers_mut());
    }
    let Some(debtor) = debtor else { return passed(response) };
    let charge = response.extensions_mut().remove::<Charge>();
    let by_now = charge.as_ref().map_or(0, Charge::take);
    let head = ResponseHead::new(&response);
    shared.charge_more(&debtor.costs, |limit| {
        let charged = if limit.charged { by_now } else { 0 };
        limit.charge_of(&head).saturating_add(charged)
    });
    let Some(charge) = charge else { return passed(response) };
    let expected = Expected::of(&debtor.method, &head, &response.body().size_hint());
    let settle = Settle::new(shared, debtor, charge);
    response.map(|body| RateLimitBody::settling(body, settle, expected))
}
