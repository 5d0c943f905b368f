//! The binary form of what is stored.
//!
//! A version, a checksum of the rest, the length of the head, the head, and the
//! bytes of the body. The checksum (XXH3, 64 bits) finds what is torn or decayed;
//! it does not stop who forges.

use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use bytes::{BufMut, Bytes, BytesMut};
use http::header::{CACHE_STATUS, ETAG, LAST_MODIFIED};
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use sha2::{Digest, Sha256};
use twox_hash::XxHash3_64;

use super::layout::{Head, Line, Lines, Pieces};
use crate::entry::{Entry, Restored};
use crate::head::{SLOTS, is_slot, with_slots_among};
use crate::policy::{Content, Freshness, Kept, Negotiated, Selection, Stale};

/// A response that was read, and what is to be known to judge it.
#[derive(Debug)]
pub(crate) struct Read {
    pub(crate) entry: Arc<Entry>,
    /// The number of the newest purge when it was asked for, as its tier counts.
    pub(crate) seen: u64,
    /// Since when it is stale by a purge, and whether it may be worse.
    pub(crate) purged: Option<(Instant, bool)>,
}

/// A moment, by both clocks.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Moment {
    pub(crate) now: Instant,
    pub(crate) wall: SystemTime,
}

/// Writes the response of a key; `None` if no clock could have shown its times.
pub(crate) fn write(key: &[u8], entry: &Entry, seen: u64, moment: Moment) -> Option<Bytes> {
    let (kept, received) = (entry.came(), entry.received());
    let own_tag = entry.fields.get(ETAG).filter(|_| entry.own_tag);
    let (mut fields, mut trailers, mut pieces) = (Vec::new(), Vec::new(), Vec::new());
    let head = Head {
        seen,
        status: entry.status.as_u16(),
        no_cache: kept.no_cache,
        immutable: kept.immutable,
        written: moment.wall,
        age: kept.freshness.age(moment.now),
        lifetime: kept.freshness.lifetime(),
        generated: kept.generated,
        stale: (kept.stale.forbidden, kept.stale.while_revalidate, kept.stale.if_error),
        purged: entry.mark().since().map(|since| {
            let ago = moment.now.saturating_duration_since(since);
            (ago, entry.mark().is_doubtful())
        }),
        length: entry.content.length(),
        key,
        fields: lines(&received, &mut fields)?,
        trailers: match &entry.trailers {
            None => None,
            Some(all) => Some(lines(all, &mut trailers)?),
        },
        own_tag: own_tag.map(HeaderValue::as_bytes),
        selection: entry.selection.fields().collect(),
        coding: entry.selection.coding().map(Negotiated::names),
        pieces: Pieces::of(
            entry.content.pieces().map(|(start, bytes)| (start, bytes.len())),
            &mut pieces,
        ),
    };
    let mut record = BytesMut::new();
    record.put_bytes(0, START);
    head.write(&mut record)?;
    let length = u32::try_from(record.len() - START).ok()?;
    record.reserve(entry.content.pieces().map(|(_, bytes)| bytes.len()).sum());
    entry.content.pieces().for_each(|(_, bytes)| record.put_slice(bytes));
    record[CHECKED..START].copy_from_slice(&length.to_be_bytes());
    let checksum = XxHash3_64::oneshot(&record[CHECKED..]);
    record[0] = VERSION;
    record[1..CHECKED].copy_from_slice(&checksum.to_be_bytes());
    Some(record.freeze())
}

