use std::fmt;
use std::sync::Arc;

use tower_edge_core::{Clock, Coding, Observe, OfferedCodings, ResponseHead};
use tower_layer::Layer;

use crate::away::Away;
use crate::codec::CODINGS;
use crate::pool::Pool;
use crate::shared::{Rules, Shared};
use crate::{Compress, Predicate};

/// Encodes responses for clients that accept it, and says so in all that depends
/// on it.
///
/// By default it takes what the client wants most, and of that zstd, br, gzip or
/// deflate, in this order; for bodies of 256 bytes and more whose media type is not
/// compressed by itself. Put it inside of a cache, which then stores what it
/// makes, and outside of what protects the service.
///
/// All services made by one layer and its clones share their encoders.
///
/// ```
/// use tower::{ServiceBuilder, service_fn};
/// use tower_edge_compress::CompressLayer;
/// use tower_edge_core::Coding;
/// # use {bytes::Bytes, http::{Request, Response}, http_body_util::Full, std::convert::Infallible};
///
/// # #[cfg(feature = "gzip")] {
/// let layer = CompressLayer::new().codings([Coding::Gzip]).level(Coding::Gzip, 4);
/// let service = ServiceBuilder::new()
///     .layer(layer)
///     .service(service_fn(async |_: Request<Full<Bytes>>| {
///         Ok::<_, Infallible>(Response::new(Full::new(Bytes::from_static(b"hello"))))
///     }));
/// # let _ = service;
/// # }
/// ```
#[derive(Clone)]
#[must_use]
pub struct CompressLayer {
    shared: Arc<Shared>,
}

impl Default for CompressLayer {
    fn default() -> Self {
        Self::new()
    }
}

impl CompressLayer {
    /// All codings that features have put in.
    pub fn new() -> Self {
        let mut levels = [0; Coding::ALL.len()];
        for (coding, _, level) in LEVELS {
            levels[coding as usize] = level;
        }
        let offered = OfferedCodings::new(CODINGS.iter().copied());
        let threads = std::thread::available_parallelism().map_or(1, usize::from);
        let shared = Shared {
            pool: Arc::new(Pool::new(IDLE_PER_THREAD * threads)),
            away: Arc::new(Away::new(threads)),
            clock: Clock::system(),
            observe: None,
            predicate: None,
            strict: false,
            offered,
            rules: Rules { min_size: MIN_SIZE, vary: offered.vary() },
            levels,
        };
        Self { shared: Arc::new(shared) }
    }

    /// Encodes with these codings only; of those that a client wants alike the first
    /// one is taken.
    ///
    /// # Panics
    ///
    /// If one of them is [`Coding::Identity`], or its feature is off.
    pub fn codings(self, codings: impl IntoIterator<Item = Coding>) -> Self {
        let codings: Vec<_> = codings.into_iter().collect();
        let known = codings.iter().all(|coding| CODINGS.contains(coding));
        assert!(known, "a coding has to be one of {CODINGS:?}");
        let offered = OfferedCodings::new(codings);
        self.with(|shared| {
            shared.offered = offered;
            shared.rules.vary = offered.vary();
        })
    }

    /// How much work is done for fewer bytes: gzip and deflate from 1 to 9, 6 at
    /// first; br from 0 to 11, 5 at first; zstd from 1 to 19, 3 at first.
    ///
    /// It holds for bodies that are encoded as a whole, but as gzip and deflate only if
    /// they are larger than 1,280 bytes. Where a body is encoded piece by piece memory is
    /// bounded, and levels that take more are lowered.
    ///
    /// # Panics
    ///
    /// If there is no such level.
    pub fn level(self, coding: Coding, level: u8) -> Self {
        let range = LEVELS.iter().find(|(known, ..)| *known == coding).map(|(_, range, _)| range);
        let known = range.is_some_and(|range| range.contains(&level));
        assert!(known, "there is no level {level} of {}", coding.as_str());
        self.with(|shared| {
            shared.levels[coding as usize] = level;
            shared.pool = Arc::new(shared.pool.emptied());
        })
    }

    /// Leaves bodies alone that are smaller than this many bytes; 256 at first.
    ///
    /// Whatever it is, a body that is in hand goes out as it is if that is not
    /// longer than its encoded form.
    pub fn min_size(self, bytes: u64) -> Self {
        self.with(|shared| shared.rules.min_size = bytes)
    }

    /// Encodes what `predicate` lets through, in place of [`MediaTypes`](crate::MediaTypes).
    pub fn when(self, predicate: impl Predicate + 'static) -> Self {
        self.with(|shared| shared.predicate = Some(Arc::new(predicate)))
    }

    /// As [`when`](Self::when), by a closure.
    pub fn when_by<F>(self, predicate: F) -> Self
    where
        F: Fn(&ResponseHead<'_>) -> bool + Send + Sync + 'static,
    {
        self.when(predicate)
    }

    /// Answers requests with 406 that accept no coding there is and the bytes as they
    /// are neither, without calling the service; they get those bytes at first, as
    /// RFC 9110 §12.5.3 permits. gRPC requests are never answered so.
    pub fn strict(self) -> Self {
        self.with(|shared| shared.strict = true)
    }

    /// Tells `observe` every body that was encoded.
    pub fn observe(self, observe: Arc<dyn Observe>) -> Self {
        self.with(|shared| shared.observe = Some(observe))
    }

    /// Takes the time from `clock`.
    pub fn clock(self, clock: Clock) -> Self {
        self.with(|shared| shared.clock = clock)
    }

    fn with(self, set: impl FnOnce(&mut Shared)) -> Self {
        let mut shared = Arc::unwrap_or_clone(self.shared);
        set(&mut shared);
        Self { shared: Arc::new(shared) }
    }
}

impl<S> Layer<S> for CompressLayer {
    type Service = Compress<S>;

    fn layer(&self, inner: S) -> Compress<S> {
        Compress::new(inner, self.shared.clone())
    }
}

impl fmt::Debug for CompressLayer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("CompressLayer").field(&self.shared).finish()
    }
}

/// The levels that there are, and the one at first.
const LEVELS: [(Coding, std::ops::RangeInclusive<u8>, u8); 4] = [
    (Coding::Zstd, 1..=19, 3),
    (Coding::Br, 0..=11, 5),
    (Coding::Gzip, 1..=9, 6),
    (Coding::Deflate, 1..=9, 6),
];

/// JSON of this size gets 80 bytes shorter, which is more than the fields that say so
/// take; of 200 bytes hardly.
const MIN_SIZE: u64 = 256;
/// So many encoders of a sort wait to be used again.
const IDLE_PER_THREAD: usize = 2;
