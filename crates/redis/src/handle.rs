use std::sync::Arc;

use redis::{Cmd, Value, cmd};
use tokio::time::timeout;
use tower_edge_breaker::BreakerHandle;
use tower_edge_core::BoxError;

use crate::address::{CONNECTING, Connection};
use crate::error::Failure;
use crate::shared::Shared;

/// Looks into the Redis behind a tier; from [`RedisTier::handle`](crate::RedisTier::handle).
#[derive(Clone, Debug)]
pub struct RedisHandle {
    shared: Arc<Shared>,
    breaker: BreakerHandle,
}

/// What a Redis has, or all masters of a Cluster together.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct RedisStats {
    /// Connections of clients, of this one and of others.
    pub clients: u64,
    /// The memory in use, in bytes.
    pub memory: u64,
    /// The memory that may be in use, in bytes; 0 where it is not bounded.
    pub memory_limit: u64,
    /// Keys, of this tier and of others, in the database that it uses.
    pub keys: u64,
    /// Keys that were evicted since it was started.
    pub evicted: u64,
}

impl RedisHandle {
    pub(crate) fn new(shared: Arc<Shared>, breaker: BreakerHandle) -> Self {
        Self { shared, breaker }
    }

    /// The circuit in front: whether it is open, and how often it was asked in vain.
    pub fn breaker(&self) -> &BreakerHandle {
        &self.breaker
    }

    /// Asks Redis what it has, whatever the circuit says; a second at most.
    ///
    /// # Errors
    ///
    /// If it does not answer, or does not let who asks.
    pub async fn stats(&self) -> Result<RedisStats, BoxError> {
        let asked = async {
            let (_, mut connection) = self.shared.writes.open().await?;
            let (info, keys) = (connection.of_all(cmd("INFO")), cmd("DBSIZE"));
            let info = info.await?;
            let keys = connection.of_all(keys).await?;
            Ok::<_, Failure>((info, keys))
        };
        let (info, keys) = timeout(CONNECTING, asked).await.unwrap_or(Err(Failure::Late))?;
        let mut stats = RedisStats::default();
        info.iter().for_each(|info| stats.add(info));
        let number = |reply: &Value| match reply {
            Value::Int(number) => u64::try_from(*number).unwrap_or_default(),
            _ => 0,
        };
        stats.keys = keys.iter().map(number).sum();
        Ok(stats)
    }
}

impl RedisStats {
    /// Adds what `INFO` tells of a node.
    fn add(&mut self, info: &Value) {
        let text = match info {
            Value::BulkString(text) => String::from_utf8_lossy(text),
            Value::VerbatimString { text, .. } => text.into(),
            _ => return,
        };
        let number = |name: &str| {
            let value = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
            value.and_then(|value| value.trim().parse::<u64>().ok()).unwrap_or_default()
        };
        self.clients += number("connected_clients");
        self.memory += number("used_memory");
        self.memory_limit += number("maxmemory");
        self.evicted += number("evicted_keys");
    }
}

impl Connection {
    /// The answers of all masters.
    async fn of_all(&mut self, command: Cmd) -> Result<Vec<Value>, Failure> {
        match self.ask(&command).await? {
            // One for each node of a Cluster, by its address.
            Value::Map(nodes) => Ok(nodes.into_iter().map(|(_, answer)| answer).collect()),
            answer => Ok(vec![answer]),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_nodes_tell_is_added_up() {
        let info = "# Clients\r\nconnected_clients:3\r\nused_memory:1000\r\n\
                    used_memory_human:1K\r\nmaxmemory:0\r\nevicted_keys:7\r\n";
        let mut stats = RedisStats::default();
        stats.add(&Value::BulkString(info.into()));
        let format = redis::VerbatimFormat::Text;
        stats.add(&Value::VerbatimString { format, text: info.into() });
        stats.add(&Value::Nil);
        let RedisStats { clients, memory, memory_limit, keys, evicted } = stats;
        assert_eq!((clients, memory, memory_limit, keys, evicted), (6, 2_000, 0, 0, 14));
    }
}
