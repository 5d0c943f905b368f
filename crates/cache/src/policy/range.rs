use std::ops::Range;

use http::HeaderMap;
use http::header::{IF_RANGE, RANGE};

/// What the `Range` of a request asks for of a response whose length is known.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Asked {
    One(Range<usize>),
    /// Two or more, apart from each other, in the order in which they were asked
    /// for.
    Several(Vec<Range<usize>>),
    /// Nothing that the response has.
    Unsatisfiable,
}

/// Reads the ranges that a request asks for (RFC 9110 §§14.1.2, 14.2); `None`
/// where there are none or they are to be ignored.
///
/// Ranges that overlap, or that no more than `gap` bytes lie between, are one:
/// no set of ranges can ask for much more than the whole. Ignored are other units
/// than bytes, what is no set of ranges, more ranges than anybody needs, and all
/// ranges of a response without content.
pub(crate) fn asked(request: &HeaderMap, length: usize, gap: usize) -> Option<Asked> {
    let mut lines = request.get_all(RANGE).iter();
    let line = lines.next().filter(|_| lines.next().is_none() && length > 0)?;
    let mut satisfiable = Vec::new();
    let mut count = 0;
    for spec in specs(line.as_bytes()) {
        count += 1;
        let spec = spec.filter(|_| count <= MOST_RANGES)?;
        satisfiable.extend(spec.within(length));
    }
    if count > 1 {
        coalesce(&mut satisfiable, gap);
    }
    match &satisfiable[..] {
        _ if count == 0 => None,
        [] => Some(Asked::Unsatisfiable),
        [one] => Some(Asked::One(one.clone())),
        _ => Some(Asked::Several(satisfiable)),
    }
}

/// Makes a request ask for all, or for its ranges whatever a client has of them.
pub(crate) fn ask_for(all: bool, request: &mut HeaderMap) {
    request.remove(IF_RANGE);
    if all {
        request.remove(RANGE);
    }
}

/// A `range-spec`. Numbers that are too large are the largest: no response has
/// that many bytes.
#[derive(Clone, Copy)]
enum Spec {
    From(usize),
    /// From the first to the last byte, both included.
    Between(usize, usize),
    /// So many bytes at the end.
    Suffix(usize),
}

impl Spec {
    /// `None` if it is invalid.
    fn read(text: &[u8]) -> Option<Self> {
        let dash = text.iter().position(|&c| c == b'-')?;
        Some(match (&text[..dash], &text[dash + 1..]) {
            (b"", length) => Self::Suffix(number(length)?),
            (first, b"") => Self::From(number(first)?),
            (first, last) => {
                let (first, last) = (number(first)?, number(last)?);
                (first <= last).then_some(Self::Between(first, last))?
            }
        })
    }

    /// The bytes it means; `None` if a response of this length has none of them.
    fn within(self, length: usize) -> Option<Range<usize>> {
        let range = match self {
            Self::From(first) => first..length,
            Self::Between(first, last) => first..last.saturating_add(1).min(length),
            Self::Suffix(count) => length.saturating_sub(count)..length,
        };
        (!range.is_empty()).then_some(range)
    }
}

/// The members of a set of ranges of bytes, `None` for one that is invalid.
fn specs(field: &[u8]) -> impl Iterator<Item = Option<Spec>> {
    let set =
        field.split_at_checked(UNIT.len()).filter(|(unit, _)| unit.eq_ignore_ascii_case(UNIT));
    let members = set.map(|(_, set)| set.split(|&c| c == b',').map(<[u8]>::trim_ascii));
    members.into_iter().flatten().filter(|member| !member.is_empty()).map(Spec::read)
}

fn number(digits: &[u8]) -> Option<usize> {
    let add = |sum: usize, digit: &u8| {
        let digit = digit.is_ascii_digit().then(|| usize::from(digit - b'0'))?;
        Some(sum.saturating_mul(10).saturating_add(digit))
    };
    (!digits.is_empty()).then(|| digits.iter().try_fold(0, add))?
}

