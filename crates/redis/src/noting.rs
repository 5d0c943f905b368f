//! Notes: entries of a stream.

use bytes::Bytes;
use redis::{Value, cmd};
use tower_edge_cache::Notes;

use crate::address::Connection;
use crate::error::Failure;
use crate::numbers::{self, Entry};
use crate::shared::{Shared, bytes};

impl Shared {
    /// Adds a note; gives its number.
    pub(crate) async fn note(
        &self,
        mut connection: Connection,
        note: Bytes,
    ) -> Result<u64, Failure> {
        let mut command = cmd("EVAL");
        command.arg(NOTE).arg(1).arg(self.names.notes()).arg(MOST_NOTES).arg(&note[..]);
        let id = bytes(connection.ask(&command).await?)?;
        numbers::number(&id).ok_or(Failure::Foreign)
    }

    /// All notes there are, a page in each trip.
    pub(crate) async fn notes(&self, mut connection: Connection) -> Result<Notes, Failure> {
        let mut begin = cmd("EVAL");
        begin.arg(NOTE).arg(1).arg(self.names.notes()).arg(MOST_NOTES);
        connection.ask(&begin).await?;
        let (mut all, mut from) = (Vec::new(), "-".to_owned());
        loop {
            let mut page = cmd("XRANGE");
            page.arg(self.names.notes()).arg(&from).arg("+").arg("COUNT").arg(PAGE);
            let Value::Array(entries) = connection.ask(&page).await? else {
                return Err(Failure::Foreign);
            };
            let is_last = entries.len() < PAGE;
            for found in entries {
                let (id, entry) = entry(found)?;
                from = format!("({}", String::from_utf8_lossy(&id));
                all.push(entry);
            }
            if is_last || all.len() > MOST_READ {
                return Ok(numbers::notes(all));
            }
        }
    }
}

/// An entry as Redis tells it: its id, and its fields with their values.
fn entry(found: Value) -> Result<(Vec<u8>, Entry), Failure> {
    let Value::Array(parts) = found else { return Err(Failure::Foreign) };
    let Ok([id, Value::Array(fields)]) = <[Value; 2]>::try_from(parts) else {
        return Err(Failure::Foreign);
    };
    let id = bytes(id)?;
    let number = numbers::number(&id).ok_or(Failure::Foreign)?;
    let note = match <[Value; 2]>::try_from(fields) {
        Ok([Value::BulkString(name), note]) if name == b"note" => Some(bytes(note)?.into()),
        _ => None,
    };
    Ok((id, Entry { number, note }))
}

const NOTE: &str = concat!("#!lua\n", include_str!("note.lua"));

/// How many notes there are, about: the oldest go.
const MOST_NOTES: usize = 65_536;

/// More are not read, however many somebody adds meanwhile.
const MOST_READ: usize = 4 * MOST_NOTES;

/// How many are read in one trip.
const PAGE: usize = 4_096;