/// Reads the response of a key; `None` if this is none. The body stays where it
/// is.
///
/// A record that another clock has dated later than now is read where the clocks
/// may well be two.
pub(crate) fn read(key: &[u8], record: &Bytes, moment: Moment) -> Option<Read> {
    let (&version, rest) = record.split_first()?;
    let (checksum, checked) = rest.split_first_chunk()?;
    let sound = version == VERSION && XxHash3_64::oneshot(checked) == u64::from_be_bytes(*checksum);
    if !sound {
        return None;
    }
    let (length, rest) = checked.split_first_chunk()?;
    let (head, body) = rest.split_at_checked(u32::from_be_bytes(*length) as usize)?;
    let head = Head::read(head)?;
    if head.key != key {
        return None;
    }
    let age = head.age.checked_add(match moment.wall.duration_since(head.written) {
        Ok(since) => since,
        Err(ahead) if ahead.duration() <= SKEW => Duration::ZERO,
        Err(_) => return None,
    })?;
    let (forbidden, while_revalidate, if_error) = head.stale;
    let kept = Kept {
        freshness: Freshness::aged(head.lifetime, age, moment.now),
        generated: head.generated,
        no_cache: head.no_cache,
        immutable: head.immutable,
        stale: Stale { forbidden, while_revalidate, if_error },
    };
    let trailers = match &head.trailers {
        None => None,
        Some(trailers) => {
            let fields = within(trailers)?.iter().map(|line| read_line(line?, record));
            Some(fields.collect::<Option<HeaderMap>>()?)
        }
    };
    let coding = match &head.coding {
        None => None,
        Some((offered, chosen)) => Some(Negotiated::from_names(offered, chosen)?),
    };
    let mut fields = fields(&head, record)?;
    if let Some(coding) = coding {
        coding.restore(&mut fields);
    }
    let content = content(&head, record.slice_ref(body))?;
    let restored = Restored {
        status: StatusCode::from_u16(head.status).ok()?,
        fields,
        trailers,
        selection: Selection::from_fields(head.selection, coding)?,
        kept,
        own_tag: head.own_tag.is_some(),
        length: record.len() - body.len(),
    };
    let entry = Entry::restored(restored, content)?;
    let since = |(ago, doubtful)| (moment.now.checked_sub(ago).unwrap_or(moment.now), doubtful);
    Some(Read { entry, seen: head.seen, purged: head.purged.map(since) })
}

/// What tells a response from the others of its key, on all nodes alike.
pub(crate) fn variant(selection: &Selection) -> u128 {
    let fields: Vec<_> = selection.fields().collect();
    let coding = selection.coding().map(Negotiated::names);
    if fields.is_empty() && coding.is_none() {
        return 0;
    }
    let noted = postcard::to_allocvec(&(fields, coding)).unwrap_or_default();
    let digest = Sha256::digest(&noted);
    digest.first_chunk().map_or(0, |half| u128::from_be_bytes(*half))
}

/// How long a response is of use: while it may be served without asking anybody,
/// and for a while more, since clients may accept it then, or the origin validate
/// it.
pub(crate) fn keep(entry: &Entry, now: Instant) -> Duration {
    let kept = entry.came();
    let left = kept.freshness.lifetime().saturating_sub(kept.freshness.age(now));
    let stale = kept.stale.while_revalidate.max(kept.stale.if_error);
    let can_be_validated = entry.origin_tag().is_some() || entry.fields.contains_key(LAST_MODIFIED);
    left.saturating_add(stale).saturating_add(if can_be_validated { DAY } else { MINUTE })
}

fn lines<'a>(fields: &HeaderMap, room: &'a mut Vec<u8>) -> Option<Lines<'a>> {
    let lines = fields.iter().map(|(name, value)| {
        let name: &[u8] = name.as_ref();
        (name, value.as_bytes(), value.is_sensitive())
    });
    Lines::of(lines, room)
}

/// The fields of a head, with slots.
fn fields(head: &Head<'_>, record: &Bytes) -> Option<HeaderMap> {
    let own_tag = head.own_tag.map(|tag| Some((ETAG.as_str().as_bytes(), tag, false)));
    let lines = own_tag.into_iter().chain(within(&head.fields)?.iter());
    let status = CACHE_STATUS.as_str().as_bytes();
    let is_status =
        |(name, value, _): Line<'_>| !value.is_empty() && status.eq_ignore_ascii_case(name);
    let (has_status, mut is_sound) = (lines.clone().flatten().any(is_status), true);
    let places = head.fields.count() + usize::from(own_tag.is_some()) + SLOTS;
    let read = lines.map_while(|line| {
        let line = line.and_then(|line| read_line(line, record));
        is_sound &= line.is_some();
        line
    });
    let read = read.filter(|(name, value)| !is_slot(&(name, value)));
    let fields = with_slots_among(places, has_status, read);
    is_sound.then_some(fields)
}

/// Lines, if there are no more of them than a map takes.
fn within<'a, 'b>(lines: &'b Lines<'a>) -> Option<&'b Lines<'a>> {
    (lines.count() <= MOST_LINES).then_some(lines)
}

