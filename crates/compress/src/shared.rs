use std::fmt;
use std::sync::Arc;

use http::{Method, StatusCode};
use tower_edge_core::{AcceptedCodings, Clock, Coding, Observe, Problem, RequestHead};

use crate::Predicate;
use crate::negotiate::{Choice, choose};
use crate::pool::Pool;

/// What a layer and its services share.
#[derive(Clone)]
pub(crate) struct Shared {
    pub(crate) pool: Arc<Pool>,
    pub(crate) clock: Clock,
    pub(crate) observe: Option<Arc<dyn Observe>>,
    pub(crate) predicate: Arc<dyn Predicate>,
    pub(crate) min_size: u64,
    pub(crate) strict: bool,
    /// In their order of preference.
    pub(crate) codings: Arc<[Coding]>,
    pub(crate) levels: [u8; Coding::ALL.len()],
}

impl Shared {
    pub(crate) fn level(&self, coding: Coding) -> u8 {
        self.levels[coding as usize]
    }

    /// What the response to this request is encoded with; `None` for requests that
    /// this layer has nothing to do with.
    pub(crate) fn choose(&self, request: &RequestHead<'_>) -> Option<(Choice, AcceptedCodings)> {
        if request.method() == Method::CONNECT {
            return None;
        }
        let accepted = AcceptedCodings::known(request.headers());
        Some((choose(&accepted, &self.codings), accepted))
    }
}

impl fmt::Debug for Shared {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Shared")
            .field("codings", &self.codings)
            .field("min_size", &self.min_size)
            .finish_non_exhaustive()
    }
}

/// What a client gets that takes no coding that there is.
pub(crate) const NOT_ACCEPTABLE: Problem =
    Problem::new(StatusCode::NOT_ACCEPTABLE, 12, "no coding that the client accepts");
