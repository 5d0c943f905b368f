use std::time::Duration;

use futures_util::future::join;
use redis::{Cmd, Value, cmd};
use tokio::time::timeout;
use tower_edge_core::Stopwatch;

use crate::address::{CONNECTING, Connection};
use crate::error::Failure;
use crate::fence::Fence;
use crate::generation::{self, Generation, draw};
use crate::keys::Names;
use crate::link::Link;
use crate::trouble::Trouble;

/// What calls and health checks share.
#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) names: Names,
    /// Who writes, as a field beside those of variants, of another length.
    pub(crate) writer: Vec<u8>,
    /// The length of a chunk, in bytes.
    pub(crate) chunk: usize,
    pub(crate) watch: Stopwatch,
    /// For looks, so that no write holds them up.
    pub(crate) looks: Link,
    pub(crate) writes: Link,
    /// For news, which are waited for.
    pub(crate) news: Link,
    pub(crate) generation: Generation,
    pub(crate) fence: Fence,
    pub(crate) trouble: Trouble,
}

impl Shared {
    /// The generation that is known, or was just asked for.
    pub(crate) async fn generation(&self, connection: &mut Connection) -> Result<u64, Failure> {
        match self.generation.known() {
            Some(known) => Ok(known),
            // Rare, and not to make each look larger.
            None => Box::pin(self.ask_generation(connection)).await,
        }
    }

    pub(crate) async fn ask_generation(&self, connection: &mut Connection) -> Result<u64, Failure> {
        let reply = connection.ask(&self.generation_command()).await?;
        self.learn_generation(connection, reply).await
    }

    /// Asks for the generation that is noted; in a way that is answered where there
    /// is no memory left.
    pub(crate) fn generation_command(&self) -> Cmd {
        let mut command = cmd("GET");
        command.arg(self.names.generation());
        command
    }

    /// Learns the generation from the reply; notes one if there is none.
    pub(crate) async fn learn_generation(
        &self,
        connection: &mut Connection,
        reply: Value,
    ) -> Result<u64, Failure> {
        if let Value::BulkString(noted) = reply {
            return self.generation.learn(&noted);
        }
        let (text, mut command) = (generation::text(draw()), cmd("SET"));
        command.arg(self.names.generation()).arg(&text).arg("NX").arg("GET");
        match connection.ask(&command).await? {
            Value::Nil => self.generation.learn(text.as_bytes()),
            // Somebody was faster.
            noted => self.generation.learn(&bytes(noted)?),
        }
    }

    /// Whether Redis is well again; connects if need be.
    pub(crate) async fn is_well(&self) -> bool {
        let (looks, writes) = join(self.check(&self.looks), self.check(&self.writes)).await;
        looks && writes
    }

    /// Logs how a call ended, if that is news.
    pub(crate) fn tell(&self, link: &Link, failure: Option<&Failure>) {
        self.trouble.tell(link.address(), failure, "the cache goes", || self.watch.nanos());
    }

    async fn check(&self, link: &Link) -> bool {
        let Ok((number, mut connection)) = link.open().await else { return false };
        let asked = timeout(CONNECTING, self.ask_generation(&mut connection)).await;
        let is_well = matches!(asked, Ok(Ok(_)));
        if !is_well {
            link.give_up(number);
        }
        is_well
    }
}

/// The bytes of a reply.
pub(crate) fn bytes(reply: Value) -> Result<Vec<u8>, Failure> {
    match reply {
        Value::BulkString(bytes) => Ok(bytes),
        _ => Err(Failure::Foreign),
    }
}

/// In milliseconds, up to a time that is as good as for ever.
pub(crate) fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(FOR_EVER).min(FOR_EVER)
}

/// Ten years, in milliseconds.
const FOR_EVER: u64 = 10 * 365 * 86_400_000;
