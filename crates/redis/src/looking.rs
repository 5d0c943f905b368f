//! Looks: what there is of a resource.

use bytes::{Bytes, BytesMut};
use redis::{Cmd, Value, cmd};

use crate::address::Connection;
use crate::error::Failure;
use crate::keys::Digest;
use crate::shared::{Shared, bytes};
use crate::value::{self, Pointer, Stored};

impl Shared {
    /// The records of a key, in one trip, and one more for those in chunks.
    pub(crate) async fn look(
        &self,
        mut connection: Connection,
        digest: Digest,
    ) -> Result<Vec<Bytes>, Failure> {
        let generation = self.generation(&mut connection).await?;
        let command = self.look_command(digest, generation);
        let (mut records, pointers) = fields(digest, connection.ask(&command).await?)?;
        if !pointers.is_empty() {
            // Boxed, not to make each look as large.
            let chunks = Box::pin(self.chunks(connection, digest, generation, pointers));
            records.extend(chunks.await?);
        }
        Ok(records)
    }

    fn look_command(&self, digest: Digest, generation: u64) -> Cmd {
        let name = self.names.resource(digest, generation);
        let mut command = Cmd::with_capacity(2, ALL.len() + name.len());
        command.arg(ALL).arg(name);
        command
    }

    /// The records that are in chunks; those of which something lacks are left out.
    async fn chunks(
        &self,
        mut connection: Connection,
        digest: Digest,
        generation: u64,
        pointers: Vec<Pointer>,
    ) -> Result<Vec<Bytes>, Failure> {
        let names = pointers.iter().flat_map(|pointer| {
            let name = |number| self.names.chunk(digest, generation, pointer.id, number);
            (0..pointer.chunks).map(name)
        });
        let commands = names.map(|name| {
            let mut command = cmd("GET");
            command.arg(name);
            command
        });
        let mut replies = connection.ask_all(commands.collect()).await?.into_iter();
        let mut records = Vec::with_capacity(pointers.len());
        for pointer in pointers {
            let chunks: Vec<_> = replies.by_ref().take(pointer.chunks as usize).collect();
            records.extend(joined(&pointer, &chunks));
        }
        Ok(records)
    }
}

/// What the fields hold: records, and where others are. Beside those of variants there
/// may be some with the number of a write.
fn fields(digest: Digest, reply: Value) -> Result<(Vec<Bytes>, Vec<Pointer>), Failure> {
    let Value::Array(values) = reply else { return Err(Failure::Foreign) };
    let (mut records, mut pointers) = (Vec::with_capacity(values.len()), Vec::new());
    for value in values {
        let value = bytes(value)?;
        if value::is_number(&value) {
            continue;
        }
        match value::read(digest, value).ok_or(Failure::Foreign)? {
            Stored::Whole(record) => records.push(record),
            Stored::Chunked(pointer) => pointers.push(pointer),
        }
    }
    Ok((records, pointers))
}

/// A record of its chunks, if they are all there and of the length that was told.
fn joined(pointer: &Pointer, chunks: &[Value]) -> Option<Bytes> {
    let chunk = |value: &Value| match value {
        Value::BulkString(bytes) => Some(bytes.len() as u64),
        _ => None,
    };
    let length: Option<u64> = chunks.iter().map(chunk).sum();
    if length != Some(pointer.length) {
        return None;
    }
    let mut record = BytesMut::with_capacity(usize::try_from(pointer.length).ok()?);
    for chunk in chunks {
        if let Value::BulkString(bytes) = chunk {
            record.extend_from_slice(bytes);
        }
    }
    Some(record.freeze())
}

/// The command for what all fields of a hash hold.
const ALL: &str = "HVALS";

#[cfg(test)]
mod tests {
    use super::*;

    fn text(text: &str) -> Value {
        Value::BulkString(text.into())
    }

    #[test]
    fn only_all_chunks_of_the_right_length_are_a_record() {
        let pointer = Pointer { id: 1, length: 4, chunks: 2 };
        let joined = |chunks: &[Value]| joined(&pointer, chunks);
        assert_eq!(joined(&[text("abc"), text("d")]).as_deref(), Some(&b"abcd"[..]));
        for lacking in [
            &[text("abc"), text("de")][..],
            &[text("abc"), text("")],
            &[text("abc"), Value::Nil],
            &[text("abcd"), Value::Nil],
            &[text("abc"), Value::Int(4)],
            &[],
        ] {
            assert_eq!(joined(lacking), None, "{lacking:?}");
        }
    }

    #[test]
    fn an_answer_to_another_question_is_found_out() {
        let (digest, other) = (Digest::of(b"k"), Digest::of(b"l"));
        let value = |digest| Value::BulkString(value::whole(digest, b"record"));
        let pointer = Pointer { id: 1, length: 2, chunks: 3 };
        let chunked = Value::BulkString(value::chunked(digest, &pointer));
        let of = |values| fields(digest, Value::Array(values)).ok();
        assert_eq!(of(vec![]), Some((vec![], vec![])));
        let (records, pointers) = (vec!["record".into()], vec![pointer]);
        assert_eq!(of(vec![text("3"), value(digest), chunked]), Some((records, pointers)));
        for foreign in [value(other), Value::Int(1), text(""), text("3a"), text("OK")] {
            assert_eq!(of(vec![foreign.clone()]), None, "{foreign:?}");
        }
        assert!(fields(digest, Value::Okay).is_err() && fields(digest, Value::Nil).is_err());
    }
}
