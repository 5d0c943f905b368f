//! How the head of a record lies in its bytes: numbers of a fixed width first, then
//! what tells its length. Numbers are big-endian.
//!
//! It is read in place, since each hit that only a tier has reads one.

use std::time::{Duration, SystemTime};

use bytes::BufMut;

/// All but the bytes of a body.
#[derive(Clone, Debug)]
pub(super) struct Head<'a> {
    pub(super) seen: u64,
    pub(super) status: u16,
    pub(super) no_cache: bool,
    pub(super) immutable: bool,
    pub(super) written: SystemTime,
    /// When it was written.
    pub(super) age: Duration,
    pub(super) lifetime: Duration,
    pub(super) generated: SystemTime,
    /// As in [`Stale`](crate::policy::Stale).
    pub(super) stale: (bool, Duration, Duration),
    /// How long it is stale by a purge, when it was written, and whether it may be
    /// worse.
    pub(super) purged: Option<(Duration, bool)>,
    /// Of the whole.
    pub(super) length: usize,
    pub(super) key: &'a [u8],
    pub(super) fields: Lines<'a>,
    pub(super) trailers: Option<Lines<'a>>,
    pub(super) own_tag: Option<&'a [u8]>,
    pub(super) selection: Vec<(&'a str, Option<&'a [u8]>)>,
    /// What a coding was chosen among, and what was chosen.
    pub(super) coding: Option<(Vec<&'a str>, &'a str)>,
    /// Where the bytes of the body belong, and how many.
    pub(super) pieces: Pieces<'a>,
}

/// Lines of fields, none of which was looked at.
#[derive(Clone, Copy, Debug)]
pub(super) struct Lines<'a> {
    count: usize,
    bytes: &'a [u8],
}

/// A name, a value, and whether that is sensitive.
pub(super) type Line<'a> = (&'a [u8], &'a [u8], bool);

/// Pairs of a place and a length.
#[derive(Clone, Copy, Debug)]
pub(super) struct Pieces<'a>(&'a [[u8; 16]]);

impl<'a> Head<'a> {
    /// Adds it to what is written; `None` if there are times before 1970, or more of
    /// anything than can be told.
    pub(super) fn write(&self, to: &mut impl BufMut) -> Option<()> {
        to.put_u64(self.seen);
        to.put_u16(self.status);
        let (forbidden, while_revalidate, if_error) = self.stale;
        let (purged, doubtful) = self.purged.unwrap_or_default();
        let flags = [
            (NO_CACHE, self.no_cache),
            (IMMUTABLE, self.immutable),
            (FORBIDDEN, forbidden),
            (PURGED, self.purged.is_some()),
            (DOUBTFUL, doubtful),
            (TRAILERS, self.trailers.is_some()),
            (OWN_TAG, self.own_tag.is_some()),
            (CODING, self.coding.is_some()),
        ];
        to.put_u8(flags.iter().filter(|(_, is_set)| *is_set).map(|(flag, _)| flag).sum());
        let since = |time: SystemTime| time.duration_since(SystemTime::UNIX_EPOCH).ok();
        let (written, generated) = (since(self.written)?, since(self.generated)?);
        let times = [written, generated, self.age, self.lifetime, while_revalidate, if_error];
        for time in times.into_iter().chain([purged]) {
            // More than 584 years are as good as that.
            to.put_u64(u64::try_from(time.as_nanos()).unwrap_or(u64::MAX));
        }
        to.put_u64(self.length as u64);
        put(to, self.key)?;
        self.fields.write(to)?;
        self.trailers.iter().try_for_each(|trailers| trailers.write(to))?;
        self.own_tag.iter().try_for_each(|tag| put(to, tag))?;
        to.put_u32(u32::try_from(self.selection.len()).ok()?);
        for (name, value) in &self.selection {
            put(to, name.as_bytes())?;
            to.put_u8(value.is_some().into());
            put(to, value.unwrap_or_default())?;
        }
        if let Some((offered, chosen)) = &self.coding {
            to.put_u32(u32::try_from(offered.len()).ok()?);
            offered.iter().try_for_each(|name| put(to, name.as_bytes()))?;
            put(to, chosen.as_bytes())?;
        }
        put(to, self.pieces.0.as_flattened())
    }

