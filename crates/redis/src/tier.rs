use std::fmt;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::task::JoinHandle;
use tower_edge_breaker::{BreakerHandle, CircuitHandle};
use tower_edge_cache::Notes;
use tower_edge_core::{Clock, Key, Stopwatch};

use crate::address::Address;
use crate::calling::breaker;
use crate::error::{Failure, UrlError};
use crate::fence::Fence;
use crate::generation::{Generation, draw};
use crate::handle::RedisHandle;
use crate::keys::Names;
use crate::link::Link;
use crate::log::Position;
use crate::shared::Shared;
use crate::trouble::Trouble;

/// A cache tier in Redis or Valkey, one node or a Cluster.
///
/// Making it connects nowhere: the first look does, and whether Redis is there or
/// not the cache works. By default a look may take 50 ms, keys begin with
/// `tower-edge:`, and records of more than 512 KiB are in chunks of that size.
///
/// ```
/// use std::time::Duration;
///
/// use tower_edge_cache::CacheLayer;
/// use tower_edge_redis::RedisTier;
///
/// # fn main() -> Result<(), tower_edge_redis::UrlError> {
/// let tier = RedisTier::new("redis+cluster://10.0.0.1,10.0.0.2:7000")?
///     .prefix("shop")
///     .deadline(Duration::from_millis(20));
/// let cache = CacheLayer::new(256 << 20).tier(tier);
/// # Ok(())
/// # }
/// ```
#[must_use]
pub struct RedisTier {
    pub(crate) plan: Plan,
    pub(crate) shared: Arc<Shared>,
    breaker: BreakerHandle,
    pub(crate) circuit: CircuitHandle,
    /// The notes that are being read.
    pub(crate) notes: Mutex<Option<Reading>>,
    /// Up to where the log is known here.
    pub(crate) position: Mutex<Option<Position>>,
}

pub(crate) type Reading = JoinHandle<Result<(Notes, Position), Failure>>;

/// What a tier is made of.
#[derive(Clone, Debug)]
pub(crate) struct Plan {
    address: Address,
    names: Names,
    pub(crate) deadline: Duration,
    pub(crate) heartbeat: Duration,
    pub(crate) lease: Duration,
    chunk: usize,
    clock: Clock,
}

impl RedisTier {
    /// A tier in the Redis at `redis://HOST:PORT` or, over TLS, `rediss://`; in a
    /// Cluster, of which some nodes are named, at `redis+cluster://HOST:PORT,HOST`
    /// or `rediss+cluster://`; or at `unix:///PATH`. Before the host there may be
    /// `USER:PASSWORD@`, behind it the number of a database.
    ///
    /// # Errors
    ///
    /// If it is none of these.
    pub fn new(url: &str) -> Result<Self, UrlError> {
        let (address, names) = (Address::parse(url)?, Names::new("tower-edge"));
        let clock = Clock::system();
        Ok(Self::of(Plan {
            address,
            names,
            deadline: DEADLINE,
            heartbeat: HEARTBEAT,
            lease: LEASE,
            chunk: CHUNK,
            clock,
        }))
    }

    /// Begins all keys with `prefix` and a colon, to tell several caches of one
    /// Redis apart.
    ///
    /// # Panics
    ///
    /// If there is a brace in it, which would say what lies in one slot.
    pub fn prefix(self, prefix: &str) -> Self {
        self.with(|plan| plan.names = Names::new(prefix))
    }

    /// Waits for a look, or for a connection that it needs, up to so long, and gives
    /// it up then: a miss. A request that needs more than a look waits for all of it no
    /// longer. Writes, for which nobody waits, get a second.
    ///
    /// # Panics
    ///
    /// If it is zero.
    pub fn deadline(self, deadline: Duration) -> Self {
        assert!(!deadline.is_zero(), "no answer takes no time");
        self.with(|plan| plan.deadline = deadline)
    }

    /// Hears something of Redis at least so often, if only that there is no news; 250
    /// ms at first. When nothing was heard for twice as long and the deadline, what
    /// memory holds is not believed any more.
    ///
    /// # Panics
    ///
    /// If it is less than a millisecond, or more than half a second.
    pub fn heartbeat(self, heartbeat: Duration) -> Self {
        let bounds = Duration::from_millis(1)..=Duration::from_millis(500);
        assert!(bounds.contains(&heartbeat), "a millisecond to half a second");
        self.with(|plan| plan.heartbeat = heartbeat)
    }

    /// Lets one node at a time fetch what all want, for so long unless it asks again;
    /// 3 seconds at first. When it dies another goes on after that.
    ///
    /// # Panics
    ///
    /// If it is less than a millisecond.
    pub fn lease_for(self, time: Duration) -> Self {
        assert!(time.as_millis() > 0, "a millisecond at least");
        self.with(|plan| plan.lease = time)
    }

    /// Keeps records of more than so many bytes in chunks of this size. They take a
    /// second trip, and hold up others for as long as a chunk takes only. Up to
    /// 4,096 of them; what is larger is not stored.
    ///
    /// # Panics
    ///
    /// If it is zero.
    pub fn chunks(self, bytes: u32) -> Self {
        assert!(bytes > 0, "a chunk has to hold something");
        self.with(|plan| plan.chunk = bytes as usize)
    }

    /// Trusts the certificates of these authorities, in PEM, in place of those that
    /// the system trusts.
    ///
    /// # Errors
    ///
    /// If they cannot be read, or if the URL does not ask for TLS.
    pub fn root_certificates(self, pem: impl Into<Vec<u8>>) -> Result<Self, UrlError> {
        let address = self.plan.address.clone().trust(pem.into())?;
        Ok(self.with(|plan| plan.address = address))
    }

    /// A handle, to see how Redis does. Take it behind the last setter.
    pub fn handle(&self) -> RedisHandle {
        RedisHandle::new(self.shared.clone(), self.breaker.clone())
    }

    fn of(plan: Plan) -> Self {
        let shared = Arc::new(plan.shared());
        let checked = shared.clone();
        let breaker = breaker(plan.clock, move || {
            let checked = checked.clone();
            async move { checked.is_well().await }
        });
        let circuit = breaker.circuit(&Key::GLOBAL);
        let (notes, position) = (Mutex::default(), Mutex::default());
        Self { plan, shared, breaker, circuit, notes, position }
    }

    fn with(mut self, set: impl FnOnce(&mut Plan)) -> Self {
        set(&mut self.plan);
        Self::of(self.plan)
    }
}

impl Plan {
    fn shared(&self) -> Shared {
        let writer = [&b"w"[..], &draw().to_be_bytes()].concat();
        Shared {
            names: self.names.clone(),
            writer,
            chunk: self.chunk,
            watch: Stopwatch::start(self.clock),
            looks: Link::new(self.address.clone()),
            writes: Link::new(self.address.clone()),
            news: Link::new(self.address.clone()),
            generation: Generation::default(),
            fence: Fence::default(),
            trouble: Trouble::default(),
        }
    }
}

impl fmt::Debug for RedisTier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RedisTier").field("plan", &self.plan).finish_non_exhaustive()
    }
}

const DEADLINE: Duration = Duration::from_millis(50);
const HEARTBEAT: Duration = Duration::from_millis(250);
const LEASE: Duration = Duration::from_secs(3);

const CHUNK: usize = 512 << 10;
