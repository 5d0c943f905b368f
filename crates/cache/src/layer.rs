use std::sync::Arc;
use std::time::Duration;

use ahash::RandomState;
use http::HeaderName;
use http::header::{CDN_CACHE_CONTROL, COOKIE};
use tower_edge_core::{Clock, ExtractKey, Key, Observe, RequestHead};
use tower_layer::Layer;

use crate::handle::CacheHandle;
use crate::keys::Keys;
use crate::landing::Flights;
use crate::loners::Loners;
use crate::memo::Computations;
use crate::policy::{Rules, SetCookie, StaleOnError};
use crate::service::CacheService;
use crate::shared::Shared;
use crate::status::StatusField;
use crate::store::Store;
use crate::tier::{Behind, OnOutage, Tier};

/// Answers GET and HEAD from memory, by the rules of RFC 9111 for shared caches.
///
/// All services made by one layer and its clones share one store.
///
/// ```
/// use tower::{ServiceBuilder, service_fn};
/// use tower_edge_cache::CacheLayer;
/// # use {bytes::Bytes, http::{Request, Response}, http_body_util::Full, std::convert::Infallible};
///
/// let service = ServiceBuilder::new()
///     .layer(CacheLayer::new(256 << 20))
///     .service(service_fn(async |_: Request<Full<Bytes>>| {
///         let response = Response::builder().header("cache-control", "max-age=60");
///         Ok::<_, Infallible>(response.body(Full::new(Bytes::from_static(b"hello"))).expect("valid"))
///     }));
/// ```
#[derive(Clone, Debug)]
#[must_use]
pub struct CacheLayer {
    shared: Arc<Shared>,
}

impl CacheLayer {
    /// A cache that takes up to `capacity` bytes: bodies, fields, keys, what is
    /// noted of purges, and what the tables themselves need. Allocators keep a tenth
    /// or so on top; of a few MiB full of tiny responses, that come and go for long,
    /// more than a third.
    ///
    /// A single response may take an eighth of it: [`max_entry`](Self::max_entry).
    /// While responses are on their way their bodies take what is free, and in a full
    /// cache an eighth of the capacity, or `max_entry` if that is more, on top. When
    /// that is taken, others pass without being stored.
    pub fn new(capacity: u64) -> Self {
        let (clock, seed) = (Clock::system(), RandomState::new());
        let shared = Shared {
            store: Arc::new(Store::new(capacity)),
            flights: Flights::new(seed.clone()),
            computations: Computations::new(seed.clone()),
            loners: Arc::new(Loners::new(clock.now())),
            room: Arc::default(),
            seed,
            clock,
            max_entry: capacity / 8,
            observe: None,
            generate_etag: true,
            on_outage: OnOutage::default(),
            rules: Rules { targets: vec![CDN_CACHE_CONTROL], ..Rules::default() },
            keys: Keys::default(),
            tag_fields: TAG_FIELDS.into(),
            default_ttl: None,
            status: StatusField::new("tower-edge").map(Arc::new),
            counts: Arc::default(),
            top: Arc::default(),
        };
        Self { shared: Arc::new(shared) }
    }

    /// Stores no body of more than `bytes`.
    pub fn max_entry(self, bytes: u64) -> Self {
        self.set(|shared| shared.max_entry = bytes)
    }

    /// Makes a strong `ETag` of the content of stored responses that have none, so
    /// that clients can validate theirs; on at first. The origin is never asked
    /// for it.
    pub fn generate_etag(self, on: bool) -> Self {
        self.set(|shared| shared.generate_etag = on)
    }

    /// Treats responses that set a cookie in this way.
    pub fn set_cookie(self, set_cookie: SetCookie) -> Self {
        self.set(|shared| shared.rules.set_cookie = set_cookie)
    }

    /// Says when a stale response answers in place of a failed origin: one that
    /// gives an error, 500, 502, 503 or 504, or that a layer inside refuses to
    /// call.
    pub fn stale_on_error(self, stale_on_error: StaleOnError) -> Self {
        self.set(|shared| shared.rules.stale_on_error = stale_on_error)
    }

    /// The `stale-if-error` window of responses that do not name one; zero at
    /// first.
    pub fn stale_if_error(self, window: Duration) -> Self {
        self.set(|shared| shared.rules.stale_if_error = window)
    }

    /// The `stale-while-revalidate` window of responses that do not name one;
    /// zero at first.
    ///
    /// Within it a client is answered at once, and its request goes on as a
    /// refresh, in a task on the current tokio runtime; one at a time for each
    /// response.
    pub fn stale_while_revalidate(self, window: Duration) -> Self {
        self.set(|shared| shared.rules.stale_while_revalidate = window)
    }

    /// Reads these response fields before `Cache-Control`, the first one first
    /// (RFC 9213); `CDN-Cache-Control` at first.
    pub fn targeted_fields(self, names: impl IntoIterator<Item = HeaderName>) -> Self {
        self.set(|shared| shared.rules.targets = names.into_iter().collect())
    }

    /// Keeps the responses to users apart: requests with different keys share
    /// nothing. Requests without a key are passed on.
    ///
    /// What may be stored stays the same: `private` responses are not, nor those
    /// to `Authorization` that their origin does not give free, since a key need
    /// not be a user's. An unsafe request invalidates what all users have of its
    /// target by a purge, one of those that [`CacheHandle`] bounds; its response is
    /// not stored.
    ///
    /// ```
    /// use tower_edge_cache::CacheLayer;
    /// use tower_edge_core::HeaderKey;
    ///
    /// let layer = CacheLayer::new(256 << 20).keyed(HeaderKey::new("x-tenant".parse()?));
    /// # Ok::<(), http::header::InvalidHeaderName>(())
    /// ```
    pub fn keyed(self, key: impl ExtractKey + 'static) -> Self {
        self.set(|shared| shared.keys.user = Some(Arc::new(key)))
    }