    /// Reads what was written; `None` if this is more, or less, or something else.
    pub(super) fn read(bytes: &'a [u8]) -> Option<Self> {
        let mut from = Input(bytes);
        let (seen, status, flags) = (from.u64()?, u16::from_be_bytes(from.array()?), from.u8()?);
        let has = |flag| flags & flag != 0;
        let [written, generated] = [from.time()?, from.time()?];
        let after = |time| SystemTime::UNIX_EPOCH.checked_add(time);
        let (written, generated) = (after(written)?, after(generated)?);
        let (age, lifetime) = (from.time()?, from.time()?);
        let stale = (has(FORBIDDEN), from.time()?, from.time()?);
        let purged = from.time()?;
        let length = usize::try_from(from.u64()?).ok()?;
        let key = from.bytes()?;
        let fields = Lines::read(&mut from)?;
        let trailers = if has(TRAILERS) { Some(Lines::read(&mut from)?) } else { None };
        let own_tag = if has(OWN_TAG) { Some(from.bytes()?) } else { None };
        let selection = (0..from.u32()?).map(|_| {
            let (name, has_value, value) = (from.text()?, from.u8()? != 0, from.bytes()?);
            Some((name, has_value.then_some(value)))
        });
        let selection = selection.collect::<Option<_>>()?;
        let coding = match has(CODING) {
            false => None,
            true => {
                let offered = (0..from.u32()?).map(|_| from.text()).collect::<Option<_>>()?;
                Some((offered, from.text()?))
            }
        };
        let (pieces, left) = from.bytes()?.as_chunks();
        let is_all = left.is_empty() && from.0.is_empty();
        is_all.then_some(Self {
            seen,
            status,
            no_cache: has(NO_CACHE),
            immutable: has(IMMUTABLE),
            written,
            age,
            lifetime,
            generated,
            stale,
            purged: has(PURGED).then_some((purged, has(DOUBTFUL))),
            length,
            key,
            fields,
            trailers,
            own_tag,
            selection,
            coding,
            pieces: Pieces(pieces),
        })
    }
}

impl<'a> Lines<'a> {
    /// Lines, for which `room` is used; `None` if a name is longer than one may be.
    pub(super) fn of<'b>(
        lines: impl Iterator<Item = Line<'b>>,
        room: &'a mut Vec<u8>,
    ) -> Option<Self> {
        let mut count = 0;
        for (name, value, is_sensitive) in lines {
            room.put_u16(u16::try_from(name.len()).ok()?);
            room.put_u8(is_sensitive.into());
            room.put_slice(name);
            put(room, value)?;
            count += 1;
        }
        Some(Self { count, bytes: room })
    }

    /// How many there are, if they are what they seem.
    pub(super) fn count(&self) -> usize {
        self.count
    }

    /// The lines, as many as there are to be: `None` for what is none.
    pub(super) fn iter(&self) -> impl Iterator<Item = Option<Line<'a>>> + Clone + use<'a> {
        let mut from = Input(self.bytes);
        (0..self.count).map(move |_| from.line())
    }

    fn write(&self, to: &mut impl BufMut) -> Option<()> {
        to.put_u32(u32::try_from(self.count).ok()?);
        put(to, self.bytes)
    }

    fn read(from: &mut Input<'a>) -> Option<Self> {
        Some(Self { count: usize::try_from(from.u32()?).ok()?, bytes: from.bytes()? })
    }
}

impl<'a> Pieces<'a> {
    /// Pairs, for which `room` is used.
    pub(super) fn of(
        pieces: impl Iterator<Item = (usize, usize)>,
        room: &'a mut Vec<[u8; 16]>,
    ) -> Self {
        let both = |(start, length)| u128::from(start as u64) << 64 | u128::from(length as u64);
        room.extend(pieces.map(|piece| both(piece).to_be_bytes()));
        Self(room)
    }

    pub(super) fn iter(&self) -> impl ExactSizeIterator<Item = (u64, u64)> + use<'a> {
        self.0.iter().map(|piece| {
            let both = u128::from_be_bytes(*piece);
            ((both >> 64) as u64, both as u64)
        })
    }
}

/// What is still to be read.
#[derive(Clone, Copy)]
struct Input<'a>(&'a [u8]);

impl<'a> Input<'a> {
    fn array<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (first, rest) = self.0.split_first_chunk()?;
        self.0 = rest;
        Some(*first)
    }

    fn take(&mut self, length: usize) -> Option<&'a [u8]> {
        let (first, rest) = self.0.split_at_checked(length)?;
        self.0 = rest;
        Some(first)
    }

    fn u8(&mut self) -> Option<u8> {
        self.array().map(u8::from_be_bytes)
    }

    fn u32(&mut self) -> Option<u32> {
        self.array().map(u32::from_be_bytes)
    }

    fn u64(&mut self) -> Option<u64> {
        self.array().map(u64::from_be_bytes)
    }

    fn time(&mut self) -> Option<Duration> {
        self.u64().map(Duration::from_nanos)
    }

    /// What tells its length.
    fn bytes(&mut self) -> Option<&'a [u8]> {
        let length = self.u32()?;
        self.take(length as usize)
    }

    fn text(&mut self) -> Option<&'a str> {
        str::from_utf8(self.bytes()?).ok()
    }

    fn line(&mut self) -> Option<Line<'a>> {
        let (name, is_sensitive) = (u16::from_be_bytes(self.array()?), self.u8()? != 0);
        Some((self.take(name.into())?, self.bytes()?, is_sensitive))
    }
}

/// Adds bytes that tell their length.
fn put(to: &mut impl BufMut, bytes: &[u8]) -> Option<()> {
    to.put_u32(u32::try_from(bytes.len()).ok()?);
    to.put_slice(bytes);
    Some(())
}

const NO_CACHE: u8 = 1;
const IMMUTABLE: u8 = 2;
const FORBIDDEN: u8 = 4;
const PURGED: u8 = 8;
const DOUBTFUL: u8 = 16;
const TRAILERS: u8 = 32;
const OWN_TAG: u8 = 64;
const CODING: u8 = 128;
