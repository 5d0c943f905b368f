use std::io;

use hyper::upgrade::OnUpgrade;
use hyper_util::rt::TokioIo;
use tokio::io::copy_bidirectional;

/// Joins the two connections of a `101`: bytes pass both ways until both ends
/// are done.
///
/// The stop signal does not wait for tunnels: a WebSocket has no end of its own.
pub(crate) fn join(client: OnUpgrade, origin: OnUpgrade) {
    tokio::spawn(async move {
        let (client, origin) = tokio::try_join!(client, origin).map_err(io::Error::other)?;
        copy_bidirectional(&mut TokioIo::new(client), &mut TokioIo::new(origin)).await
    });
}
