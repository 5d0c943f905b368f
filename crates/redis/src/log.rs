//! What is read from the log: two streams, of notes and of changes.
//!
//! Whatever is between Redis and here, what it tells of purges is to be true: the
//! answers have a checksum, and begin with what the question began with.

use bytes::Bytes;
use sha1::{Digest, Sha1};
use tower_edge_cache::News;

use crate::error::Failure;
use crate::numbers::{self, Entry};

/// What a log tells.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Page {
    /// As it is noted.
    pub(crate) generation: Vec<u8>,
    pub(crate) notes: Stream,
    pub(crate) changes: Stream,
}

/// One of the streams.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Stream {
    /// The numbers of its first and its last entry; `None` if it is not there.
    span: Option<(u64, u64)>,
    pub(crate) entries: Vec<Told>,
}

/// Up to where somebody has read both streams.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Position {
    pub(crate) notes: u64,
    pub(crate) changes: u64,
}

/// An entry as it is told: its number, and names with their values.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Told {
    pub(crate) number: u64,
    fields: Vec<(Vec<u8>, Vec<u8>)>,
}

impl Page {
    /// Reads the answer of `log.lua` to the question that began with this.
    pub(crate) fn read(question: &[u8], reply: &[u8]) -> Result<Self, Failure> {
        let mut parts = Parts(checked(reply).ok_or(Failure::Foreign)?);
        let read = |parts: &mut Parts<'_>| {
            let is_answer = parts.next()? == question;
            let generation = parts.next()?.to_owned();
            let (notes, changes) = (parts.stream()?, parts.stream()?);
            let is_all = is_answer && parts.0.is_empty();
            is_all.then_some(Self { generation, notes, changes })
        };
        read(&mut parts).ok_or(Failure::Foreign)
    }

    /// Where both streams end.
    pub(crate) fn end(&self) -> Option<Position> {
        let ((_, notes), (_, changes)) = (self.notes.span?, self.changes.span?);
        Some(Position { notes, changes })
    }

    /// Whether all is still there that comes behind a position. What was dropped to
    /// make room may have been behind it, and so may what was lost at the end.
    pub(crate) fn goes_on_from(&self, position: &Position) -> bool {
        let goes_on = |stream: &Stream, from| {
            stream.span.is_some_and(|(first, last)| first <= from && from <= last)
        };
        goes_on(&self.notes, position.notes) && goes_on(&self.changes, position.changes)
    }

    /// The news for `node`, and how far they go from `position` on.
    pub(crate) fn tell(self, node: &[u8], mut position: Position) -> (News, Position) {
        let mut news = News { missed: !self.goes_on_from(&position), ..News::default() };
        position.notes = self.notes.entries.last().map_or(position.notes, |last| last.number);
        position.changes = self.changes.entries.last().map_or(position.changes, |last| last.number);
        let entries = self.notes.entries.into_iter().chain(self.changes.entries);
        entries.for_each(|told| told.tell(node, &mut news));
        (news, position)
    }
}

impl Told {
    /// The same as an entry of the stream of notes.
    pub(crate) fn into_entry(self) -> Entry {
        let note = self.fields.into_iter().find(|(name, _)| name == NOTE);
        Entry { number: self.number, note: note.map(|(_, note)| note.into()) }
    }

    fn tell(self, node: &[u8], news: &mut News) {
        let is_own = self.fields.iter().any(|(name, by)| name == NODE && by == node);
        for (name, value) in self.fields {
            match name.as_slice() {
                NOTE if is_own => news.notes.push((self.number, None)),
                NOTE => news.notes.push((self.number, Some(Bytes::from(value)))),
                KEY if !is_own => news.changed.push(value.into()),
                // It was lost before.
                BEGIN => news.missed = true,
                CLEAR if !is_own => news.missed = true,
                _ => {}
            }
        }
    }
}

/// The text of an answer, if it is that of its checksum.
pub(crate) fn checked(reply: &[u8]) -> Option<&[u8]> {
    let (checksum, text) = reply.split_at_checked(CHECKSUM)?;
    let digits = |byte: u8| [byte >> 4, byte & 15].map(|half| b"0123456789abcdef"[half as usize]);
    let right = Sha1::digest(text).into_iter().flat_map(digits);
    right.eq(checksum.iter().copied()).then_some(text)
}

/// What is left of an answer: texts, each with its length before it.
struct Parts<'a>(&'a [u8]);

impl<'a> Parts<'a> {
    fn next(&mut self) -> Option<&'a [u8]> {
        let end = self.0.iter().take(MOST_DIGITS).position(|&byte| byte == b':')?;
        let length: usize = std::str::from_utf8(&self.0[..end]).ok()?.parse().ok()?;
        let (part, rest) = self.0[end + 1..].split_at_checked(length)?;
        self.0 = rest;
        Some(part)
    }

    fn count(&mut self) -> Option<usize> {
        std::str::from_utf8(self.next()?).ok()?.parse().ok()
    }

    fn stream(&mut self) -> Option<Stream> {
        let span = match (self.next()?, self.next()?) {
            (b"", _) | (_, b"") => None,
            (first, last) => Some((numbers::number(first)?, numbers::number(last)?)),
        };
        let entries = (0..self.count()?).map(|_| self.entry()).collect::<Option<_>>()?;
        Some(Stream { span, entries })
    }

    fn entry(&mut self) -> Option<Told> {
        let (number, fields) = (numbers::number(self.next()?)?, self.count()?);
        let field = |parts: &mut Self| Some((parts.next()?.to_owned(), parts.next()?.to_owned()));
        let fields = (0..fields / 2).map(|_| field(self)).collect::<Option<_>>()?;
        Some(Told { number, fields })
    }
}

