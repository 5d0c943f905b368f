use tower_edge_core::{AcceptedCodings, Coding};

/// What a response to a client is encoded with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Choice {
    /// This coding, if the response is fit for it.
    Encode(Coding),
    /// None.
    Plain,
    /// None, though the client wants the bytes as they are no more than any coding
    /// that there is.
    NotAcceptable,
}

/// Chooses among the codings `offered`, in their order of preference
/// (RFC 9110 §12.5.3).
///
/// What the client wants most is taken, and the first of those that it wants
/// alike. The bytes as they are have to be wanted more than any coding.
pub(crate) fn choose(accepted: &AcceptedCodings, offered: &[Coding]) -> Choice {
    let wanted = offered.iter().map(|&coding| (accepted.quality(coding), coding));
    let best = wanted.reduce(|best, next| if next.0 > best.0 { next } else { best });
    let plain = accepted.quality(Coding::Identity);
    match best {
        Some((quality, coding)) if quality > 0 && quality >= plain => Choice::Encode(coding),
        _ if plain > 0 => Choice::Plain,
        _ => Choice::NotAcceptable,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const OFFERED: [Coding; 4] = [Coding::Zstd, Coding::Br, Coding::Gzip, Coding::Deflate];

    fn chosen(field: &str, offered: &[Coding]) -> Choice {
        choose(&AcceptedCodings::parse(field).unwrap(), offered)
    }

    #[test]
    fn the_most_wanted_coding_is_chosen_then_the_first_in_order() {
        use Choice::{Encode, NotAcceptable, Plain};
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
            ("br, gzip", &[Coding::Gzip][..], Choice::Encode(Coding::Gzip)),
            ("br", &[Coding::Gzip], Choice::Plain),
            ("br, gzip", &[Coding::Gzip, Coding::Br], Choice::Encode(Coding::Gzip)),
            ("br, identity;q=0", &[Coding::Gzip], Choice::NotAcceptable),
            ("*", &[], Choice::Plain),
        ] {
            assert_eq!(chosen(field, offered), choice, "{field} of {offered:?}");
        }
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
            match choose(&accepted, &OFFERED) {
                Choice::Encode(coding) => {
                    prop_assert!(quality(coding) > 0);
                    prop_assert!(Coding::ALL.iter().all(|&other| quality(other) <= quality(coding)));
                }
                Choice::Plain => {
                    let plain = quality(Coding::Identity);
                    prop_assert!(plain > 0 && OFFERED.iter().all(|&other| quality(other) < plain));
                }
                Choice::NotAcceptable => {
                    prop_assert!(Coding::ALL.iter().all(|&other| quality(other) == 0));
                }
            }
        }
    }
}
