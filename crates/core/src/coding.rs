use http::header::ACCEPT_ENCODING;
use http::{HeaderMap, HeaderValue};

/// A content coding (RFC 9110 §8.4.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Coding {
    /// The bytes as they are.
    Identity,
    /// RFC 1952.
    Gzip,
    /// RFC 1950, in spite of its name.
    Deflate,
    /// Brotli, RFC 7932.
    Br,
    /// Zstandard, RFC 8878.
    Zstd,
}

impl Coding {
    /// All codings that are known here.
    pub const ALL: [Self; 5] = [Self::Identity, Self::Gzip, Self::Deflate, Self::Br, Self::Zstd];

    /// The name in header fields.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Identity => "identity",
            Self::Gzip => "gzip",
            Self::Deflate => "deflate",
            Self::Br => "br",
            Self::Zstd => "zstd",
        }
    }

    /// The coding of this name; names have no case, and `x-gzip` is `gzip`.
    pub fn from_name(name: &str) -> Option<Self> {
        let coding = match (name.len(), name.as_bytes().first()?.to_ascii_lowercase()) {
            (2, b'b') => Self::Br,
            (4, b'g') => Self::Gzip,
            (4, b'z') => Self::Zstd,
            (6, b'x') => return name.eq_ignore_ascii_case("x-gzip").then_some(Self::Gzip),
            (7, b'd') => Self::Deflate,
            (8, b'i') => Self::Identity,
            _ => return None,
        };
        name.eq_ignore_ascii_case(coding.as_str()).then_some(coding)
    }
}

/// How much a client wants each coding: its `Accept-Encoding`, whatever the
/// order, case and white space it is written in (RFC 9110 §12.5.3).
///
/// Two are equal when they mean the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct AcceptedCodings {
    qualities: [u16; Coding::ALL.len()],
    /// That of codings which are not known here.
    others: u16,
}

impl AcceptedCodings {
    /// Reads the field; a request without it counts as one that wants nothing but
    /// the bytes as they are.
    ///
    /// `None` when it names a coding that is not known here, or cannot be read.
    pub fn of(headers: &HeaderMap) -> Option<Self> {
        let lines = headers.get_all(ACCEPT_ENCODING).iter();
        lines.map(HeaderValue::as_bytes).try_fold(Named::default(), Named::all).map(Named::finish)
    }

    /// Reads the value of the field, all its lines as one.
    pub fn parse(field: &str) -> Option<Self> {
        Named::default().all(field.as_bytes()).map(Named::finish)
    }

    /// As [`known`](Self::known), of the only line that there is.
    pub fn known_line(line: &HeaderValue) -> Self {
        let line = line.as_bytes();
        usual(line).unwrap_or_else(|| Named::default().some(line).finish())
    }

    /// As [`of`](Self::of) for who chooses a coding: what is not known here, or
    /// cannot be read, counts as not named.
    pub fn known(headers: &HeaderMap) -> Self {
        if headers.is_empty() {
            return NOTHING;
        }
        let mut lines = headers.get_all(ACCEPT_ENCODING).iter().map(HeaderValue::as_bytes);
        let Some(first) = lines.next() else { return NOTHING };
        match (lines.next(), usual(first)) {
            (None, Some(usual)) => usual,
            (second, _) => {
                let named = Named::default().some(first);
                second.into_iter().chain(lines).fold(named, Named::some).finish()
            }
        }
    }

    /// How much the client wants `coding`, in thousandths; 0 is not at all.
    pub fn quality(&self, coding: Coding) -> u16 {
        self.qualities[coding as usize]
    }
}

/// What a client wants that does not say.
const NOTHING: AcceptedCodings = wanted(&[]);

/// What the field means as browsers and libraries write it, which takes no reading.
fn usual(field: &[u8]) -> Option<AcceptedCodings> {
    use Coding::{Br, Deflate, Gzip, Zstd};
    match field {
        b"gzip, deflate, br, zstd" | b"deflate, gzip, br, zstd" => {
            Some(const { wanted(&[Gzip, Deflate, Br, Zstd]) })
        }
        b"gzip, deflate, br" => Some(const { wanted(&[Gzip, Deflate, Br]) }),
        b"gzip, deflate" => Some(const { wanted(&[Gzip, Deflate]) }),
        b"gzip" => Some(const { wanted(&[Gzip]) }),
        _ => None,
    }
}