/// Makes ranges one that no more than `gap` bytes lie between, in the place of
/// the first of them (RFC 9110 §15.3.7.2).
fn coalesce(ranges: &mut Vec<Range<usize>>, gap: usize) {
    let mut sorted: Vec<_> = ranges.drain(..).enumerate().collect();
    sorted.sort_unstable_by_key(|(_, range)| range.start);
    let mut apart: Vec<(usize, Range<usize>)> = Vec::with_capacity(sorted.len());
    for (place, range) in sorted {
        match apart.last_mut() {
            Some((first, last)) if range.start <= last.end.saturating_add(gap) => {
                *first = place.min(*first);
                last.end = range.end.max(last.end);
            }
            _ => apart.push((place, range)),
        }
    }
    apart.sort_unstable_by_key(|(place, _)| *place);
    ranges.extend(apart.into_iter().map(|(_, range)| range));
}

const UNIT: &[u8] = b"bytes=";

/// More than a reader of large documents asks for at once, and few enough to
/// cost little.
const MOST_RANGES: usize = 64;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn read(line: &str, length: usize, gap: usize) -> Option<Asked> {
        asked(&HeaderMap::from_iter([(RANGE, line.parse().unwrap())]), length, gap)
    }

    #[test]
    fn a_range_is_some_of_the_bytes() {
        let one = |range| Some(Asked::One(range));
        let none = || Some(Asked::Unsatisfiable);
        for (line, length, range) in [
            ("bytes=0-0", 10, one(0..1)),
            ("bytes=2-5", 10, one(2..6)),
            ("BYTES=2-5", 10, one(2..6)),
            ("bytes=02-005", 10, one(2..6)),
            ("bytes= 2-5 ,\t,", 10, one(2..6)),
            ("bytes=2-", 10, one(2..10)),
            ("bytes=9-99", 10, one(9..10)),
            ("bytes=0-99999999999999999999999999", 10, one(0..10)),
            ("bytes=-3", 10, one(7..10)),
            ("bytes=-11", 10, one(0..10)),
            ("bytes=-99999999999999999999999999", 10, one(0..10)),
            ("bytes=10-", 10, none()),
            ("bytes=10-20", 10, none()),
            ("bytes=99999999999999999999999999-", 10, none()),
            ("bytes=18446744073709551620-", 10, none()),
            ("bytes=-0", 10, none()),
            ("bytes=-0, 10-", 10, none()),
            ("bytes=0-", 0, None),
            ("bytes=-1", 0, None),
            ("bytes=5-2", 10, None),
            ("bytes=0-1, 5-2", 10, None),
            ("bytes=0-1, x", 10, None),
            ("bytes=", 10, None),
            ("bytes=,", 10, None),
            ("bytes=-", 10, None),
            ("bytes=--1", 10, None),
            ("bytes=1--2", 10, None),
            ("bytes=1-2-3", 10, None),
            ("bytes=0 - 1", 10, None),
            ("bytes=+0-1", 10, None),
            ("bytes =0-1", 10, None),
            ("bytes:0-1", 10, None),
            ("bytes", 10, None),
            ("items=0-1", 10, None),
            ("", 10, None),
        ] {
            assert_eq!(read(line, length, 0), range, "{line} of {length}");
        }
    }

    #[test]
    fn several_ranges_stay_apart_only_where_that_is_of_use() {
        use Asked::{One, Several};
        for (line, gap, ranges) in [
            ("bytes=0-1,5-6", 0, Several(vec![0..2, 5..7])),
            ("bytes=5-6,0-1", 0, Several(vec![5..7, 0..2])),
            ("bytes=5-6,0-1", 2, Several(vec![5..7, 0..2])),
            ("bytes=5-6,0-1", 3, One(0..7)),
            ("bytes=0-1,2-3", 0, One(0..4)),
            ("bytes=0-5,2-3", 0, One(0..6)),
            ("bytes=8-9,4-5,20-,0-0,5-6", 0, Several(vec![8..10, 4..7, 0..1])),
            ("bytes=5-6,9-9,4-5,0-0", 0, Several(vec![4..7, 9..10, 0..1])),
            ("bytes=0-1,99-", 0, One(0..2)),
            ("bytes=0-,0-,0-,0-", 0, One(0..10)),
            ("bytes=0-1,9-", usize::MAX, One(0..10)),
        ] {
            assert_eq!(read(line, 10, gap), Some(ranges), "{line} {gap}");
        }
    }

    #[test]
    fn a_second_line_and_too_many_ranges_are_ignored() {
        let lines = ["bytes=0-1", "bytes=2-3"].map(|line| (RANGE, line.parse().unwrap()));
        assert_eq!(asked(&HeaderMap::from_iter(lines), 10, 0), None);
        let many = |count| format!("bytes={}", "0-0,".repeat(count));
        assert_eq!(read(&many(MOST_RANGES), 10, 0), Some(Asked::One(0..1)));
        assert_eq!(read(&many(MOST_RANGES + 1), 10, 0), None);
        let unsatisfiable = format!("bytes={}", "99-,".repeat(MOST_RANGES + 1));
        assert_eq!(read(&unsatisfiable, 10, 0), None);
    }

    /// The bytes that a set of ranges means, as RFC 9110 §14.1.2 says it; none
    /// if it is invalid.
    fn naive(set: &[(Option<u32>, Option<u32>)], length: u32) -> Option<Vec<Vec<u32>>> {
        let meant = set.iter().map(|&range| match range {
            (Some(first), Some(last)) if last < first => None,
            (Some(first), last) => Some(
                (0..length)
                    .filter(|&at| at >= first && last.is_none_or(|last| at <= last))
                    .collect(),
            ),
            (None, Some(count)) => Some((0..length).filter(|at| at + count >= length).collect()),
            (None, None) => None,
        });
        meant.collect()
    }

    /// Ranges around the length of what is asked for, some of them small.
    fn range() -> impl Strategy<Value = (Option<u32>, Option<u32>)> {
        let any = || prop::option::weighted(0.8, 0_u32..50);
        let small = (0_u32..40, 0_u32..3).prop_map(|(at, more)| (Some(at), Some(at + more)));
        prop_oneof![1 => (any(), any()), 3 => small]
    }

    proptest! {
        #[test]
        fn the_bytes_of_the_parts_are_those_asked_for(
            set in prop::collection::vec(range(), 1..8),
            length in 1_u32..40,
            gap in 0_usize..6,
        ) {
            let text = |at: Option<u32>| at.map_or(String::new(), |at| at.to_string());
            let specs: Vec<_> =
                set.iter().map(|&(first, last)| format!("{}-{}", text(first), text(last))).collect();
            let found = read(&format!("bytes={}", specs.join(", ")), length as usize, gap);
            let Some(meant) = naive(&set, length) else {
                prop_assert_eq!(found, None);
                return Ok(());
            };
            let parts = match found {
                None => return Err(TestCaseError::fail("valid, and ignored")),
                Some(Asked::Unsatisfiable) => Vec::new(),
                Some(Asked::One(part)) => vec![part],
                Some(Asked::Several(parts)) => {
                    prop_assert!(parts.len() > 1);
                    parts
                }
            };
            if let [alone] = &meant[..] {
                let sent: Vec<_> = parts.iter().cloned().flatten().map(|at| at as u32).collect();
                prop_assert_eq!(&sent, alone);
            }
            // Each asked byte is sent once; one not asked for only in a gap.
            let asked: Vec<_> = (0..length).map(|at| meant.iter().flatten().any(|&byte| byte == at)).collect();
            let sent: Vec<_> = (0..length as usize)
                .map(|at| parts.iter().filter(|part| part.contains(&at)).count())
                .collect();
            for at in 0..length as usize {
                prop_assert!(sent[at] <= 1);
                prop_assert!(!asked[at] || sent[at] == 1);
                if sent[at] == 1 && !asked[at] {
                    let before = asked[..at].iter().rev().position(|&asked| asked);
                    let after = asked[at..].iter().position(|&asked| asked);
                    prop_assert!(before.zip(after).is_some_and(|(b, a)| b + a <= gap));
                }
            }
            // Parts stand in the order in which their first bytes were asked for.
            let place = |part: &Range<usize>| {
                meant.iter().position(|bytes| bytes.iter().any(|&at| part.contains(&(at as usize))))
            };
            prop_assert!(parts.windows(2).all(|two| place(&two[0]) < place(&two[1])));
            for (at, part) in parts.iter().enumerate() {
                let near = |other: &Range<usize>| {
                    other.start <= part.end + gap && part.start <= other.end + gap
                };
                prop_assert!(!parts[..at].iter().any(near));
            }
        }

        #[test]
        fn any_text_is_read_without_a_panic(
            text in "(bytes=)?([ -~\t]{0,40}|[0-9,\\- ]{0,60})", length in 0_usize..,
        ) {
            let line = http::HeaderValue::from_str(&text).unwrap();
            let found = asked(&HeaderMap::from_iter([(RANGE, line)]), length, length);
            if let Some(Asked::One(part)) = found {
                prop_assert!(part.start < part.end && part.end <= length);
            }
        }
    }
}
