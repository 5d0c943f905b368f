//! One node at a time fetches what several want.

use std::fmt;
use std::sync::Arc;

use tokio::task::AbortHandle;
use tokio::time::sleep;
use tower_edge_core::BoxError;

use super::Lease;
use super::behind::Behind;
use crate::resource::ResourceKey;
use crate::shared::Shared;
use crate::sync::lock;

/// The right to fetch what a key stands for; it is renewed until this is dropped,
/// and then given back.
///
/// Boxed: all that might have one is moved with each look, and few have.
pub(crate) struct Hold(Box<Held>);

struct Held {
    shared: Shared,
    behind: Arc<Behind>,
    key: ResourceKey,
    fence: u64,
    renewal: AbortHandle,
}

impl Shared {
    /// Asks for the right to fetch a key; `None` if another node has it.
    pub(crate) async fn lease(
        &self,
        behind: &Arc<Behind>,
        key: &ResourceKey,
    ) -> Result<Option<Hold>, BoxError> {
        let bytes = key.to_bytes();
        let lease = behind.tier.lease(&bytes).await;
        let lease = lease.inspect_err(|_| self.tell_tier_failed(behind, "lease"))?;
        let Lease::Held { fence, lasts } = lease else { return Ok(None) };
        lock(&behind.pending).hold(key, fence);
        let (shared, key, held) = (self.clone(), key.clone(), behind.clone());
        let renewal = tokio::spawn(async move {
            loop {
                sleep(lasts / 3).await;
                if !matches!(held.tier.lease(&bytes).await, Ok(Lease::Held { .. })) {
                    return;
                }
            }
        });
        let renewal = renewal.abort_handle();
        let behind = behind.clone();
        Ok(Some(Hold(Box::new(Held { shared, behind, key, fence, renewal }))))
    }
}

impl Drop for Hold {
    fn drop(&mut self) {
        let Held { shared, behind, key, fence, renewal } = &*self.0;
        renewal.abort();
        lock(&behind.pending).release(key, *fence);
        shared.write_behind();
    }
}

impl fmt::Debug for Hold {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Hold").field("fence", &self.0.fence).finish_non_exhaustive()
    }
}
