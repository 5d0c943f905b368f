use std::io::{self, ErrorKind};
use std::time::Duration;

use hyper::upgrade::OnUpgrade;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

use crate::connection::Link;

/// Joins the two connections, or streams, that became a tunnel: bytes pass both
/// ways until both ends are done, one takes nothing for too long, or the server
/// stops.
pub(crate) fn join(client: OnUpgrade, origin: OnUpgrade, link: Link) {
    tokio::spawn(async move {
        let patience = link.patience();
        let pass = async {
            let (client, origin) = tokio::try_join!(client, origin).map_err(io::Error::other)?;
            let (from_client, to_client) = tokio::io::split(TokioIo::new(client));
            let (from_origin, to_origin) = tokio::io::split(TokioIo::new(origin));
            tokio::try_join!(
                pass(from_client, to_origin, patience),
                pass(from_origin, to_client, patience),
            )
        };
        tokio::select! {
            _ = pass => {}
            () = link.stopped() => {}
        }
    });
}

/// Passes on what there is to read. Silence is no fault: a WebSocket may wait
/// for hours.
async fn pass(
    mut from: impl AsyncRead + Unpin,
    mut to: impl AsyncWrite + Unpin,
    patience: Duration,
) -> io::Result<()> {
    let mut buffer = vec![0; BUFFER];
    loop {
        let read = from.read(&mut buffer).await?;
        let write = async {
            match read {
                0 => to.shutdown().await,
                read => {
                    to.write_all(&buffer[..read]).await?;
                    to.flush().await
                }
            }
        };
        let written = tokio::time::timeout(patience, write).await;
        written.map_err(|_| io::Error::from(ErrorKind::TimedOut))??;
        if read == 0 {
            return Ok(());
        }
    }
}

const BUFFER: usize = 8 << 10;

#[cfg(test)]
mod tests {
    use tokio::io::duplex;

    use super::*;

    const PATIENCE: Duration = Duration::from_secs(10);

    #[tokio::test(start_paused = true)]
    async fn who_takes_nothing_ends_the_tunnel() {
        let ((mut sender, from), (to, _silent)) = (duplex(64), duplex(64));
        let sends = async { while sender.write_all(b"more").await.is_ok() {} };
        let (ended, ()) = tokio::join!(pass(from, to, PATIENCE), sends);
        assert_eq!(ended.unwrap_err().kind(), ErrorKind::TimedOut);
    }

    #[tokio::test(start_paused = true)]
    async fn silence_is_no_fault() {
        let ((mut sender, from), (to, mut receiver)) = (duplex(64), duplex(64));
        let sends = async move {
            tokio::time::sleep(PATIENCE * 100).await;
            sender.write_all(b"late").await.unwrap();
        };
        let mut received = String::new();
        let (ended, (), read) =
            tokio::join!(pass(from, to, PATIENCE), sends, receiver.read_to_string(&mut received));
        assert!(ended.is_ok() && read.is_ok());
        assert_eq!(received, "late");
    }
}
