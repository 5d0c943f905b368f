use http::HeaderValue;
use tower_edge_core::Coding;

/// An entity tag, taken apart (RFC 9110 §8.8.3).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Tag<'a> {
    pub(crate) weak: bool,
    /// What stands between the quotes.
    pub(crate) opaque: &'a [u8],
}

impl<'a> Tag<'a> {
    /// Reads one tag; `None` if it is none.
    pub(crate) fn read(text: &'a [u8]) -> Option<Self> {
        let (weak, quoted) = match text.strip_prefix(b"W/") {
            Some(rest) => (true, rest),
            None => (false, text),
        };
        let opaque = quoted.strip_prefix(b"\"")?.strip_suffix(b"\"")?;
        (!opaque.contains(&b'"')).then_some(Self { weak, opaque })
    }

    /// Takes the mark off that [`marked`] puts there: the tag of the plain bytes,
    /// and the coding; `None` if it has none.
    pub(crate) fn unmarked(self) -> Option<(Self, Coding)> {
        let at = self.opaque.iter().rposition(|&c| c == MARK)?;
        let (opaque, mark) = (&self.opaque[..at], &self.opaque[at + 1..]);
        let digits = mark.iter().rev().take_while(|c| c.is_ascii_digit()).count();
        let name = str::from_utf8(&mark[..mark.len() - digits]).ok()?;
        let coding = Coding::ALL.into_iter().find(|coding| coding.as_str() == name)?;
        let valid = (1..=2).contains(&digits) && coding != Coding::Identity;
        valid.then_some((Self { opaque, ..self }, coding))
    }

    /// As a field has it.
    pub(crate) fn write(self, to: &mut Vec<u8>) {
        to.extend_from_slice(if self.weak { b"W/\"" } else { b"\"" });
        to.extend_from_slice(self.opaque);
        to.push(b'"');
    }
}

/// The tag of the bytes that `coding` at this level makes of those that `plain` is
/// the tag of; weak if `plain` is, or if the bytes are not always the same.
///
/// `None` if `plain` is not an entity tag: then nothing can be said of the bytes.
pub(crate) fn marked(
    plain: &HeaderValue,
    coding: Coding,
    level: u8,
    weak: bool,
) -> Option<HeaderValue> {
    let tag = Tag::read(plain.as_bytes())?;
    let (name, digits) = (coding.as_str().as_bytes(), [b'0' + level / 10, b'0' + level % 10]);
    let digits = if level < 10 { &digits[1..] } else { &digits[..] };
    let mut text = Vec::with_capacity(tag.opaque.len() + name.len() + 6);
    text.extend_from_slice(if weak || tag.weak { b"W/\"" } else { b"\"" });
    text.extend_from_slice(tag.opaque);
    text.push(MARK);
    text.extend_from_slice(name);
    text.extend_from_slice(digits);
    text.push(b'"');
    HeaderValue::from_maybe_shared(bytes::Bytes::from(text)).ok()
}

/// The tags of a line of `If-Match` or `If-None-Match`, in which commas may also
/// stand within quotes; what is none is left out.
pub(crate) fn tags(line: &[u8]) -> impl Iterator<Item = Tag<'_>> {
    let mut rest = line;
    std::iter::from_fn(move || {
        while !rest.is_empty() {
            let mut quoted = false;
            let end = rest.iter().position(|&c| {
                quoted ^= c == b'"';
                c == b',' && !quoted
            });
            let (one, after) = rest.split_at(end.unwrap_or(rest.len()));
            rest = after.get(1..).unwrap_or_default();
            if let Some(tag) = Tag::read(one.trim_ascii()) {
                return Some(tag);
            }
        }
        None
    })
}

