use std::fmt;
use std::sync::Arc;

use http::{HeaderValue, Method, StatusCode};
use tower_edge_core::{
    AcceptedCodings, Clock, Coding, CodingChoice, Observe, OfferedCodings, Problem, RequestHead,
};

use crate::Predicate;
use crate::away::Away;
use crate::pool::Pool;

/// What a layer and its services share.
#[derive(Clone)]
pub(crate) struct Shared {
    pub(crate) pool: Arc<Pool>,
    pub(crate) away: Arc<Away>,
    pub(crate) clock: Clock,
    pub(crate) observe: Option<Arc<dyn Observe>>,
    /// [`MediaTypes`](crate::MediaTypes), if there is none.
    pub(crate) predicate: Option<Arc<dyn Predicate>>,
    pub(crate) strict: bool,
    /// What is chosen among, in the order of preference.
    pub(crate) offered: OfferedCodings,
    pub(crate) rules: Rules,
    pub(crate) levels: [u8; Coding::ALL.len()],
}

/// What a response is judged by, unless there is a predicate.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Rules {
    pub(crate) min_size: u64,
    /// The line of `Vary` that names what is chosen among.
    pub(crate) vary: &'static HeaderValue,
}

impl Shared {
    pub(crate) fn level(&self, coding: Coding) -> u8 {
        self.levels[coding as usize]
    }

    /// What the response to this request is encoded with; `None` for requests that
    /// this layer has nothing to do with.
    pub(crate) fn choose(
        &self,
        request: &RequestHead<'_>,
    ) -> Option<(CodingChoice, AcceptedCodings)> {
        if request.method() == Method::CONNECT {
            return None;
        }
        let accepted = AcceptedCodings::known(request.headers());
        Some((self.offered.choose(&accepted), accepted))
    }
}

impl fmt::Debug for Shared {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Shared")
            .field("codings", &self.offered)
            .field("min_size", &self.rules.min_size)
            .finish_non_exhaustive()
    }
}

/// What a client gets that takes no coding that there is.
pub(crate) const NOT_ACCEPTABLE: Problem =
    Problem::new(StatusCode::NOT_ACCEPTABLE, 12, "no coding that the client accepts");
