//! The log: notes, and what others have changed.

use std::time::Duration;

use bytes::Bytes;
use redis::{Cmd, cmd};
use tower_edge_cache::{News, Notes};

use crate::address::Connection;
use crate::error::Failure;
use crate::generation::{self, draw};
use crate::log::{self, CLEAR, KEY, NODE, NOTE, Page, Position};
use crate::numbers;
use crate::shared::{Shared, bytes, millis};

impl Shared {
    /// Adds a note; gives its number.
    pub(crate) async fn note(
        &self,
        mut connection: Connection,
        note: Bytes,
    ) -> Result<u64, Failure> {
        let mut command = self.add(self.names.notes(), MOST_NOTES);
        command.arg(NOTE).arg(&note[..]);
        let reply = bytes(connection.ask(&command).await?)?;
        log::checked(&reply).and_then(numbers::number).ok_or(Failure::Foreign)
    }

    /// All notes there are, a page in each trip, and where the log was at before
    /// they were read.
    pub(crate) async fn notes(
        &self,
        mut connection: Connection,
    ) -> Result<(Notes, Position), Failure> {
        let (mut all, mut position, mut from) = (Vec::new(), None, "-".to_owned());
        loop {
            let (question, mut command) = self.log(BEGIN, PAGE, &from, "");
            command.arg(generation::text(draw()));
            let page = Page::read(&question, &bytes(connection.ask(&command).await?)?)?;
            self.generation.learn(&page.generation)?;
            position = position.or(page.end());
            let is_last = page.notes.entries.len() < PAGE;
            for told in page.notes.entries {
                from = format!("({}", numbers::id(told.number));
                all.push(told.into_entry());
            }
            if is_last || all.len() > MOST_READ {
                return Ok((numbers::notes(all), position.ok_or(Failure::Foreign)?));
            }
        }
    }

    /// What is new behind a position, and how far that goes: waits for it up to
    /// `heartbeat`.
    pub(crate) async fn news(
        &self,
        mut connection: Connection,
        position: Position,
        heartbeat: Duration,
    ) -> Result<(News, Position), Failure> {
        let [notes, changes] = [position.notes, position.changes].map(numbers::id);
        // Only to wait: the script has a checksum, and tells what was dropped.
        let mut wait = cmd("XREAD");
        wait.arg("COUNT").arg(1).arg("BLOCK").arg(millis(heartbeat).max(1)).arg("STREAMS");
        wait.arg(self.names.notes()).arg(self.names.changes()).arg(&notes).arg(&changes);
        let (notes, changes) = (format!("({notes}"), format!("({changes}"));
        let (question, read) = self.log(READ, MOST_TOLD, &notes, &changes);
        let told = connection.ask_all(vec![wait, read]).await?.pop().ok_or(Failure::Foreign)?;
        let page = Page::read(&question, &bytes(told)?)?;
        let known = self.generation.known();
        let is_lost = page.generation.is_empty();
        let is_same = !is_lost && Some(self.generation.learn(&page.generation)?) == known;
        let (mut news, position) = page.tell(&self.writer, position);
        news.missed |= !is_same;
        Ok((news, position))
    }

    /// What tells others which keys have changed, some in each command.
    pub(crate) fn tell_changed<'a>(&self, keys: impl Iterator<Item = &'a Bytes>) -> Vec<Cmd> {
        let (mut commands, mut room) = (Vec::new(), 0);
        for key in keys {
            if room == 0 {
                commands.push(self.add(self.names.changes(), MOST_CHANGES));
                room = ENTRY;
            }
            if let Some(command) = commands.last_mut() {
                command.arg(KEY).arg(&key[..]);
            }
            room = room.saturating_sub(key.len() + OVERHEAD);
        }
        commands
    }

    /// What tells others that a generation was begun.
    pub(crate) fn tell_cleared(&self, generation: &str) -> Cmd {
        let mut command = self.add(self.names.changes(), MOST_CHANGES);
        command.arg(CLEAR).arg(generation);
        command
    }

    /// Adds an entry of this node to a stream, without its fields yet.
    fn add(&self, stream: String, most: usize) -> Cmd {
        let mut command = cmd("EVAL");
        command.arg(ADD).arg(1).arg(stream).arg(most).arg(NODE).arg(&self.writer);
        command
    }

    /// A question about the log, and what it begins with.
    fn log(&self, script: &str, count: usize, notes: &str, changes: &str) -> (Vec<u8>, Cmd) {
        let question = draw().to_be_bytes().to_vec();
        let mut command = cmd("EVAL");
        command.arg(script).arg(3).arg(self.names.notes()).arg(self.names.changes());
        command.arg(self.names.generation()).arg(&question).arg(count).arg(notes).arg(changes);
        (question, command)
    }
}

/// Purges are noted where there is no memory left, too.
const ADD: &str = concat!("#!lua flags=allow-oom\n", include_str!("add.lua"));
const BEGIN: &str = concat!("#!lua flags=allow-oom\n", include_str!("log.lua"));
const READ: &str = concat!("#!lua flags=no-writes\n", include_str!("log.lua"));

/// How many notes there are, about: the oldest go.
const MOST_NOTES: usize = 65_536;

/// More are not read, however many somebody adds meanwhile.
const MOST_READ: usize = 4 * MOST_NOTES;

/// How many are read in one trip.
const PAGE: usize = 1_024;

/// How many entries tell of changes, about, each of up to so many bytes of keys, or
/// of one that is longer.
const MOST_CHANGES: usize = 4_096;
const ENTRY: usize = 16 << 10;

/// What a key counts besides its length.
const OVERHEAD: usize = 64;

/// How many entries of each stream are told at once.
const MOST_TOLD: usize = 256;