/// Stands before the coding's name. Servers that mark tags themselves use a
/// hyphen or a semicolon.
pub(crate) const MARK: u8 = b'+';

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn value(text: &str) -> HeaderValue {
        HeaderValue::from_bytes(text.as_bytes()).unwrap()
    }

    #[test]
    fn a_tag_gets_the_mark_of_its_coding() {
        for (plain, coding, level, weak, meant) in [
            ("\"v1\"", Coding::Gzip, 6, false, Some("\"v1+gzip6\"")),
            ("\"v1\"", Coding::Zstd, 12, false, Some("\"v1+zstd12\"")),
            ("\"v1\"", Coding::Br, 5, true, Some("W/\"v1+br5\"")),
            ("W/\"v1\"", Coding::Gzip, 6, false, Some("W/\"v1+gzip6\"")),
            ("\"\"", Coding::Deflate, 1, false, Some("\"+deflate1\"")),
            ("v1", Coding::Gzip, 6, false, None),
            ("w/\"v1\"", Coding::Gzip, 6, false, None),
            ("\"v1", Coding::Gzip, 6, false, None),
            ("\"", Coding::Gzip, 6, false, None),
            ("\"a\"b\"", Coding::Gzip, 6, false, None),
        ] {
            let meant = meant.map(value);
            assert_eq!(marked(&value(plain), coding, level, weak), meant, "{plain}");
        }
    }

    #[test]
    fn only_a_mark_of_ours_is_taken_off() {
        for (marked, meant) in [
            ("\"v1+gzip6\"", Some(("v1", Coding::Gzip))),
            ("W/\"v1+br11\"", Some(("v1", Coding::Br))),
            ("\"v1+br5+gzip6\"", Some(("v1+br5", Coding::Gzip))),
            ("\"v1\"", None),
            ("\"v1+gzip\"", None),
            ("\"v1+gzip123\"", None),
            ("\"v1+GZIP6\"", None),
            ("\"v1+identity1\"", None),
            ("\"v1-gzip6\"", None),
            ("\"v1+6\"", None),
        ] {
            let unmarked = Tag::read(marked.as_bytes()).unwrap().unmarked();
            let meant = meant.map(|(opaque, coding)| (opaque.as_bytes(), coding));
            assert_eq!(unmarked.map(|(tag, coding)| (tag.opaque, coding)), meant, "{marked}");
        }
    }

    #[test]
    fn a_list_is_split_at_commas_outside_of_quotes() {
        for (line, meant) in [
            ("\"a\", W/\"b\" ,\"c\"", &["a", "b", "c"][..]),
            ("\"a,b\", \"c\"", &["a,b", "c"]),
            (",, \"a\",", &["a"]),
            ("*", &[]),
            ("a, \"b\"", &["b"]),
            ("\"a", &[]),
            ("", &[]),
        ] {
            let found: Vec<_> = tags(line.as_bytes()).map(|tag| tag.opaque).collect();
            assert_eq!(found, meant.iter().map(|tag| tag.as_bytes()).collect::<Vec<_>>(), "{line}");
        }
    }

    proptest! {
        #[test]
        fn a_mark_comes_off_as_it_went_on_and_tells_codings_apart(
            opaque in "[!#-~]{0,12}", weak: bool, level in 0..20_u8, other in 0..20_u8,
        ) {
            let plain = value(&format!("{}\"{opaque}\"", if weak { "W/" } else { "" }));
            let mut seen = vec![plain.clone()];
            for coding in [Coding::Gzip, Coding::Deflate, Coding::Br, Coding::Zstd] {
                for level in if level == other { vec![level] } else { vec![level, other] } {
                    let tag = marked(&plain, coding, level, false).unwrap();
                    let (back, found) = Tag::read(tag.as_bytes()).unwrap().unmarked().unwrap();
                    let mut text = Vec::new();
                    back.write(&mut text);
                    prop_assert_eq!((&text[..], found), (plain.as_bytes(), coding));
                    prop_assert!(!seen.contains(&tag));
                    seen.push(tag);
                }
            }
        }
    }
}
