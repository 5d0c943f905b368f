//! What Redis is asked, and its answers.

use std::time::Duration;

use redis::{Cmd, ErrorKind, ServerErrorKind, cmd};
use sha1::{Digest as _, Sha1};
use tower_edge_core::Key;
use tower_edge_limit::{Take, Taken};

use super::units::Units;
use crate::address::Connection;
use crate::error::Failure;
use crate::generation::{self, draw};
use crate::keys::{Digest, Names};
use crate::log::checked;
use crate::shared::{bytes, millis};

/// A script, and by what Redis knows it.
#[derive(Clone, Debug)]
pub(super) struct Script {
    text: &'static str,
    digest: String,
}

/// The scripts for quotas.
#[derive(Clone, Debug)]
pub(super) struct Scripts {
    take: Script,
    nodes: Script,
}

impl Scripts {
    pub(super) fn new() -> Self {
        Self { take: Script::new(TAKE), nodes: Script::new(NODES) }
    }

    /// Settles and takes, in one trip.
    pub(super) async fn take(
        &self,
        mut connection: Connection,
        names: &Names,
        key: &Key,
        takes: &[Take<'_>],
        together: bool,
    ) -> Result<Vec<Taken>, Failure> {
        let (digest, question) = (digest(key), generation::text(draw()));
        let units = takes.iter().map(Units::new).collect::<Result<Vec<_>, _>>()?;
        let ask = |command: &mut Cmd| {
            command.arg(takes.len());
            takes.iter().for_each(|take| _ = command.arg(names.quota(digest, take.name)));
            command.arg(&question).arg(if together { "all" } else { "some" });
            for (take, units) in takes.iter().zip(&units) {
                command.arg(units.permit).arg(units.micro).arg(units.reach).arg(units.full);
                command.arg(take.back).arg(take.charge).arg(take.ask);
            }
        };
        let reply = self.take.run(&mut connection, ask).await?;
        let mut numbers = answer(&question, &reply)?;
        let mut next = || numbers.next().ok_or(Failure::Foreign)?;
        let taken = takes.iter().zip(&units).map(|(take, units)| {
            let granted = u32::try_from(next()?).map_err(|_| Failure::Foreign)?;
            let used = units.time(next()?);
            Ok(Taken { granted: granted.min(take.ask), used })
        });
        taken.collect()
    }

    /// Notes that a node is there, for so long; tells how many are.
    pub(super) async fn nodes(
        &self,
        mut connection: Connection,
        names: &Names,
        node: &str,
        lasts: Duration,
    ) -> Result<u32, Failure> {
        let question = generation::text(draw());
        let ask = |command: &mut Cmd| {
            command.arg(1).arg(names.nodes()).arg(&question).arg(node).arg(millis(lasts));
        };
        let reply = self.nodes.run(&mut connection, ask).await?;
        let number = answer(&question, &reply)?.next().ok_or(Failure::Foreign)??;
        u32::try_from(number).map_err(|_| Failure::Foreign)
    }
}

impl Script {
    fn new(text: &'static str) -> Self {
        let digest = Sha1::digest(text).iter().map(|byte| format!("{byte:02x}")).collect();
        Self { text, digest }
    }

    /// Runs it by its digest, or tells it where it is not known yet.
    async fn run(
        &self,
        connection: &mut Connection,
        ask: impl Fn(&mut Cmd),
    ) -> Result<Vec<u8>, Failure> {
        let mut known = cmd("EVALSHA");
        ask(known.arg(&self.digest));
        let reply = match connection.ask(&known).await {
            Err(Failure::Redis(error))
                if error.kind() == ErrorKind::Server(ServerErrorKind::NoScript) =>
            {
                let mut told = cmd("EVAL");
                ask(told.arg(self.text));
                connection.ask(&told).await?
            }
            reply => reply?,
        };
        bytes(reply)
    }
}

/// What stands for a key: its bytes, and whether they are a digest.
pub(super) fn digest(key: &Key) -> Digest {
    let mut bytes = vec![u8::from(key.is_digest())];
    bytes.extend_from_slice(key.as_bytes());
    Digest::of(&bytes)
}

/// The numbers that answer a question.
fn answer<'a>(
    question: &str,
    reply: &'a [u8],
) -> Result<impl Iterator<Item = Result<u64, Failure>> + use<'a>, Failure> {
    let text = checked(reply).and_then(|text| std::str::from_utf8(text).ok());
    let mut words = text.ok_or(Failure::Foreign)?.split(' ');
    match words.next() == Some(question) {
        true => Ok(words.map(|word| word.parse().map_err(|_| Failure::Foreign))),
        false => Err(Failure::Foreign),
    }
}

/// They take little, and go by themselves; without them nobody could be counted where
/// there is no memory left.
const TAKE: &str = concat!("#!lua flags=allow-oom\n", include_str!("take.lua"));
const NODES: &str = concat!("#!lua flags=allow-oom\n", include_str!("nodes.lua"));