/// A line of a record. Its value stays where it is, as the body does.
fn read_line(
    (name, value, sensitive): Line<'_>,
    record: &Bytes,
) -> Option<(HeaderName, HeaderValue)> {
    let mut value = HeaderValue::from_maybe_shared(record.slice_ref(value)).ok()?;
    value.set_sensitive(sensitive);
    Some((HeaderName::from_bytes(name).ok()?, value))
}

/// The bytes of a body, as they belong; `None` if they are not those of the head.
fn content(head: &Head<'_>, body: Bytes) -> Option<Content> {
    let mut told = head.pieces.iter();
    let first = if told.len() == 1 { told.next() } else { None };
    if first == Some((0, body.len() as u64)) && body.len() == head.length {
        return Some(Content::Whole(body));
    }
    let mut rest = body;
    let mut pieces = Vec::with_capacity(head.pieces.iter().len());
    let mut end = 0;
    for (start, length) in head.pieces.iter() {
        let (start, length) = (usize::try_from(start).ok()?, usize::try_from(length).ok()?);
        if start < end || length > rest.len() {
            return None;
        }
        end = start.checked_add(length)?;
        pieces.push((start, rest.split_to(length)));
    }
    (rest.is_empty() && end <= head.length).then(|| Content::from_pieces(head.length, pieces))
}

const VERSION: u8 = 3;

/// The most fields that a response may have. Where there are more than twice as many,
/// `http` panics.
const MOST_LINES: usize = 8_192;

/// Where the bytes begin that the checksum is of.
const CHECKED: usize = 9;

/// Where the head begins.
const START: usize = CHECKED + 4;

/// How far the clocks of two nodes may be apart.
const SKEW: Duration = Duration::from_secs(60);

const DAY: Duration = Duration::from_secs(86_400);
const MINUTE: Duration = Duration::from_secs(60);

#[cfg(test)]
#[expect(clippy::disallowed_methods, reason = "an instant to count from")]
mod tests {
    use http::header::VARY;
    use proptest::prelude::*;
    use tower_edge_core::{Coding, OfferedCodings};

    use super::*;

    fn fields(lines: &[(String, Vec<u8>)]) -> HeaderMap {
        let mut fields = HeaderMap::new();
        for (name, value) in lines {
            let (name, value) =
                (name.parse::<HeaderName>().unwrap(), HeaderValue::from_bytes(value));
            fields.append(name, value.unwrap());
        }
        fields
    }

    fn entry(
        lines: &[(String, Vec<u8>)],
        content: Content,
        trailers: bool,
        (age, lifetime): (u64, u64),
        moment: Moment,
    ) -> Entry {
        let fields = fields(lines);
        let seconds = Duration::from_secs;
        let request =
            HeaderMap::from_iter([("x-a".parse().unwrap(), HeaderValue::from_static("v"))]);
        let mut vary = HeaderMap::from_iter([(VARY, "x-a, x-b".parse().unwrap())]);
        if age % 4 == 0 {
            vary.append(VARY, OfferedCodings::new([Coding::Br, Coding::Gzip]).vary().clone());
        }
        let kept = Kept {
            freshness: Freshness::aged(seconds(lifetime), seconds(age), moment.now),
            generated: moment.wall,
            no_cache: age % 2 == 0,
            immutable: age % 3 == 0,
            stale: Stale { forbidden: true, while_revalidate: seconds(1), if_error: seconds(2) },
        };
        let trailers = trailers.then(|| fields.clone());
        let selection = Selection::of(&request, &vary).unwrap();
        let own_tag = (age % 5 == 0).then(|| HeaderValue::from_static("\"own\""));
        Entry::new(StatusCode::NOT_FOUND, &fields, content, trailers, selection, kept, own_tag)
    }

    fn moment() -> Moment {
        Moment { now: Instant::now(), wall: SystemTime::UNIX_EPOCH + Duration::from_secs(1 << 30) }
    }

    fn after(moment: Moment, seconds: u64) -> Moment {
        let time = Duration::from_secs(seconds);
        Moment { now: moment.now + time, wall: moment.wall + time }
    }