/// The field of who has added an entry.
pub(crate) const NODE: &[u8] = b"node";

/// That of a note.
pub(crate) const NOTE: &[u8] = b"note";

/// That of a key whose records were changed.
pub(crate) const KEY: &[u8] = b"key";

/// That of a generation that was begun.
pub(crate) const CLEAR: &[u8] = b"clear";

const BEGIN: &[u8] = b"begin";

/// The length of a checksum: a SHA-1, all that Redis has, in hexadecimal digits.
const CHECKSUM: usize = 40;

/// The digits of a length, and the colon.
const MOST_DIGITS: usize = 12;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    type Fields<'a> = &'a [&'a str];
    type Entries<'a> = &'a [(&'a str, Fields<'a>)];

    /// An answer as `log.lua` gives it.
    fn answer(question: &str, streams: [([&str; 2], Entries<'_>); 2]) -> Vec<u8> {
        let mut told = vec![question.to_owned(), "generation".to_owned()];
        for (span, entries) in streams {
            told.extend(span.map(str::to_owned));
            told.push(entries.len().to_string());
            for (id, fields) in entries {
                told.extend([(*id).to_owned(), fields.len().to_string()]);
                told.extend(fields.iter().map(|&field| field.to_owned()));
            }
        }
        let text: String = told.iter().map(|text| format!("{}:{text}", text.len())).collect();
        let checksum: String =
            Sha1::digest(&text).iter().map(|byte| format!("{byte:02x}")).collect();
        (checksum + &text).into_bytes()
    }

    fn number(id: &str) -> u64 {
        numbers::number(id.as_bytes()).unwrap()
    }

    #[test]
    fn a_log_goes_on_where_nothing_was_dropped_behind_a_position() {
        let position = Position { notes: number("5-0"), changes: number("7-0") };
        for (notes, changes, goes_on) in [
            (["1-0", "5-0"], ["1-0", "7-0"], true),
            (["5-0", "9-0"], ["7-0", "9-0"], true),
            (["5-1", "9-0"], ["7-0", "9-0"], false),
            (["5-0", "9-0"], ["7-1", "9-0"], false),
            (["1-0", "4-0"], ["7-0", "9-0"], false),
            (["", ""], ["7-0", "9-0"], false),
            (["1-0", "5-0"], ["", ""], false),
        ] {
            let page = Page::read(b"q", &answer("q", [(notes, &[]), (changes, &[])])).unwrap();
            assert_eq!(page.goes_on_from(&position), goes_on, "{notes:?} {changes:?}");
            assert_eq!(page.tell(b"", position).0.missed, !goes_on);
        }
        let end = answer("q", [(["1-0", "5-0"], &[]), (["1-0", "7-0"], &[])]);
        assert_eq!(Page::read(b"q", &end).unwrap().end(), Some(position));
    }

    #[test]
    fn news_are_what_others_did_and_the_numbers_of_own_notes() {
        let notes: Entries<'_> = &[
            ("1-0", &["node", "me", "note", "mine"]),
            ("1-1", &["node", "other", "note", "theirs"]),
        ];
        let changes: Entries<'_> = &[
            ("2-0", &["node", "me", "key", "a"]),
            ("2-1", &["node", "other", "key", "b", "key", "c"]),
            ("3-0", &["node", "me", "clear", "0000000000000001"]),
            ("3-1", &["what", "is to come"]),
        ];
        let from = Position { notes: number("0-1"), changes: number("2-0") };
        let told = |changes: Entries<'_>| {
            let page = answer("q", [(["0-1", "1-1"], notes), (["0-1", "9-9"], changes)]);
            Page::read(b"q", &page).unwrap().tell(b"me", from)
        };
        let (news, position) = told(changes);
        let notes = vec![(number("1-0"), None), (number("1-1"), Some("theirs".into()))];
        let changed = vec![Bytes::from("b"), Bytes::from("c")];
        assert_eq!(news, News { missed: false, changed, notes });
        assert_eq!(position, Position { notes: number("1-1"), changes: number("3-1") });
        for missed in [&["begin", ""][..], &["node", "other", "clear", "1"]] {
            assert!(told(&[("4-0", missed)]).0.missed, "{missed:?}");
        }
    }

    proptest! {
        #[test]
        fn what_is_garbled_or_answers_another_question_is_found_out(
            at: prop::sample::Index, bits in 1_u8.., cut: prop::sample::Index,
        ) {
            let fields: Fields<'_> = &["node", "other", "note", "n"];
            let right = answer("q", [(["1-0", "2-0"], &[("2-0", fields)]), (["1-0", "7-0"], &[])]);
            prop_assert!(Page::read(b"q", &right).is_ok());
            prop_assert!(Page::read(b"r", &right).is_err());
            let mut garbled = right.clone();
            garbled[at.index(right.len())] ^= bits;
            prop_assert!(Page::read(b"q", &garbled).is_err());
            prop_assert!(Page::read(b"q", &right[..cut.index(right.len())]).is_err());
        }

        #[test]
        fn what_is_made_up_is_read_or_not_but_never_a_panic(text in "([0-9]{1,3}:)?[0-9:-]{0,40}") {
            let checksum: String =
                Sha1::digest(&text).iter().map(|byte| format!("{byte:02x}")).collect();
            drop(Page::read(b"", (checksum + &text).as_bytes()));
        }
    }
}
