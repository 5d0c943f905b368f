//! The numbers of notes: the ids of a stream, in one number each.
//!
//! Redis makes an id of its clock, in milliseconds, and never one that is not
//! larger than all before it. So numbers rise even if the stream is lost and begins
//! anew, which a counter from zero would not.

use bytes::Bytes;
use tower_edge_cache::Notes;

/// An entry of the stream of notes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Entry {
    pub(crate) number: u64,
    /// `None` where the stream begins, and what was before it is not known.
    pub(crate) note: Option<Bytes>,
}

/// The number of an id, such as `1700000000000-3`; `None` if it is none.
pub(crate) fn number(id: &[u8]) -> Option<u64> {
    let (millis, sequence) = std::str::from_utf8(id).ok()?.split_once('-')?;
    let (millis, sequence) = (millis.parse::<u64>().ok()?, sequence.parse::<u64>().ok()?);
    let fits = millis < 1 << (64 - SEQUENCE) && sequence < 1 << SEQUENCE;
    fits.then_some(millis << SEQUENCE | sequence)
}

/// The id of a number.
pub(crate) fn id(number: u64) -> String {
    format!("{}-{}", number >> SEQUENCE, number & ((1 << SEQUENCE) - 1))
}

/// The notes of a whole stream. What came before its first entry is forgotten.
pub(crate) fn notes(entries: Vec<Entry>) -> Notes {
    let forgotten = entries.first().map_or(0, |first| match first.note {
        Some(_) => first.number.saturating_sub(1),
        None => first.number,
    });
    let note = |entry: Entry| Some((entry.number, entry.note?));
    Notes { forgotten, notes: entries.into_iter().filter_map(note).collect() }
}

/// The bits for entries of the same millisecond.
const SEQUENCE: u32 = 20;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_rise_as_ids_do() {
        let ids = ["0-1", "0-2", "1-0", "1699999999999-1048575", "1700000000000-0"];
        let numbers: Vec<_> = ids.iter().map(|id| number(id.as_bytes()).unwrap()).collect();
        assert!(numbers.windows(2).all(|pair| pair[0] < pair[1]), "{numbers:?}");
        assert!(numbers.iter().zip(ids).all(|(number, text)| id(*number) == text));
        for wrong in ["", "1", "-", "a-1", "1-b", "1-1048576", "17592186044416-0", "\u{fc}-1"] {
            assert_eq!(number(wrong.as_bytes()), None, "{wrong}");
        }
    }

    #[test]
    fn what_was_before_the_first_entry_is_forgotten() {
        let begin = |number| Entry { number, note: None };
        let note = |number| Entry { number, note: Some("n".into()) };
        for (entries, forgotten, numbers) in [
            (vec![], 0, vec![]),
            (vec![begin(5)], 5, vec![]),
            (vec![begin(5), note(7), begin(8), note(9)], 5, vec![7, 9]),
            // The beginning was dropped to make room.
            (vec![note(7), note(9)], 6, vec![7, 9]),
        ] {
            let notes = notes(entries);
            let known: Vec<_> = notes.notes.iter().map(|(number, _)| *number).collect();
            assert_eq!((notes.forgotten, known), (forgotten, numbers));
        }
    }
}
