use std::fmt;
use std::sync::OnceLock;

use http::HeaderValue;

use crate::{AcceptedCodings, Coding};

/// The codings that a layer chooses among, in its order of preference.
///
/// A response that depends on `Accept-Encoding` by this choice alone says so with
/// the line [`vary`](Self::vary): a cache of the same program that finds it by
/// [`of_vary`](Self::of_vary) need not tell requests apart for which the choice is
/// the same. On the wire it is a line of `Vary` like any other, and none that came
/// from there is taken for it.
///
/// ```
/// use tower_edge_core::{AcceptedCodings, Coding, CodingChoice, OfferedCodings};
///
/// let offered = OfferedCodings::new([Coding::Br, Coding::Gzip]);
/// let chosen = |field| AcceptedCodings::parse(field).map(|accepted| offered.choose(&accepted));
/// assert_eq!(chosen("deflate, gzip;q=0.5"), Some(CodingChoice::Encode(Coding::Gzip)));
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct OfferedCodings {
    /// Behind the last one all are `Identity`.
    codings: [Coding; MOST],
}

/// What a response to a client is encoded with, if it is fit for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum CodingChoice {
    /// This coding.
    Encode(Coding),
    /// None.
    Plain,
    /// None, though the client does not want the bytes as they are either.
    NotAcceptable,
}

impl OfferedCodings {
    /// These codings, the one that is preferred most first; without `identity`, which
    /// is always there, and what is named again.
    pub fn new(codings: impl IntoIterator<Item = Coding>) -> Self {
        let mut offered = Self { codings: [Coding::Identity; MOST] };
        for coding in codings {
            if let Some(free) = offered.codings.iter().position(|&known| known == Coding::Identity)
                && !offered.codings.contains(&coding)
            {
                offered.codings[free] = coding;
            }
        }
        offered
    }

    /// The codings in their order.
    pub fn iter(&self) -> impl Iterator<Item = Coding> {
        self.codings.into_iter().take_while(|&coding| coding != Coding::Identity)
    }

    /// Chooses for a client (RFC 9110 §12.5.3).
    ///
    /// What it wants most is taken, and the first of those that it wants alike. The
    /// bytes as they are have to be wanted more than any coding.
    pub fn choose(&self, accepted: &AcceptedCodings) -> CodingChoice {
        let wanted = self.iter().map(|coding| (accepted.quality(coding), coding));
        let best = wanted.reduce(|best, next| if next.0 > best.0 { next } else { best });
        let plain = accepted.quality(Coding::Identity);
        match best {
            Some((quality, coding)) if quality > 0 && quality >= plain => {
                CodingChoice::Encode(coding)
            }
            _ if plain > 0 => CodingChoice::Plain,
            _ => CodingChoice::NotAcceptable,
        }
    }

    /// The line of `Vary` that names `Accept-Encoding` for a response that depends on
    /// it by [`choose`](Self::choose) alone, whatever the service inside does.
    pub fn vary(&self) -> &'static HeaderValue {
        let number =
            self.codings.iter().fold(0, |sum, &coding| Coding::ALL.len() * sum + coding as usize);
        let line = || str::from_utf8(&LINES[number]).expect("a line is ASCII");
        VALUES[number].get_or_init(|| HeaderValue::from_static(line()))
    }

    /// The codings that were chosen among, if this is a line made by
    /// [`vary`](Self::vary), or a clone of one.
    pub fn of_vary(line: &HeaderValue) -> Option<Self> {
        let at = line.as_bytes().as_ptr().addr().checked_sub(LINES.as_ptr().addr())?;
        let mut number = at / LINE.len();
        if number >= LINES.len() || at % LINE.len() != 0 || line.len() != LINE.len() {
            return None;
        }
        let mut codings = [Coding::Identity; MOST];
        for coding in codings.iter_mut().rev() {
            *coding = Coding::ALL[number % Coding::ALL.len()];
            number /= Coding::ALL.len();
        }
        Some(Self { codings })
    }
}

impl fmt::Debug for OfferedCodings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.iter()).finish()
    }
}

/// All but `identity`.
const MOST: usize = Coding::ALL.len() - 1;

const LINE: &[u8; 15] = b"accept-encoding";

/// A line for each order of codings, known by its place: what tells it from others
/// costs neither memory nor a look at its text, and goes wherever the line goes.
static LINES: [[u8; LINE.len()]; Coding::ALL.len().pow(MOST as u32)] =
    [*LINE; Coding::ALL.len().pow(MOST as u32)];

/// Each of them as a value, checked once.
static VALUES: [OnceLock<HeaderValue>; LINES.len()] = [const { OnceLock::new() }; LINES.len()];

#[cfg(test)]
mod tests {
    use http::HeaderMap;
    use http::header::VARY;
    use proptest::prelude::*;

    use super::*;

    const OFFERED: [Coding; 4] = [Coding::Zstd, Coding::Br, Coding::Gzip, Coding::Deflate];

    fn chosen(field: &str, offered: &[Coding]) -> CodingChoice {
        let offered = OfferedCodings::new(offered.iter().copied());
        offered.choose(&AcceptedCodings::parse(field).unwrap())
    }

