use std::fmt;
use std::time::Duration;

use crate::{Key, Refusal};

/// Something that a layer did, borrowed for the time of telling.
///
/// It carries no timestamp and no `String`: an observer that wants them makes
/// them.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub enum Event<'a> {
    /// A layer answered by itself instead of calling on.
    Refused {
        /// Why, and when to come back.
        refusal: &'a Refusal,
        /// Who was refused, where the layer tells requests apart.
        key: Option<&'a Key>,
    },
    /// A layer would have answered by itself, and only watches for now.
    WouldRefuse {
        /// Why, and when to come back.
        refusal: &'a Refusal,
        /// Who would have been refused, where the layer tells requests apart.
        key: Option<&'a Key>,
    },
    /// A request waited for its quota before it was called on.
    Waited {
        /// How long.
        time: Duration,
    },
    /// A rate limit forgot a key that was in use: it has more of them than there
    /// is room for.
    KeyEvicted,
    /// The store of quotas that nodes share gave no answer.
    QuotaStoreFailed,
    /// It was decided about a request without the store of its quota.
    QuotaUnknown {
        /// How, as the user chose: `open`, `closed` or `local`.
        choice: &'static str,
    },
    /// A circuit went from one state to another.
    CircuitChanged {
        /// Whose circuit it is, where there is one for each key.
        key: Option<&'a Key>,
        /// The state that it was in: `closed`, `open`, `half_open` or `ramping`.
        from: &'static str,
        /// The state that it is in, in the same words.
        to: &'static str,
    },
    /// The body of a response was encoded, to its end.
    Encoded {
        /// With what, as `Content-Encoding` says it.
        coding: &'static str,
        /// How many bytes there were before.
        plain: u64,
        /// How many there are now.
        encoded: u64,
    },
    /// A cache answered a request, or let it pass.
    CacheLookup {
        /// What it found, in the words of RFC 9211: `hit`, `miss`, `stale`, ...
        found: &'static str,
    },
    /// A cache stored a response.
    CacheStored {
        /// What the entry counts towards the capacity, in bytes.
        bytes: u64,
    },
    /// A response that could be stored was not.
    CacheNotStored {
        /// Why: `too large`, `broke off`, ...
        why: &'static str,
    },
    /// A cache dropped what it held for a URI, because an unsafe method
    /// succeeded there.
    CacheInvalidated,
    /// There were more purges than a cache tells apart: it takes the oldest for
    /// one of all that is older.
    CachePurgesCollapsed {
        /// How many are told apart.
        limit: usize,
    },
    /// The tier behind a cache's memory failed, and the cache went on without it.
    CacheTierFailed {
        /// What the tier is called: `sqlite`, `redis`, ...
        tier: &'static str,
        /// What failed: `get`, `read` of what it gave, `write`, `note` and `notes` of
        /// purges.
        doing: &'static str,
    },
    /// Requests had more labels than there may be series of measurements: from
    /// now on the surplus shares one. Told once.
    SeriesLimitReached {
        /// How many series there may be.
        limit: usize,
    },
}

/// Is told every [`Event`], on the request path: it must be quick and must not
/// block.
///
/// Layers hold it as `Option<Arc<dyn Observe>>`; without one an event costs a
/// branch. Closures implement it.
pub trait Observe: Send + Sync {
    /// Sees one event.
    fn event(&self, event: &Event<'_>);
}

impl<F> Observe for F
where
    F: Fn(&Event<'_>) + Send + Sync,
{
    fn event(&self, event: &Event<'_>) {
        self(event);
    }
}

impl fmt::Debug for dyn Observe {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("dyn Observe")
    }
}
