//! What is sent over a connection.

use futures_util::future::try_join_all;
use redis::aio::ConnectionLike;
use redis::{Cmd, Pipeline, Value};

use crate::address::Connection;
use crate::error::Failure;

impl Connection {
    /// Sends one command.
    pub(crate) async fn ask(&mut self, command: &Cmd) -> Result<Value, Failure> {
        let reply = match self {
            // As the other does it, which boxes the future.
            Self::One(connection) => connection.send_packed_command(command).await,
            Self::Cluster(connection) => connection.req_packed_command(command).await,
        };
        match reply? {
            Value::ServerError(error) => Err(Failure::Redis(error.into())),
            reply => Ok(reply),
        }
    }

    /// Sends commands about one resource at once; their replies in order.
    pub(crate) async fn ask_all(&mut self, commands: Vec<Cmd>) -> Result<Vec<Value>, Failure> {
        let count = commands.len();
        let mut pipeline = Pipeline::with_capacity(count);
        commands.into_iter().for_each(|command| _ = pipeline.add_command(command));
        let replies = match self {
            Self::One(connection) => connection.req_packed_commands(&pipeline, 0, count).await,
            Self::Cluster(connection) => connection.req_packed_commands(&pipeline, 0, count).await,
        }?;
        match replies.iter().find_map(|reply| match reply {
            Value::ServerError(error) => Some(error.clone()),
            _ => None,
        }) {
            Some(error) => Err(Failure::Redis(error.into())),
            None if replies.len() == count => Ok(replies),
            None => Err(Failure::Foreign),
        }
    }

    /// Sends commands about several resources and, behind all of them, some about
    /// the log: in one trip to one node; to a Cluster in one to each, and one more.
    /// The replies to the first, and those to the last.
    pub(crate) async fn ask_of_many(
        &mut self,
        resources: Vec<Vec<Cmd>>,
        last: Vec<Cmd>,
    ) -> Result<(Vec<Value>, Vec<Value>), Failure> {
        match self {
            Self::One(_) => {
                let at = resources.iter().map(Vec::len).sum();
                let all = resources.into_iter().flatten().chain(last).collect();
                let mut replies = self.ask_all(all).await?;
                let last = replies.split_off(at);
                Ok((replies, last))
            }
            Self::Cluster(connection) => {
                let each = resources.into_iter().map(|commands| {
                    let mut connection = Self::Cluster(connection.clone());
                    async move { connection.ask_all(commands).await }
                });
                let replies = try_join_all(each).await?.into_iter().flatten().collect();
                Ok((replies, self.ask_all(last).await?))
            }
        }
    }
}