    #[test]
    fn the_most_wanted_coding_is_chosen_then_the_first_in_order() {
        use CodingChoice::{Encode, NotAcceptable, Plain};
        for (field, choice) in [
            ("", Plain),
            ("gzip", Encode(Coding::Gzip)),
            ("GZip;Q=1.0", Encode(Coding::Gzip)),
            ("x-gzip", Encode(Coding::Gzip)),
            ("gzip, deflate, br, zstd", Encode(Coding::Zstd)),
            ("gzip, deflate, br", Encode(Coding::Br)),
            ("gzip;q=1.0, br;q=0.9", Encode(Coding::Gzip)),
            ("deflate, gzip;q=0.999", Encode(Coding::Deflate)),
            ("*", Encode(Coding::Zstd)),
            ("*, zstd;q=0", Encode(Coding::Br)),
            ("*;q=0.1, gzip;q=0.2", Encode(Coding::Gzip)),
            ("gzip;q=0.001", Encode(Coding::Gzip)),
            ("gzip;q=0", Plain),
            ("identity", Plain),
            ("identity, gzip", Encode(Coding::Gzip)),
            ("identity;q=0.5, gzip;q=0.4", Plain),
            ("identity;q=1, *;q=0", Plain),
            ("identity;q=0", NotAcceptable),
            ("*;q=0", NotAcceptable),
            ("*;q=0, gzip", Encode(Coding::Gzip)),
            ("*;q=0, gzip;q=0, identity", Plain),
            ("identity;q=0, gzip;q=0.1", Encode(Coding::Gzip)),
        ] {
            assert_eq!(chosen(field, &OFFERED), choice, "{field}");
        }
    }

    #[test]
    fn what_is_not_offered_is_not_chosen() {
        for (field, offered, choice) in [
            ("br, gzip", &[Coding::Gzip][..], CodingChoice::Encode(Coding::Gzip)),
            ("br", &[Coding::Gzip], CodingChoice::Plain),
            ("br, gzip", &[Coding::Gzip, Coding::Br], CodingChoice::Encode(Coding::Gzip)),
            ("br, identity;q=0", &[Coding::Gzip], CodingChoice::NotAcceptable),
            ("*", &[], CodingChoice::Plain),
        ] {
            assert_eq!(chosen(field, offered), choice, "{field} of {offered:?}");
        }
    }

    #[test]
    fn a_line_tells_a_cache_what_was_chosen_among() {
        let all = [&[][..], &[Coding::Gzip], &[Coding::Gzip, Coding::Br], &OFFERED];
        for codings in all {
            let offered = OfferedCodings::new(codings.iter().copied());
            let mut fields = HeaderMap::new();
            fields.append(VARY, offered.vary().clone());
            let line = fields.clone().remove(VARY).unwrap();
            assert_eq!(line, "accept-encoding");
            assert_eq!(OfferedCodings::of_vary(&line), Some(offered));
            assert!(offered.iter().eq(codings.iter().copied()));
        }
    }

    #[test]
    fn a_line_of_the_same_text_tells_nothing() {
        let line = OfferedCodings::new(OFFERED).vary();
        let copy = HeaderValue::from_bytes(line.as_bytes()).unwrap();
        for other in
            [copy, HeaderValue::from_static("accept-encoding"), HeaderValue::from_static("")]
        {
            assert_eq!(OfferedCodings::of_vary(&other), None);
        }
        let piece =
            HeaderValue::from_maybe_shared(bytes::Bytes::from_static(&LINES[7][1..])).unwrap();
        assert_eq!(OfferedCodings::of_vary(&piece), None);
    }

    #[test]
    fn no_coding_is_offered_twice() {
        let codings = [Coding::Gzip, Coding::Identity, Coding::Gzip, Coding::Br];
        let offered = OfferedCodings::new(codings);
        assert_eq!(format!("{offered:?}"), "[Gzip, Br]");
    }

    proptest! {
        #[test]
        fn no_coding_is_chosen_that_is_wanted_less_than_another(
            qualities in prop::array::uniform5(0..4_u16), any in prop::option::of(0..4_u16),
        ) {
            let named = Coding::ALL.iter().zip(qualities).filter(|(_, quality)| *quality < 3);
            let mut field: Vec<_> =
                named.map(|(coding, quality)| format!("{};q=0.{quality}", coding.as_str())).collect();
            field.extend(any.map(|quality| format!("*;q=0.{quality}")));
            let accepted = AcceptedCodings::parse(&field.join(",")).unwrap();
            let quality = |coding| accepted.quality(coding);
            match OfferedCodings::new(OFFERED).choose(&accepted) {
                CodingChoice::Encode(coding) => {
                    prop_assert!(quality(coding) > 0);
                    prop_assert!(Coding::ALL.iter().all(|&other| quality(other) <= quality(coding)));
                }
                CodingChoice::Plain => {
                    let plain = quality(Coding::Identity);
                    prop_assert!(plain > 0 && OFFERED.iter().all(|&other| quality(other) < plain));
                }
                CodingChoice::NotAcceptable => {
                    prop_assert!(Coding::ALL.iter().all(|&other| quality(other) == 0));
                }
            }
        }
    }
}
