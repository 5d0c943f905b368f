//! What a field holds: a record, or where its chunks are.
//!
//! A version and the digest of the key come first, so that a reply which belongs
//! to another question is found out.

use bytes::{Buf, Bytes};

use crate::keys::{DIGEST, Digest};

/// What was read from a field.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Stored {
    /// The record.
    Whole(Bytes),
    /// Where it is.
    Chunked(Pointer),
}

/// A record in chunks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Pointer {
    pub(crate) id: u64,
    pub(crate) length: u64,
    pub(crate) chunks: u32,
}

/// A record as it is written.
pub(crate) fn whole(digest: Digest, record: &[u8]) -> Vec<u8> {
    let mut value = Vec::with_capacity(START + record.len());
    value.push(WHOLE);
    value.extend_from_slice(&digest.0);
    value.extend_from_slice(record);
    value
}

/// Where a record is, as it is written.
pub(crate) fn chunked(digest: Digest, pointer: &Pointer) -> Vec<u8> {
    let mut value = Vec::with_capacity(POINTER);
    value.push(CHUNKED);
    value.extend_from_slice(&digest.0);
    value.extend_from_slice(&pointer.id.to_be_bytes());
    value.extend_from_slice(&pointer.length.to_be_bytes());
    value.extend_from_slice(&pointer.chunks.to_be_bytes());
    value
}

/// Reads what was written for this key; `None` if it was not.
pub(crate) fn read(digest: Digest, value: Vec<u8>) -> Option<Stored> {
    let (&version, rest) = value.split_first()?;
    let (of, rest) = rest.split_first_chunk::<DIGEST>()?;
    match version {
        _ if *of != digest.0 => None,
        WHOLE => {
            let mut record = Bytes::from(value);
            record.advance(START);
            Some(Stored::Whole(record))
        }
        CHUNKED => pointer(rest).map(Stored::Chunked),
        _ => None,
    }
}

/// Whether it is the number of a write, which no version begins as.
pub(crate) fn is_number(value: &[u8]) -> bool {
    !value.is_empty() && value.iter().all(u8::is_ascii_digit)
}

/// Reads where a record was, and whose; `None` if it was not in chunks.
pub(crate) fn read_pointer(value: Vec<u8>) -> Option<(Digest, Pointer)> {
    let digest = Digest(*value.get(1..)?.first_chunk()?);
    match read(digest, value)? {
        Stored::Chunked(pointer) => Some((digest, pointer)),
        Stored::Whole(_) => None,
    }
}

fn pointer(bytes: &[u8]) -> Option<Pointer> {
    let (id, rest) = bytes.split_first_chunk()?;
    let (length, rest) = rest.split_first_chunk()?;
    let (id, length) = (u64::from_be_bytes(*id), u64::from_be_bytes(*length));
    let chunks = u32::from_be_bytes(*rest.first_chunk()?);
    let fits = rest.len() == 4 && chunks <= MOST_CHUNKS;
    fits.then_some(Pointer { id, length, chunks })
}

/// How many chunks a record may have.
pub(crate) const MOST_CHUNKS: u32 = 4_096;

/// The length of a field that says where a record is.
pub(crate) const POINTER: usize = START + 8 + 8 + 4;

/// Where a record begins.
const START: usize = 1 + DIGEST;

/// The version of the layout in the upper half.
const WHOLE: u8 = 0x10;
const CHUNKED: u8 = 0x11;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn what_was_written_is_read_for_its_key_only(
            record in prop::collection::vec(any::<u8>(), 0..99), id: u64, length: u64, chunks in 0..=MOST_CHUNKS,
        ) {
            let (digest, other) = (Digest::of(b"k"), Digest::of(b"l"));
            let pointer = Pointer { id, length, chunks };
            let values = [
                (whole(digest, &record), Stored::Whole(record.into())),
                (chunked(digest, &pointer), Stored::Chunked(pointer)),
            ];
            for (value, stored) in values {
                prop_assert_eq!(read(other, value.clone()), None);
                prop_assert_eq!(read(digest, value), Some(stored));
            }
        }

        #[test]
        fn what_is_made_up_is_read_or_not_but_never_a_panic(
            mut made in prop::collection::vec(any::<u8>(), 0..60), real: bool,
        ) {
            let digest = Digest::of(b"k");
            if real && made.len() >= START {
                made[1..START].copy_from_slice(&digest.0);
            }
            if let Some(Stored::Chunked(pointer)) = read(digest, made) {
                prop_assert!(pointer.chunks <= MOST_CHUNKS);
            }
        }
    }

    #[test]
    fn a_pointer_has_the_length_that_it_is_known_by() {
        let pointer = Pointer { id: 1, length: 2, chunks: 3 };
        let value = chunked(Digest::of(b"k"), &pointer);
        assert_eq!(value.len(), POINTER);
        assert_eq!(read(Digest::of(b"k"), value[..POINTER - 1].to_vec()), None);
    }
}