    fn contents() -> impl Strategy<Value = Content> {
        let bytes = prop::collection::vec(any::<u8>(), 1..50);
        prop_oneof![
            bytes.clone().prop_map(|bytes| Content::Whole(bytes.into())),
            Just(Content::Whole(Bytes::new())),
            (bytes.clone(), bytes).prop_map(|(one, other)| {
                let length = one.len() + other.len() + 20;
                let second = Content::part(&(length - other.len()..length), length, other.into());
                Content::part(&(1..1 + one.len()), length, one.into()).joined(&second, 1_000)
            }),
        ]
    }

    proptest! {
        #[test]
        fn what_was_written_is_read_at_any_later_time(
            lines in prop::collection::vec(("[a-c]{1,3}", "[ -~\u{e4}]{0,9}"), 0..6),
            content in contents(),
            trailers: bool,
            times in (0_u64..100, 0_u64..100),
            later in 0_u64..100_000,
        ) {
            let lines: Vec<_> = lines.into_iter().map(|(name, value)| (name, value.into())).collect();
            let start = moment();
            let entry = entry(&lines, content, trailers, times, start);
            let record = write(b"key", &entry, 7, start).unwrap();
            let read = read(b"key", &record, after(start, later)).unwrap();
            prop_assert_eq!((read.seen, read.purged), (7, None));
            prop_assert!(read.entry.least_weight() <= read.entry.weight());
            let read = read.entry.tidied();
            prop_assert_eq!((&read.fields, &read.trailers), (&entry.fields, &entry.trailers));
            prop_assert_eq!((read.status, read.own_tag), (entry.status, entry.own_tag));
            prop_assert_eq!(&read.selection, &entry.selection);
            let pieces = |entry: &Entry| -> Vec<(usize, Bytes)> {
                entry.content.pieces().map(|(start, bytes)| (start, bytes.clone())).collect()
            };
            prop_assert_eq!(pieces(&read), pieces(&entry));
            prop_assert_eq!(read.content.length(), entry.content.length());
            let now = after(start, later).now;
            let (kept, other) = (read.came(), entry.came());
            prop_assert_eq!(kept.freshness.age(now), other.freshness.age(now));
            prop_assert_eq!(Kept { freshness: other.freshness, ..*kept }, *other);
        }

        #[test]
        fn what_is_damaged_anywhere_is_no_record(
            content in contents(), times in (0_u64..100, 0_u64..100), bits in 1_u8..,
        ) {
            let start = moment();
            let lines = [("a".to_owned(), b"b".to_vec())];
            let entry = entry(&lines, content, true, times, start);
            let record = write(b"key", &entry, 0, start).unwrap();
            for at in 0..record.len() {
                let mut flipped = record.to_vec();
                flipped[at] ^= bits;
                prop_assert!(read(b"key", &flipped.into(), start).is_none());
                prop_assert!(read(b"key", &record.slice(..at), start).is_none());
            }
            prop_assert!(read(b"kez", &record, start).is_none());
        }

        /// With a checksum that is right, so that it is the head that finds it out.
        #[test]
        fn a_head_that_is_cut_anywhere_is_none(
            content in contents(), times in (0_u64..100, 0_u64..100), trailers: bool,
        ) {
            let start = moment();
            let lines = [("a".to_owned(), b"b".to_vec())];
            let entry = entry(&lines, content, trailers, times, start);
            let record = write(b"key", &entry, 0, start).unwrap();
            let length = u32::from_be_bytes(*record[CHECKED..].first_chunk().unwrap()) as usize;
            let head = &record[START..START + length];
            prop_assert!(Head::read(head).is_some());
            for at in 0..length {
                prop_assert!(Head::read(&head[..at]).is_none());
            }
            prop_assert!(Head::read(&[head, &[0]].concat()).is_none());
        }

        /// With a checksum that is right, as who forges has it.
        #[test]
        fn what_is_made_up_is_read_or_not_but_never_a_panic(
            mut made in prop::collection::vec(any::<u8>(), 0..200), real: bool,
        ) {
            let start = moment();
            if real {
                let entry = entry(&[], Content::Whole(Bytes::from_static(b"x")), false, (0, 9), start);
                let record = write(b"", &entry, 0, start).unwrap();
                made.resize(record.len(), 0);
                let changed = made.iter().zip(&record).map(|(made, real)| if *made < 250 { *real } else { *made });
                made = changed.collect();
            }
            if made.len() > CHECKED {
                made[0] = VERSION;
                let checksum = XxHash3_64::oneshot(&made[CHECKED..]);
                made[1..CHECKED].copy_from_slice(&checksum.to_be_bytes());
            }
            drop(read(b"", &made.into(), start));
        }
    }

