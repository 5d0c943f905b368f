use std::ops::Range;

use bytes::Bytes;
use http::HeaderMap;
use http::header::{CONTENT_RANGE, CONTENT_TYPE};

use crate::heap::{allocated, shared};

/// What is stored of the bytes of a representation: all of them, or some
/// (RFC 9111 §3.3).
#[derive(Clone, Debug)]
pub(crate) enum Content {
    Whole(Bytes),
    Parts(Parts),
}

impl Content {
    /// The part of a representation of `length` bytes that stands at `range`.
    pub(crate) fn part(range: &Range<usize>, length: usize, bytes: Bytes) -> Self {
        Self::of(Parts { length, pieces: vec![Piece { start: range.start, bytes }] })
    }

    /// What has these [`pieces`](Self::pieces), in order.
    pub(crate) fn from_pieces(length: usize, pieces: Vec<(usize, Bytes)>) -> Self {
        let pieces = pieces.into_iter().map(|(start, bytes)| Piece { start, bytes });
        Self::of(Parts { length, pieces: pieces.collect() })
    }

    /// The bytes that are there, in order, and where they begin.
    pub(crate) fn pieces(&self) -> impl Iterator<Item = (usize, &Bytes)> {
        let (whole, parts) = match self {
            Self::Whole(bytes) => (Some((0, bytes)), &[][..]),
            Self::Parts(parts) => (None, &parts.pieces[..]),
        };
        whole.into_iter().chain(parts.iter().map(|piece| (piece.start, &piece.bytes)))
    }

    /// The length of the whole.
    pub(crate) fn length(&self) -> usize {
        match self {
            Self::Whole(bytes) => bytes.len(),
            Self::Parts(parts) => parts.length,
        }
    }

    pub(crate) fn is_whole(&self) -> bool {
        matches!(self, Self::Whole(_))
    }

    /// The bytes at `range`, in as many pieces as they are kept in; `None` if one
    /// of them is missing.
    pub(crate) fn slice(&self, range: &Range<usize>) -> Option<Vec<Bytes>> {
        match self {
            Self::Whole(bytes) => Some(vec![bytes.slice(range.clone())]),
            Self::Parts(parts) => parts.slice(range),
        }
    }

    /// The same bytes; who holds them is counted apart from here on.
    pub(crate) fn apart(&self) -> Self {
        match self {
            Self::Whole(bytes) => Self::Whole(Bytes::from_owner(bytes.clone())),
            Self::Parts(_) => self.clone(),
        }
    }

    /// What both have of one representation (RFC 9110 §15.3.7.3).
    ///
    /// Who calls it knows by a strong validator that it is one. No more than `most`
    /// bytes are kept: what goes beyond that is the `other` alone.
    pub(crate) fn joined(&self, other: &Self, most: u64) -> Self {
        match (self, other) {
            (Self::Whole(_), _) => self.clone(),
            (_, Self::Whole(_)) => other.clone(),
            (Self::Parts(ours), Self::Parts(theirs)) => {
                let all = ours.joined(theirs);
                let fits = all.size() as u64 <= most && all.pieces.len() <= MOST_PIECES;
                if fits { Self::of(all) } else { other.clone() }
            }
        }
    }

    /// What it takes of memory, in bytes.
    pub(crate) fn weight(&self) -> usize {
        match self {
            Self::Whole(bytes) => shared(bytes.len()),
            Self::Parts(parts) => {
                let bytes = parts.pieces.iter().map(|piece| shared(piece.bytes.len()));
                bytes.sum::<usize>() + allocated(parts.pieces.capacity() * size_of::<Piece>())
            }
        }
    }

    fn of(parts: Parts) -> Self {
        match parts.slice(&(0..parts.length)) {
            Some(pieces) => Self::Whole(match &pieces[..] {
                [one] => one.clone(),
                several => several.concat().into(),
            }),
            None => Self::Parts(parts),
        }
    }
}

/// Some of the bytes of a representation.
#[derive(Clone, Debug)]
pub(crate) struct Parts {
    length: usize,
    /// In order; none is empty, and no byte is in two of them.
    pieces: Vec<Piece>,
}

impl Parts {
    fn size(&self) -> usize {
        self.pieces.iter().map(|piece| piece.bytes.len()).sum()
    }

    fn slice(&self, range: &Range<usize>) -> Option<Vec<Bytes>> {
        let mut at = range.start;
        let mut found = Vec::new();
        let first = self.pieces.partition_point(|piece| piece.end() <= at);
        for piece in &self.pieces[first..] {
            if at >= range.end || piece.start > at {
                break;
            }
            let end = piece.end().min(range.end);
            found.push(piece.bytes.slice(at - piece.start..end - piece.start));
            at = end;
        }
        (at >= range.end).then_some(found)
    }