    /// As [`keyed`](Self::keyed), by a closure.
    pub fn keyed_by<F>(self, key: F) -> Self
    where
        F: Fn(&RequestHead<'_>) -> Option<Key> + Send + Sync + 'static,
    {
        self.keyed(key)
    }

    /// Takes requests for the same whose parameters come in another order, if the
    /// values of each keep theirs; off at first.
    ///
    /// Parameters stand between `&` in the query, each up to its `=` a name, and
    /// are compared as they are written. The origin gets the query as the client
    /// sent it.
    pub fn sort_parameters(self, on: bool) -> Self {
        self.set(|shared| shared.keys.sorted = on)
    }

    /// Takes requests for the same that differ in these parameters of the query
    /// only, such as those that campaigns add; none at first.
    ///
    /// The origin gets them, and must not answer to them.
    pub fn ignore_parameters<N: Into<String>>(self, names: impl IntoIterator<Item = N>) -> Self {
        let names = names.into_iter().map(|name| name.into().into_boxed_str()).collect();
        self.set(|shared| shared.keys.ignored = names)
    }

    /// Takes the values of these response fields for tags, by which
    /// [`CacheHandle::purge_tag`] finds them; `Surrogate-Key` and `Cache-Tag` at
    /// first.
    ///
    /// Tags stand between spaces or commas. Clients get the fields as the origin
    /// sent them: a cache outside of this one may be purged by the same tags.
    pub fn tag_fields(self, names: impl IntoIterator<Item = HeaderName>) -> Self {
        self.set(|shared| shared.tag_fields = names.into_iter().collect())
    }

    /// Takes responses for fresh for `ttl` whose origin says nothing, and whose
    /// status may be cached without a word of it (RFC 9110 §15.1).
    ///
    /// Not for requests with a `Cookie`: an origin that does not think of caches
    /// may answer to that.
    pub fn default_ttl(self, ttl: Duration) -> Self {
        self.default_ttl_by(move |head| (!head.headers().contains_key(COOKIE)).then_some(ttl))
    }

    /// As [`default_ttl`](Self::default_ttl), as the request decides: `None`
    /// leaves it to a tenth of the time since `Last-Modified`.
    pub fn default_ttl_by<F>(self, ttl: F) -> Self
    where
        F: Fn(&RequestHead<'_>) -> Option<Duration> + Send + Sync + 'static,
    {
        self.set(|shared| shared.default_ttl = Some(Arc::new(ttl)))
    }

    /// The name of this cache in `Cache-Status`, or none to leave the field
    /// alone; `tower-edge` at first.
    ///
    /// # Panics
    ///
    /// If the name is empty or has a character that is not printable ASCII, a
    /// quote or a backslash.
    pub fn cache_status<'a>(self, name: impl Into<Option<&'a str>>) -> Self {
        let field =
            |name| StatusField::new(name).expect("a name is printable ASCII without quotes");
        let field = name.into().map(|name| Arc::new(field(name)));
        self.set(|shared| shared.status = field)
    }

    /// Puts a tier behind memory, which is asked for what memory lacks, and is told
    /// what is stored.
    ///
    /// Up to a sixteenth of the capacity is held beside it for what is still to be
    /// written. What finds no room there is not written, and removed where it
    /// would have replaced something. Writing is done by a task on the tokio runtime
    /// of the requests; [`CacheHandle::flush`] waits for it.
    ///
    /// # Panics
    ///
    /// If there is one already: the cache and its clones have one.
    pub fn tier(self, tier: impl Tier) -> Self {
        let store = &self.shared.store;
        let limit = usize::try_from(store.capacity() / 16).unwrap_or(usize::MAX);
        let was_free = store.back(Behind::new(Arc::new(tier), limit));
        assert!(was_free, "a cache has one tier behind memory");
        self
    }

    /// What becomes of what memory holds while nobody knows what others have purged,
    /// who share the tier behind it; [`OnOutage::Miss`] unless it is set.
    pub fn on_outage(self, on_outage: OnOutage) -> Self {
        self.set(|shared| shared.on_outage = on_outage)
    }

    /// Takes the time from `clock`.
    pub fn clock(self, clock: Clock) -> Self {
        self.set(|shared| {
            shared.clock = clock;
            shared.loners = Arc::new(Loners::new(clock.now()));
        })
    }

    /// Tells `observe` every event.
    pub fn observe(self, observe: Arc<dyn Observe>) -> Self {
        self.set(|shared| shared.observe = Some(observe))
    }

    /// A handle on this cache, which knows the settings made so far.
    pub fn handle(&self) -> CacheHandle {
        CacheHandle::new(self.shared.clone())
    }

    /// Settings made after a clone are this layer's own; the store stays shared.
    fn set(mut self, set: impl FnOnce(&mut Shared)) -> Self {
        set(Arc::make_mut(&mut self.shared));
        self
    }
}

impl<S> Layer<S> for CacheLayer {
    type Service = CacheService<S>;

    fn layer(&self, inner: S) -> Self::Service {
        CacheService::new(inner, self.shared.clone())
    }
}

const TAG_FIELDS: [HeaderName; 2] =
    [HeaderName::from_static("surrogate-key"), HeaderName::from_static("cache-tag")];