    /// A record of a body of one byte with other fields and trailers, as who forges makes
    /// it.
    fn forged(change: impl for<'a> FnOnce(&mut Vec<Line<'a>>, &mut Vec<Line<'a>>)) -> Bytes {
        let entry = entry(&[], Content::Whole(Bytes::from_static(b"x")), true, (3, 9), moment());
        let record = write(b"", &entry, 0, moment()).unwrap();
        let (head, body) = record[START..].split_at(record.len() - START - 1);
        let mut head = Head::read(head).unwrap();
        let mut fields: Vec<_> = head.fields.iter().map(Option::unwrap).collect();
        let trailers = head.trailers.unwrap();
        let mut trailers: Vec<_> = trailers.iter().map(Option::unwrap).collect();
        change(&mut fields, &mut trailers);
        let (mut one, mut other, mut rest) = (Vec::new(), Vec::new(), vec![0; 4]);
        head.fields = Lines::of(fields.into_iter(), &mut one).unwrap();
        let trailers = Lines::of(trailers.into_iter(), &mut other).unwrap();
        head.trailers = (trailers.count() > 0).then_some(trailers);
        head.write(&mut rest).unwrap();
        let length = rest.len() as u32 - 4;
        rest[..4].copy_from_slice(&length.to_be_bytes());
        rest.extend(body);
        let checksum = XxHash3_64::oneshot(&rest).to_be_bytes();
        Bytes::from([&[VERSION][..], &checksum, &rest].concat())
    }

    #[test]
    fn a_record_that_tells_another_length_than_its_body_has_is_none() {
        let is_read = |length: &'static [u8]| {
            let record = forged(|fields, _| fields.push((b"content-length", length, false)));
            read(b"", &record, moment()).is_some()
        };
        assert!(is_read(b"1"));
        for wrong in ["2", "0", "01", "+1", "1 ", "", "-1", "18446744073709551617"] {
            assert!(!is_read(wrong.as_bytes()), "{wrong:?}");
        }
    }

    #[test]
    fn a_record_with_more_fields_than_a_map_takes_is_none() {
        let lines = |count| vec![(&b"a"[..], &b""[..], false); count];
        let length = (&b"content-length"[..], &b"1"[..], false);
        let with_fields =
            |more| forged(|fields, _| fields.extend([length].into_iter().chain(lines(more))));
        let with_trailers = |count| forged(|_, trailers| trailers.extend(lines(count)));
        let is_read = |record| read(b"", &record, moment()).is_some();
        assert!(is_read(with_fields(1_000)) && is_read(with_trailers(1_000)));
        assert!(!is_read(with_fields(50_000)) && !is_read(with_trailers(50_000)));
    }

    #[test]
    fn a_record_of_the_future_is_read_if_it_is_near() {
        let start = moment();
        let entry = entry(&[], Content::Whole(Bytes::new()), false, (3, 9), start);
        let age = |ahead| {
            let moment = Moment { wall: start.wall - Duration::from_secs(ahead), ..start };
            let record = write(b"", &entry, 0, start).unwrap();
            read(b"", &record, moment).map(|read| read.entry.came().freshness.age(start.now))
        };
        assert_eq!(
            [0, 60, 61].map(age),
            [Some(Duration::from_secs(3)), Some(Duration::from_secs(3)), None]
        );
    }

    #[test]
    fn what_can_be_validated_is_kept_for_longer() {
        let start = moment();
        let kept = |lines: &[(&str, &str)]| {
            let lines: Vec<_> = lines
                .iter()
                .map(|(name, value)| (name.to_string(), value.as_bytes().into()))
                .collect();
            keep(&entry(&lines, Content::Whole(Bytes::new()), false, (0, 9), start), start.now)
        };
        let seconds = Duration::from_secs;
        // The tag of the cache is unknown to the origin.
        assert_eq!(kept(&[]), seconds(9 + 2 + 60));
        assert_eq!(kept(&[("last-modified", "x")]), seconds(9 + 2 + 86_400));
    }
}