/// What a client wants that names these codings and nothing else.
const fn wanted(codings: &[Coding]) -> AcceptedCodings {
    let mut qualities = [0; Coding::ALL.len()];
    qualities[Coding::Identity as usize] = 1;
    let mut rest = codings;
    while let [coding, others @ ..] = rest {
        qualities[*coding as usize] = 1_000;
        rest = others;
    }
    AcceptedCodings { qualities, others: 0 }
}

/// The qualities that the members of a field name.
#[derive(Default)]
struct Named {
    codings: [Option<u16>; Coding::ALL.len()],
    any: Option<u16>,
}

impl Named {
    /// Adds the members of a line; none of them may be unknown.
    fn all(self, line: &[u8]) -> Option<Self> {
        members(line).try_fold(self, Self::with)
    }

    /// Adds those members of a line that are known.
    fn some(mut self, line: &[u8]) -> Self {
        for member in members(line) {
            self.add(member);
        }
        self
    }

    fn with(mut self, member: &[u8]) -> Option<Self> {
        self.add(member).map(|()| self)
    }

    fn add(&mut self, member: &[u8]) -> Option<()> {
        // As browsers write it, which takes no reading.
        let plain = match member {
            b"br" => Some(Coding::Br),
            b"gzip" => Some(Coding::Gzip),
            b"zstd" => Some(Coding::Zstd),
            b"deflate" => Some(Coding::Deflate),
            _ => None,
        };
        if let Some(coding) = plain {
            self.codings[coding as usize] = Some(1_000);
            return Some(());
        }
        let member = str::from_utf8(member).ok()?;
        let (name, quality) = match member.split_once(';') {
            Some((name, weight)) => (name.trim_end(), quality(weight.trim())?),
            None => (member, 1_000),
        };
        let slot = match name {
            "*" => &mut self.any,
            name => &mut self.codings[Coding::from_name(name)? as usize],
        };
        *slot = Some(quality);
        Some(())
    }

    fn finish(self) -> AcceptedCodings {
        // Without a word about it, the bytes as they are will always do.
        let identity = self.any.filter(|&quality| quality == 0).unwrap_or(1);
        let others = self.any.unwrap_or(0);
        let unnamed = |coding| if coding == Coding::Identity { identity } else { others };
        let quality = |coding| self.codings[coding as usize].unwrap_or_else(|| unnamed(coding));
        AcceptedCodings { qualities: Coding::ALL.map(quality), others }
    }
}

/// The members of a line of the field.
fn members(line: &[u8]) -> impl Iterator<Item = &[u8]> {
    let members = line.split(|&c| c == b',').map(<[u8]>::trim_ascii);
    members.filter(|member| !member.is_empty())
}