    /// The union. Bytes that are there already stay; others are copied, so that a
    /// piece keeps no buffer alive of which it is a small part.
    fn joined(&self, other: &Self) -> Self {
        let mut pieces = self.pieces.clone();
        for new in &other.pieces {
            let mut at = new.start;
            let there = self.pieces.iter().filter(|piece| piece.end() > new.start);
            for piece in there.take_while(|piece| piece.start < new.end()) {
                pieces.extend(new.copied(at..piece.start));
                at = piece.end();
            }
            pieces.extend(new.copied(at..new.end()));
        }
        pieces.sort_unstable_by_key(|piece| piece.start);
        Self { length: self.length, pieces: pieces.into_iter().fold(Vec::new(), pushed) }
    }
}

/// The range that a 206 has, and the length of the whole (RFC 9110 §14.4); `None`
/// if it has several, none that is valid, or another unit than bytes.
pub(crate) fn content_range(part: &HeaderMap) -> Option<(Range<usize>, usize)> {
    let mut lines = part.get_all(CONTENT_RANGE).iter();
    let line = lines.next().filter(|_| lines.next().is_none())?.to_str().ok()?;
    let (unit, rest) = line.trim().split_once(' ')?;
    let (range, length) = rest.trim_start().split_once('/')?;
    let (first, last) = range.split_once('-')?;
    let (first, last, length) = (number(first)?, number(last)?, number(length)?);
    let multipart = part.get(CONTENT_TYPE).is_some_and(|media_type| {
        let start = media_type.as_bytes().split_at_checked(MULTIPART.len());
        start.is_some_and(|(start, _)| start.eq_ignore_ascii_case(MULTIPART))
    });
    let valid = unit.eq_ignore_ascii_case("bytes") && first <= last && last < length;
    (valid && !multipart).then_some((first..last + 1, length))
}

/// Neighbouring bytes of a representation.
#[derive(Clone, Debug)]
struct Piece {
    start: usize,
    bytes: Bytes,
}

impl Piece {
    fn end(&self) -> usize {
        self.start + self.bytes.len()
    }

    /// A copy of the bytes there, which are its own; none of no bytes.
    fn copied(&self, range: Range<usize>) -> Option<Self> {
        let inside =
            (!range.is_empty()).then(|| range.start - self.start..range.end - self.start)?;
        Some(Self { start: range.start, bytes: Bytes::copy_from_slice(&self.bytes[inside]) })
    }
}

/// The pieces with another one behind them. Neighbours become one only where one
/// is not much larger than the other: whatever the order in which parts come, a
/// byte is copied a few times, never once for each part.
fn pushed(mut pieces: Vec<Piece>, mut piece: Piece) -> Vec<Piece> {
    while let Some(before) = pieces.pop_if(|before| {
        let (one, other) = (before.bytes.len(), piece.bytes.len());
        before.end() == piece.start && one <= 2 * other && other <= 2 * one
    }) {
        piece = Piece { start: before.start, bytes: [before.bytes, piece.bytes].concat().into() };
    }
    pieces.push(piece);
    pieces
}

fn number(digits: &str) -> Option<usize> {
    digits.bytes().all(|c| c.is_ascii_digit()).then(|| digits.parse().ok())?
}

const MULTIPART: &[u8] = b"multipart/byteranges";

