//! Writes: what is to be changed, in one trip.

use std::collections::BTreeMap;
use std::time::Duration;

use bytes::Bytes;
use redis::{Cmd, Value, cmd};
use tower_edge_cache::Change;

use crate::address::Connection;
use crate::error::Failure;
use crate::generation::{self, draw};
use crate::keys::Digest;
use crate::shared::{Shared, millis};
use crate::value::{self, MOST_CHUNKS, POINTER, Pointer};

impl Shared {
    /// Makes changes in their order, those of one key all at once.
    ///
    /// `fence` is the number of this write, and for how long it is to be known.
    pub(crate) async fn make(
        &self,
        mut connection: Connection,
        changes: Vec<Change>,
        fence: (u64, Duration),
    ) -> Result<(), Failure> {
        let is_known = |change: &Change| key_of(change).is_some();
        // Whatever else there may be: less is never wrong.
        let clear = changes.iter().rposition(|change| !is_known(change));
        if clear.is_some() {
            self.renew(&mut connection).await?;
        }
        let (mut by_key, mut keys) = (BTreeMap::<Digest, Vec<_>>::new(), BTreeMap::new());
        for change in &changes[clear.map_or(0, |at| at + 1)..] {
            if let Some(key) = key_of(change) {
                let digest = Digest::of(key);
                by_key.entry(digest).or_default().push(change);
                keys.insert(digest, key);
            }
        }
        for _ in 0..MOST_TURNS {
            let generation = self.generation(&mut connection).await?;
            let resource = |(digest, changes): (&Digest, &Vec<&Change>)| {
                self.commands(*digest, generation, changes, fence)
            };
            let commands = by_key.iter().map(resource).collect::<Result<Vec<_>, _>>()?;
            let mut last = self.tell_changed(keys.values().copied());
            last.push(self.generation_command());
            let (replies, mut last) = connection.ask_of_many(commands, last).await?;
            self.unlink(&mut connection, generation, replies).await;
            let noted = last.pop().ok_or(Failure::Foreign)?;
            // What was written to one that somebody has cleared is written again.
            if self.learn_generation(&mut connection, noted).await? == generation {
                return Ok(());
            }
        }
        Err(Failure::Moving)
    }

    /// Begins another generation: all records so far are of no use any more.
    async fn renew(&self, connection: &mut Connection) -> Result<(), Failure> {
        let (text, mut command) = (generation::text(draw()), cmd("SET"));
        command.arg(self.names.generation()).arg(&text);
        connection.ask_all(vec![command, self.tell_cleared(&text)]).await?;
        self.generation.learn(text.as_bytes()).map(drop)
    }

    /// What makes the changes of one key: its chunks first, so that nobody is sent
    /// to what is not there.
    fn commands(
        &self,
        digest: Digest,
        generation: u64,
        changes: &[&Change],
        (number, known): (u64, Duration),
    ) -> Result<Vec<Cmd>, Failure> {
        let is_put = |change: &&Change| matches!(change, Change::Put { .. });
        // What only removes is let through where there is no memory left.
        let script = if changes.iter().any(is_put) { CHANGE } else { REMOVE };
        let mut commands = Vec::new();
        let mut all = cmd("EVAL");
        all.arg(script).arg(2).arg(self.names.resource(digest, generation));
        all.arg(self.names.lease(digest));
        all.arg(&self.writer).arg(number).arg(millis(known)).arg(MOST_VARIANTS).arg(POINTER);
        for change in changes {
            match change {
                Change::Put { variant, record, keep, fence, .. } => {
                    let keep = millis(*keep);
                    let fence = fence.map_or(String::new(), |fence| fence.to_string());
                    all.arg("put").arg(&variant.to_be_bytes());
                    if record.len() <= self.chunk {
                        all.arg(value::whole(digest, record)).arg(keep).arg(fence);
                        continue;
                    }
                    let chunks = u32::try_from(record.len().div_ceil(self.chunk));
                    let chunks = chunks.ok().filter(|chunks| *chunks <= MOST_CHUNKS);
                    let chunks = chunks.ok_or(Failure::TooLarge)?;
                    let pointer = Pointer { id: draw(), length: record.len() as u64, chunks };
                    for (number, chunk) in (0..).zip(record.chunks(self.chunk)) {
                        let name = self.names.chunk(digest, generation, pointer.id, number);
                        let mut set = cmd("SET");
                        set.arg(name).arg(chunk).arg("PX").arg(keep.max(1));
                        commands.push(set);
                    }
                    all.arg(value::chunked(digest, &pointer)).arg(keep).arg(fence);
                }
                Change::Remove { variant: Some(variant), .. } => {
                    all.arg("remove").arg(&variant.to_be_bytes());
                }
                Change::Release { fence, .. } => _ = all.arg("release").arg(*fence),
                _ => _ = all.arg("all"),
            }
        }
        commands.push(all);
        Ok(commands)
    }

    /// Removes chunks to which nothing leads any more. What fails goes when its
    /// time is over.
    async fn unlink(&self, connection: &mut Connection, generation: u64, replies: Vec<Value>) {
        let gone = replies.into_iter().flat_map(|reply| match reply {
            Value::Array(gone) => gone,
            _ => Vec::new(),
        });
        let commands = gone.filter_map(|gone| {
            let Value::BulkString(gone) = gone else { return None };
            let (digest, pointer) = value::read_pointer(gone)?;
            let mut unlink = cmd("UNLINK");
            for number in 0..pointer.chunks {
                unlink.arg(self.names.chunk(digest, generation, pointer.id, number));
            }
            (pointer.chunks > 0).then(|| vec![unlink])
        });
        let commands: Vec<_> = commands.collect();
        if !commands.is_empty() {
            let last = vec![self.generation_command()];
            drop(connection.ask_of_many(commands, last).await);
        }
    }
}

/// The key that a change is about, if it is about one.
fn key_of(change: &Change) -> Option<&Bytes> {
    match change {
        Change::Put { key, .. } | Change::Remove { key, .. } | Change::Release { key, .. } => {
            Some(key)
        }
        _ => None,
    }
}

/// How often a write is made again because somebody has cleared meanwhile.
const MOST_TURNS: u32 = 4;

/// How many variants of a resource there may be, as in the memory of a cache.
const MOST_VARIANTS: u32 = 32;

const CHANGE: &str = concat!("#!lua\n", include_str!("change.lua"));
const REMOVE: &str = concat!("#!lua flags=allow-oom\n", include_str!("change.lua"));
