//! The cache for functions.

mod computing;
mod task;
mod ttl;

use std::convert::Infallible;
use std::fmt;
use std::future::{Future, poll_fn};
use std::sync::Arc;

use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::runtime::Handle;
use tower_edge_core::Target;

pub(crate) use self::computing::Computations;
use self::computing::{Computed, Computing, Join};
use self::task::{Found, Task};
pub use self::ttl::Ttl;
use crate::purges::{Purge, Scope};
use crate::resource::{Resource, ResourceKey};
use crate::shared::Shared;
use crate::status::{Forward, Status};

/// Remembers what functions have computed, in the memory of a cache.
///
/// Values are stored as responses are: bounded together with them, in the tier
/// behind memory as well, computed once for all who want the same at the same
/// time, and given while they are stale if their [`Ttl`] says so. They are kept
/// serialized (as MessagePack), so that a hit costs what reading a value does.
///
/// ```
/// use std::time::Duration;
/// use tower_edge_cache::CacheLayer;
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), std::sync::Arc<std::io::Error>> {
/// async fn price(id: u32) -> std::io::Result<f64> {
///     // A query, say.
/// #   Ok(f64::from(id) * 1.5)
/// }
///
/// let prices = CacheLayer::new(256 << 20).handle().memo("prices");
/// let ttl = Duration::from_secs(10);
/// let seven = prices.get_or_try_compute("7", ttl, || price(7)).await?;
/// assert_eq!(seven, 10.5);
/// # Ok(())
/// # }
/// ```
///
/// # Limits
///
/// What is larger than [`max_entry`](crate::CacheLayer::max_entry), or cannot be
/// serialized, or has a key of more than some 64,000 bytes, is not stored. A value
/// of another type than the one that is stored is computed, and takes its place.
#[derive(Clone)]
pub struct Memo {
    shared: Arc<Shared>,
    /// Before each key.
    prefix: Arc<str>,
}

impl Memo {
    pub(crate) fn new(shared: Arc<Shared>, name: &str) -> Self {
        assert!(!name.contains('/'), "the name of a memo has no slash");
        Self { shared, prefix: format!("/{name}/").into() }
    }

    /// The value of a key: the one that is stored, or that another computes just
    /// now, or else what `compute` gives.
    ///
    /// # Errors
    ///
    /// What `compute` gives as an error, for all who have waited for it; it is not
    /// stored. Who waited with another type of error computes by itself.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future drops the computation, unless others wait for it: then
    /// it goes on in a task. Outside a tokio runtime one of those begins anew.
    pub async fn get_or_try_compute<T, E, F>(
        &self,
        key: &str,
        ttl: impl Into<Ttl>,
        compute: impl FnOnce() -> F + Send + 'static,
    ) -> Result<T, Arc<E>>
    where
        T: Serialize + DeserializeOwned + Send + 'static,
        E: Send + Sync + 'static,
        F: Future<Output = Result<T, E>> + Send + 'static,
    {
        let path = format!("{}{key}", self.prefix);
        let Some(key) = ResourceKey::of(&resource(&path)) else {
            return compute().await.map_err(Arc::new);
        };
        let task = Task { shared: self.shared.clone(), key, ttl: ttl.into() };
        loop {
            match task.look() {
                Found::Fresh(value) => return Ok(value),
                Found::Stale(value) => {
                    if let (Join::Lead(lead), ticket) = task.join::<T>()
                        && let Ok(runtime) = Handle::try_current()
                    {
                        let anew = task.lead::<T, E, F>(compute, Arc::new(lead), ticket);
                        runtime.spawn(async move { drop(anew.await) });
                    }
                    return Ok(value);
                }
                Found::Nothing => {}
            }
            let follow = match task.join::<T>() {
                (Join::Follow(follow), _) => follow,
                (Join::Lead(lead), ticket) => {
                    // The one before may have stored it since.
                    if let Found::Fresh(value) = task.look() {
                        return Ok(value);
                    }
                    let lead = Arc::new(lead);
                    return Computing::new(task.lead(compute, lead.clone(), ticket), lead).await;
                }
            };
            match poll_fn(|cx| follow.poll(cx)).await {
                None => continue,
                Some(Computed::Value(bytes)) => {
                    if let Ok(value) = rmp_serde::from_slice(&bytes) {
                        self.shared.count(Status::Collapsed(Forward::UriMiss));
                        return Ok(value);
                    }
                }
                Some(Computed::Failed(error)) => {
                    if let Ok(error) = error.downcast() {
                        self.shared.count(Status::Collapsed(Forward::UriMiss));
                        return Err(error);
                    }
                }
                Some(Computed::Useless) => {}
            }
            self.shared.count(Status::Forwarded(Forward::UriMiss));
            return compute().await.map_err(Arc::new);
        }
    }

    /// As [`get_or_try_compute`](Self::get_or_try_compute), where nothing fails.
    pub async fn get_or_compute<T, F>(
        &self,
        key: &str,
        ttl: impl Into<Ttl>,
        compute: impl FnOnce() -> F + Send + 'static,
    ) -> T
    where
        T: Serialize + DeserializeOwned + Send + 'static,
        F: Future<Output = T> + Send + 'static,
    {
        let compute = || async { Ok::<_, Infallible>(compute().await) };
        match self.get_or_try_compute(key, ttl, compute).await {
            Ok(value) => value,
            Err(never) => match *never {},
        }
    }

    /// Purges the value of a key, and what is being computed for it.
    ///
    /// As with [`CacheHandle::purge`](crate::CacheHandle::purge) the number of keys
    /// that can be told apart is bounded.
    pub fn purge(&self, key: &str, purge: Purge) {
        let path = format!("{}{key}", self.prefix);
        self.shared.purge(Scope::Target(resource(&path).target), purge);
    }

    /// Purges the values of all keys of this memo.
    pub fn purge_all(&self, purge: Purge) {
        self.shared.purge(Scope::Prefix(resource(&self.prefix).target), purge);
    }
}

impl fmt::Debug for Memo {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Memo").field("prefix", &self.prefix).finish_non_exhaustive()
    }
}

/// What the values at a path are stored for: no request has such an authority,
/// since it would be without what is before the `@`.
fn resource(path: &str) -> Resource<'_> {
    Resource::new(Target::from_parts("memo", Some("memo@"), path, None), None)
}