/// `q=0.5` as thousandths (RFC 9110 §12.4.2).
fn quality(weight: &str) -> Option<u16> {
    let value = weight.strip_prefix("q=").or_else(|| weight.strip_prefix("Q="))?;
    let (whole, fraction) = value.split_once('.').unwrap_or((value, ""));
    if fraction.len() > 3 || !fraction.bytes().all(|c| c.is_ascii_digit()) {
        return None;
    }
    let digits = fraction.bytes().chain([b'0'; 3]).take(3);
    let thousandths = digits.fold(0, |number, digit| 10 * number + u16::from(digit - b'0'));
    match (whole, thousandths) {
        ("0", thousandths) => Some(thousandths),
        ("1", 0) => Some(1_000),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(field: &str) -> Option<AcceptedCodings> {
        AcceptedCodings::parse(field)
    }

    #[test]
    fn what_means_the_same_is_equal() {
        for (one, other, equal) in [
            ("gzip, br", "br,gzip", true),
            ("GZIP;Q=1.0", "x-gzip", true),
            ("gzip;q=0.5", "gzip ; q=0.500", true),
            ("gzip, identity;q=0.001", "gzip", true),
            (", gzip,", "gzip", true),
            ("gzip;q=0", "", true),
            ("gzip", "br", false),
            ("gzip;q=0.5", "gzip", false),
            ("*", "gzip, deflate, br, zstd", false),
            ("*;q=0", "", false),
            ("identity;q=0", "", false),
        ] {
            assert_eq!(read(one) == read(other), equal, "`{one}` and `{other}`");
            assert!(read(one).is_some() && read(other).is_some());
        }
    }

    #[test]
    fn what_is_usual_means_what_it_says() {
        for field in [
            "gzip, deflate, br, zstd",
            "deflate, gzip, br, zstd",
            "gzip, deflate, br",
            "gzip, deflate",
            "gzip",
        ] {
            assert_eq!((usual(field.as_bytes()), read(field).is_some()), (read(field), true));
        }
        assert_eq!((usual(b""), Some(NOTHING)), (None, read("")));
    }

    #[test]
    fn each_coding_has_its_quality() {
        let qualities = |field| read(field).map(|codings| codings.qualities);
        assert_eq!(qualities("gzip;q=0.8, br"), Some([1, 800, 0, 1_000, 0]));
        assert_eq!(qualities("*;q=0.25, br;q=0"), Some([1, 250, 250, 0, 250]));
        assert_eq!(qualities("*;q=0, gzip"), Some([0, 1_000, 0, 0, 0]));
        assert_eq!(qualities("identity;q=0, gzip"), Some([0, 1_000, 0, 0, 0]));
        assert_eq!(read("gzip").map(|codings| codings.quality(Coding::Gzip)), Some(1_000));
    }

    #[test]
    fn what_is_not_known_is_none() {
        for field in [
            "compress",
            "gzip;q=2",
            "gzip;q=1.1",
            "gzip;q=0.0000",
            "gzip;level=9",
            "g zip",
            "gzip;q=",
        ] {
            assert_eq!(read(field), None, "{field}");
        }
    }

    #[test]
    fn who_chooses_a_coding_leaves_out_what_is_not_known() {
        let fields = |lines: &[&[u8]]| {
            let lines = lines.iter().map(|line| (ACCEPT_ENCODING, line.to_vec()));
            let value = |bytes: Vec<u8>| HeaderValue::from_bytes(&bytes).unwrap();
            lines.map(|(name, line)| (name, value(line))).collect::<HeaderMap>()
        };
        for (lines, means) in [
            (&[&b"gzip, dcb, dcz, br"[..]][..], "gzip, br"),
            (&[b"gzip;level=9, br;q=0.5"], "br;q=0.5"),
            (&[b"gzip", b"br;q=2", b"zstd"], "gzip, zstd"),
            (&[b"gzip, deflate"], "gzip, deflate"),
            (&[b"gzip, deflate", b"gzip;q=0"], "deflate"),
            (&[b"caf\xe9, gzip"], "gzip"),
            (&[b"sdch"], ""),
            (&[], ""),
        ] {
            let fields = fields(lines);
            let known = AcceptedCodings::known(&fields);
            assert_eq!(Some(known), read(means), "{means}");
            if let [_] = lines {
                assert_eq!(AcceptedCodings::known_line(&fields[ACCEPT_ENCODING]), known);
            }
        }
        assert_eq!(AcceptedCodings::of(&fields(&[b"gzip", b"br"])), read("gzip, br"));
        assert_eq!(AcceptedCodings::of(&fields(&[b"gzip", b"sdch"])), None);
        assert_eq!(AcceptedCodings::of(&fields(&[b"caf\xe9, gzip"])), None);
    }

    #[test]
    fn a_coding_has_its_name_in_any_case() {
        for coding in Coding::ALL {
            assert_eq!(Coding::from_name(coding.as_str()), Some(coding));
            assert_eq!(Coding::from_name(&coding.as_str().to_uppercase()), Some(coding));
        }
        assert_eq!(Coding::from_name("X-Gzip"), Some(Coding::Gzip));
        for name in ["", "b", "bx", "gzib", "x-gzap", "defiate", "identify", "compress", "zst"] {
            assert_eq!(Coding::from_name(name), None, "{name}");
        }
    }
}
