use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use redis::cmd;
use tower_edge_breaker::{BreakerHandle, CircuitHandle};
use tower_edge_core::{Clock, Key, Stopwatch};
use tower_edge_limit::{QuotaStore, StoreFuture, Take, Taken};

use super::asking::{Scripts, digest};
use crate::address::{Address, CONNECTING, Connection};
use crate::calling::{breaker, call};
use crate::error::{Failure, UrlError};
use crate::generation::{self, draw};
use crate::keys::Names;
use crate::link::Link;
use crate::trouble::Trouble;

/// Quotas in Redis or Valkey, one node or a Cluster, for all who use the same.
///
/// Making it connects nowhere: the first request does. By default a request waits for
/// an answer up to 50 ms, and keys begin with `tower-edge:`. A clone counts as the same
/// node: give one to each layer of a process.
///
/// ```
/// use tower_edge_core::ClientIp;
/// use tower_edge_limit::{Limit, OnOutage, Quota, RateLimitLayer, nonzero};
/// use tower_edge_redis::RedisQuotas;
///
/// # fn main() -> Result<(), tower_edge_redis::UrlError> {
/// let clients = Limit::new("client", Quota::per_second(nonzero!(100))).keyed(ClientIp::peer());
/// let layer = RateLimitLayer::new(clients)
///     .store(RedisQuotas::new("redis+cluster://10.0.0.1,10.0.0.2:7000")?.prefix("shop"))
///     .on_outage(OnOutage::Local);
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
#[must_use]
pub struct RedisQuotas {
    plan: Plan,
    shared: Arc<Shared>,
    breaker: BreakerHandle,
    circuit: CircuitHandle,
}

impl RedisQuotas {
    /// Quotas in the Redis at this URL, as [`RedisTier::new`](crate::RedisTier::new) has
    /// it.
    ///
    /// # Errors
    ///
    /// If it is none of these.
    pub fn new(url: &str) -> Result<Self, UrlError> {
        let address = Address::parse(url)?;
        Ok(Self::of(Plan { address, names: Names::new("tower-edge"), deadline: DEADLINE }))
    }

    /// Begins all keys with `prefix` and a colon: who has the same prefix, and the same
    /// names for its limits, shares quotas.
    ///
    /// # Panics
    ///
    /// If there is a brace in it, which would say what lies in one slot.
    pub fn prefix(self, prefix: &str) -> Self {
        self.with(|plan| plan.names = Names::new(prefix))
    }

    /// Lets a request wait for an answer, or for a connection that it needs, up to so
    /// long.
    ///
    /// # Panics
    ///
    /// If it is zero.
    pub fn deadline(self, deadline: Duration) -> Self {
        assert!(!deadline.is_zero(), "no answer takes no time");
        self.with(|plan| plan.deadline = deadline)
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

    /// The circuit in front: whether it is open, and how often it was asked in vain.
    /// Take it behind the last setter.
    pub fn breaker(&self) -> &BreakerHandle {
        &self.breaker
    }

    fn of(plan: Plan) -> Self {
        let clock = Clock::system();
        let shared = Arc::new(Shared {
            names: plan.names.clone(),
            node: generation::text(draw()),
            scripts: Scripts::new(),
            watch: Stopwatch::start(clock),
            link: Link::new(plan.address.clone()),
            trouble: Trouble::default(),
        });
        let checked = shared.clone();
        let breaker = breaker(clock, move || {
            let checked = checked.clone();
            async move { checked.is_well().await }
        });
        let circuit = breaker.circuit(&Key::GLOBAL);
        Self { plan, shared, breaker, circuit }
    }

    fn with(mut self, set: impl FnOnce(&mut Plan)) -> Self {
        set(&mut self.plan);
        Self::of(self.plan)
    }

    async fn ask<T, F>(&self, work: impl FnOnce(Connection) -> F) -> Result<T, Failure>
    where
        F: Future<Output = Result<T, Failure>>,
    {
        let Shared { link, trouble, watch, .. } = &*self.shared;
        let done = call(&self.circuit, link, self.plan.deadline, work).await;
        let failure = done.as_ref().err();
        trouble.tell(link.address(), failure, "quotas go", || watch.nanos());
        done
    }
}

impl QuotaStore for RedisQuotas {
    fn take<'a>(
        &'a self,
        key: &'a Key,
        takes: &'a [Take<'a>],
        together: bool,
    ) -> StoreFuture<'a, Vec<Taken>> {
        let Shared { scripts, names, .. } = &*self.shared;
        let take = move |connection| scripts.take(connection, names, key, takes, together);
        Box::pin(async move { Ok(self.ask(take).await?) })
    }

    fn reset<'a>(&'a self, key: &'a Key, name: &'a str) -> StoreFuture<'a, ()> {
        let mut command = cmd("UNLINK");
        command.arg(self.shared.names.quota(digest(key), name));
        let unlink = async move |mut connection: Connection| connection.ask(&command).await;
        Box::pin(async move { Ok(self.ask(unlink).await.map(drop)?) })
    }

    fn nodes(&self) -> StoreFuture<'_, u32> {
        let count = |connection| self.shared.count(connection);
        Box::pin(async move { Ok(self.ask(count).await?) })
    }

    fn deadline(&self) -> Duration {
        self.plan.deadline
    }
}

impl fmt::Debug for RedisQuotas {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RedisQuotas").field("plan", &self.plan).finish_non_exhaustive()
    }
}

/// What a store is made of.
#[derive(Clone, Debug)]
struct Plan {
    address: Address,
    names: Names,
    deadline: Duration,
}

/// What clones and health checks share.
#[derive(Debug)]
struct Shared {
    names: Names,
    /// What this node is called.
    node: String,
    scripts: Scripts,
    watch: Stopwatch,
    link: Link,
    trouble: Trouble,
}

impl Shared {
    async fn count(&self, connection: Connection) -> Result<u32, Failure> {
        self.scripts.nodes(connection, &self.names, &self.node, KNOWN).await
    }

    /// Whether Redis is well again; connects if need be.
    async fn is_well(&self) -> bool {
        let Ok((number, connection)) = self.link.open().await else { return false };
        let counted = tokio::time::timeout(CONNECTING, self.count(connection)).await;
        let is_well = matches!(counted, Ok(Ok(_)));
        if !is_well {
            self.link.give_up(number);
        }
        is_well
    }
}

const DEADLINE: Duration = Duration::from_millis(50);

/// How long a node is counted of which nothing is heard.
const KNOWN: Duration = Duration::from_secs(5);
