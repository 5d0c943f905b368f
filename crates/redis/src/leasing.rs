//! Leases: who of several nodes is to fetch a resource.

use std::time::Duration;

use redis::cmd;
use tower_edge_cache::Lease;

use crate::address::Connection;
use crate::error::Failure;
use crate::keys::Digest;
use crate::log::checked;
use crate::shared::{Shared, bytes, millis};

impl Shared {
    /// Asks for the right to fetch a resource, or to keep it, for so long.
    pub(crate) async fn lease(
        &self,
        mut connection: Connection,
        digest: Digest,
        lasts: Duration,
    ) -> Result<Lease, Failure> {
        let mut command = cmd("EVAL");
        command.arg(LEASE).arg(1).arg(self.names.lease(digest)).arg(&self.writer);
        command.arg(millis(lasts)).arg(millis(KNOWN));
        let reply = bytes(connection.ask(&command).await?)?;
        match checked(&reply).and_then(|told| std::str::from_utf8(told).ok()) {
            Some("taken") => Ok(Lease::Taken),
            Some(fence) => {
                let fence = fence.parse().map_err(|_| Failure::Foreign)?;
                Ok(Lease::Held { fence, lasts })
            }
            None => Err(Failure::Foreign),
        }
    }
}

const LEASE: &str = concat!("#!lua\n", include_str!("lease.lua"));

/// How long a lease is known after it has ended, to tell a put under it from those
/// under later ones.
const KNOWN: Duration = Duration::from_secs(60);