/// More than readers leave apart, and few enough to be looked through.
const MOST_PIECES: usize = 256;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Byte `at` of the representation of which all parts are.
    fn byte(at: usize) -> u8 {
        (at * 7 + at / 256) as u8
    }

    fn part(range: Range<usize>, length: usize) -> Content {
        let bytes: Vec<u8> = range.clone().map(byte).collect();
        Content::part(&range, length, bytes.into())
    }

    fn joined(ranges: impl IntoIterator<Item = Range<usize>>, length: usize) -> Content {
        let parts = ranges.into_iter().map(|range| part(range, length));
        parts.reduce(|all, part| all.joined(&part, u64::MAX)).unwrap()
    }

    fn pieces(content: &Content) -> Vec<(usize, usize)> {
        match content {
            Content::Whole(bytes) => vec![(0, bytes.len())],
            Content::Parts(parts) => {
                parts.pieces.iter().map(|piece| (piece.start, piece.bytes.len())).collect()
            }
        }
    }

    #[test]
    fn a_part_that_is_the_whole_is_no_part() {
        assert!(part(0..10, 10).is_whole());
        assert!(!part(0..9, 10).is_whole() && !part(1..10, 10).is_whole());
        assert!(joined([5..10, 0..5], 10).is_whole());
        assert!(!joined([6..10, 0..5], 10).is_whole());
        assert!(joined([0..10, 2..3], 10).is_whole() && joined([2..3, 0..10], 10).is_whole());
    }

    #[test]
    fn what_outgrows_the_bound_is_left_behind() {
        let (old, new) = (part(0..6, 20), part(10..16, 20));
        assert_eq!(pieces(&old.joined(&new, 12)), [(0, 6), (10, 6)]);
        assert_eq!(pieces(&old.joined(&new, 11)), [(10, 6)]);
        let sparse = joined((0..MOST_PIECES).map(|at| 2 * at..2 * at + 1), 9_999);
        assert_eq!(pieces(&sparse).len(), MOST_PIECES);
        let more = sparse.joined(&part(9_000..9_001, 9_999), u64::MAX);
        assert_eq!(pieces(&more), [(9_000, 1)]);
    }

    /// Parts that come in order, in reverse, or next to a large one.
    #[test]
    fn many_small_parts_become_few_pieces() {
        let orders: [Vec<usize>; 2] = [(0..1_000).collect(), (0..1_000).rev().collect()];
        for order in orders {
            let all = joined(order.into_iter().map(|at| 4 * at..4 * at + 4), 9_999);
            assert!(pieces(&all).len() < 10, "{:?}", pieces(&all));
        }
        let large = part(0..5_000, 9_999);
        let beside = large.joined(&part(5_000..5_001, 9_999), u64::MAX);
        assert_eq!(pieces(&beside), [(0, 5_000), (5_000, 1)]);
        let (Content::Parts(one), Content::Parts(two)) = (&large, &beside) else { panic!() };
        assert_eq!(one.pieces[0].bytes.as_ptr(), two.pieces[0].bytes.as_ptr());
    }

    #[test]
    fn a_content_range_says_where_a_part_belongs() {
        for (line, range) in [
            ("bytes 2-5/10", Some((2..6, 10))),
            ("Bytes 0-0/1", Some((0..1, 1))),
            ("bytes  09-09/010", Some((9..10, 10))),
            ("bytes 2-5/*", None),
            ("bytes */10", None),
            ("bytes 5-2/10", None),
            ("bytes 2-10/10", None),
            ("bytes 2-5/5", None),
            ("bytes 2-/10", None),
            ("bytes -5/10", None),
            ("bytes +2-5/10", None),
            ("bytes 2-5/99999999999999999999999", None),
            ("bytes 99999999999999999999999-99999999999999999999999/10", None),
            ("bytes=2-5/10", None),
            ("items 2-5/10", None),
            ("2-5/10", None),
            ("", None),
        ] {
            let fields = HeaderMap::from_iter([(CONTENT_RANGE, line.parse().unwrap())]);
            assert_eq!(content_range(&fields), range, "{line}");
        }
        let line = |name| (name, "bytes 2-5/10".parse().unwrap());
        let twice = HeaderMap::from_iter([line(CONTENT_RANGE), line(CONTENT_RANGE)]);
        assert_eq!((content_range(&twice), content_range(&HeaderMap::new())), (None, None));
        let mut several = HeaderMap::from_iter([line(CONTENT_RANGE)]);
        several.insert(CONTENT_TYPE, "Multipart/Byteranges; boundary=x".parse().unwrap());
        assert_eq!(content_range(&several), None);
    }

    proptest! {
        #[test]
        fn parts_have_the_bytes_that_came_and_no_others(
            ranges in prop::collection::vec((0_usize..60, 1_usize..30), 1..12), length in 90_usize..95,
        ) {
            let ranges = ranges.into_iter().map(|(start, count)| start..start + count);
            let mut known = vec![None; length];
            ranges.clone().for_each(|range| range.for_each(|at| known[at] = Some(byte(at))));
            let all = joined(ranges, length);
            for start in 0..length {
                for end in start + 1..=length {
                    let meant: Option<Vec<u8>> = known[start..end].iter().copied().collect();
                    let found = all.slice(&(start..end)).map(|pieces| pieces.concat());
                    prop_assert_eq!(found, meant, "{}..{}", start, end);
                }
            }
            let pieces = pieces(&all);
            prop_assert!(pieces.windows(2).all(|two| two[0].0 + two[0].1 <= two[1].0));
            let size = known.iter().flatten().count();
            prop_assert_eq!(pieces.iter().map(|piece| piece.1).sum::<usize>(), size);
            prop_assert!(all.length() == length && all.weight() >= size);
        }

        #[test]
        fn whole_representations_are_whole_in_whatever_parts_they_come(
            cuts in prop::collection::btree_set(1_usize..50, 0..12), seed in any::<u64>(),
        ) {
            let ends: Vec<_> = [0].into_iter().chain(cuts).chain([50]).collect();
            let mut ranges: Vec<_> = ends.windows(2).map(|two| two[0]..two[1]).collect();
            ranges.sort_by_key(|range| seed.wrapping_mul(range.start as u64 + 1).rotate_left(17));
            let all = joined(ranges.clone(), 50);
            let Content::Whole(bytes) = all else { return Err(TestCaseError::fail("parts")) };
            prop_assert_eq!(&bytes[..], &(0..50).map(byte).collect::<Vec<_>>());
            if ranges.len() > 1 {
                ranges.pop();
                prop_assert!(!joined(ranges, 50).is_whole());
            }
        }
    }
}
