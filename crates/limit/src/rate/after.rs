use std::sync::Arc;

use bytes::Bytes;
use http::{Method, Response};
use http_body::Body;
use tower_edge_core::{Expected, ReplyBody, ResponseHead};

use super::body::{RateLimitBody, Settle};
use super::bucket::Standing;
use super::charge::Charge;
use super::charges::Costs;
use super::shared::{Mode, Shared};

/// What is to be done with the response to a request that was admitted.
#[derive(Debug)]
pub(super) enum After {
    Nothing,
    Something {
        shared: Arc<Shared>,
        costs: Costs,
        /// How the client stands, if it is told.
        standing: Option<(usize, Standing)>,
        method: Method,
    },
}

impl After {
    pub(super) fn new(shared: &Arc<Shared>, method: &Method, costs: &Costs, nanos: u64) -> Self {
        let tells = (shared.fields || shared.common_fields) && shared.mode != Mode::Shadow;
        let charges = shared.charges();
        if !tells && !charges || costs.as_slice().is_empty() {
            return Self::Nothing;
        }
        let standing = if tells { shared.standing(costs, nanos) } else { None };
        let (shared, method) = (shared.clone(), method.clone());
        Self::Something { shared, costs: *costs, standing, method }
    }

    pub(super) fn apply<B>(self, mut response: Response<B>) -> Response<RateLimitBody<B>>
    where
        B: Body<Data = Bytes>,
    {
        let Self::Something { shared, costs, standing, method } = self else {
            return response.map(ReplyBody::inner).map(RateLimitBody::reply);
        };
        if let Some(standing) = standing {
            shared.write(&costs, standing, response.headers_mut());
        }
        if !shared.charges() {
            return response.map(ReplyBody::inner).map(RateLimitBody::reply);
        }
        let charge = response.extensions_mut().remove::<Charge>();
        let by_now = charge.as_ref().map_or(0, Charge::take);
        let head = ResponseHead::new(&response);
        shared.charge_more(&costs, |limit| {
            let charged = if limit.charged { by_now } else { 0 };
            limit.charge_of(&head).saturating_add(charged)
        });
        let Some(charge) = charge else {
            return response.map(ReplyBody::inner).map(RateLimitBody::reply);
        };
        let expected = Expected::of(&method, &head, &response.body().size_hint());
        let settle = Settle::new(shared, &costs, charge);
        response.map(|body| RateLimitBody::settling(body, settle, expected))
    }
}
