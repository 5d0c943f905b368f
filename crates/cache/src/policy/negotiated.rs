use http::HeaderMap;
use http::header::{CONTENT_ENCODING, VARY};
use tower_edge_core::{AcceptedCodings, Coding, CodingChoice, OfferedCodings};

/// What a layer inside has chosen for a request, and among what: all that it makes of
/// `Accept-Encoding`.
///
/// Requests for which it chooses the same get the same response, whatever they
/// accept besides: as far as the service is concerned their fields mean the same
/// (RFC 9111 §4.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Negotiated {
    offered: OfferedCodings,
    choice: CodingChoice,
}

impl Negotiated {
    /// Notes the choice for a request, if its response says how that was made, and
    /// nobody chose besides.
    ///
    /// A response in a coding that was not chosen is somebody else's: a client for
    /// which the choice is the same may not accept it.
    pub(crate) fn of(request: &HeaderMap, response: &HeaderMap) -> Option<Self> {
        let offered = offered(response)?;
        let choice = offered.choose(&AcceptedCodings::known(request));
        let mut codings = response.get_all(CONTENT_ENCODING).iter();
        let coding = match codings.next() {
            Some(coding) => Coding::from_name(coding.to_str().ok()?)?,
            None => Coding::Identity,
        };
        let is_chosen = coding == Coding::Identity || choice == CodingChoice::Encode(coding);
        (is_chosen && codings.next().is_none()).then_some(Self { offered, choice })
    }

    /// Reads what [`names`](Self::names) gives.
    pub(crate) fn from_names(offered: &[&str], chosen: &str) -> Option<Self> {
        let coding = |name: &&str| Coding::from_name(name);
        let offered = offered.iter().map(coding).collect::<Option<Vec<_>>>()?;
        let choice = match Coding::from_name(chosen) {
            Some(Coding::Identity) => CodingChoice::Plain,
            Some(coding) => CodingChoice::Encode(coding),
            None => CodingChoice::NotAcceptable,
        };
        Some(Self { offered: OfferedCodings::new(offered), choice })
    }

    /// The names of what was offered, and of what was chosen.
    pub(crate) fn names(self) -> (Vec<&'static str>, &'static str) {
        let chosen = match self.choice {
            CodingChoice::Encode(coding) => coding.as_str(),
            CodingChoice::Plain => Coding::Identity.as_str(),
            CodingChoice::NotAcceptable => "",
        };
        (self.offered.iter().map(Coding::as_str).collect(), chosen)
    }

    /// Says again in `Vary`, of which only the text was kept, what was chosen among.
    pub(crate) fn restore(self, response: &mut HeaderMap) {
        let vary = self.offered.vary();
        if let http::header::Entry::Occupied(mut lines) = response.entry(VARY) {
            lines.iter_mut().filter(|line| *line == vary).for_each(|line| *line = vary.clone());
        }
    }

    /// Whether the choice is the same for this request.
    pub(crate) fn matches(self, request: &HeaderMap) -> bool {
        self.is_for(&AcceptedCodings::known(request))
    }

    /// Whether it is the choice for a client that accepts this.
    pub(crate) fn is_for(self, accepted: &AcceptedCodings) -> bool {
        self.offered.choose(accepted) == self.choice
    }

    /// The choice for this request.
    pub(crate) fn choice(self, request: &HeaderMap) -> CodingChoice {
        self.offered.choose(&AcceptedCodings::known(request))
    }

    /// Whether the response says that it was chosen among the same.
    pub(crate) fn is_by(self, response: &HeaderMap) -> bool {
        offered(response) == Some(self.offered)
    }
}

/// What was chosen among, if that is the only way in which a response depends on
/// `Accept-Encoding`.
fn offered(response: &HeaderMap) -> Option<OfferedCodings> {
    let mut lines = response.get_all(VARY).iter();
    let offered = lines.find_map(OfferedCodings::of_vary)?;
    let names = |line: &[u8]| {
        let mut names = line.split(|&c| c == b',').map(<[u8]>::trim_ascii);
        names.any(|name| name.eq_ignore_ascii_case(b"accept-encoding"))
    };
    let naming = response.get_all(VARY).iter().filter(|line| names(line.as_bytes())).count();
    (naming == 1).then_some(offered)
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    const OFFERED: [Coding; 3] = [Coding::Zstd, Coding::Br, Coding::Gzip];

    fn accepting(field: Option<&str>) -> HeaderMap {
        let value = field.map(|field| (http::header::ACCEPT_ENCODING, field.parse().unwrap()));
        value.into_iter().collect()
    }

    fn response(vary: &[HeaderValue], coding: Option<&str>) -> HeaderMap {
        let vary = vary.iter().map(|line| (VARY, line.clone()));
        let coding = coding.map(|coding| (CONTENT_ENCODING, coding.parse().unwrap()));
        vary.chain(coding).collect()
    }

    fn mark() -> HeaderValue {
        OfferedCodings::new(OFFERED).vary().clone()
    }

    #[test]
    fn requests_match_for_which_the_choice_is_the_same() {
        for (noted, coding, request, matches) in [
            (Some("gzip"), Some("gzip"), Some("gzip, deflate"), true),
            (Some("gzip"), Some("gzip"), Some("x-gzip;q=0.2, br;q=0, sdch"), true),
            (Some("gzip"), None, Some("deflate, gzip"), true),
            (Some("gzip"), Some("gzip"), Some("gzip, br"), false),
            (Some("gzip"), Some("gzip"), Some("gzip;q=0.5, identity"), false),
            (Some("gzip"), Some("gzip"), None, false),
            (Some("*"), Some("zstd"), Some("gzip, deflate, br, zstd"), true),
            (None, None, Some("identity"), true),
            (None, None, Some("deflate"), true),
            (None, Some("identity"), Some(""), true),
            (None, None, Some("identity;q=0"), false),
            (Some("*;q=0"), None, Some("identity;q=0"), true),
        ] {
            let response = response(&[mark()], coding);
            let negotiated = Negotiated::of(&accepting(noted), &response).unwrap();
            let found = negotiated.matches(&accepting(request));
            assert_eq!(found, matches, "{noted:?} {request:?}");
        }
    }

    #[test]
    fn what_may_have_been_chosen_otherwise_is_not_known() {
        let text = |text: &str| HeaderValue::from_str(text).unwrap();
        let other = OfferedCodings::new([Coding::Gzip]).vary().clone();
        for (vary, coding, known) in [
            (&[mark()][..], Some("gzip"), true),
            (&[text("accept"), mark(), text("origin, cookie")], Some("gzip"), true),
            (&[text("accept-encoding")], Some("gzip"), false),
            (&[mark(), text("x, Accept-Encoding")], Some("gzip"), false),
            (&[mark(), mark()], Some("gzip"), false),
            (&[mark(), other], Some("gzip"), false),
            (&[], Some("gzip"), false),
            (&[mark()], Some("br"), false),
            (&[mark()], Some("gzip, br"), false),
            (&[mark()], Some("compress"), false),
        ] {
            let found = Negotiated::of(&accepting(Some("gzip")), &response(vary, coding));
            assert_eq!(found.is_some(), known, "{vary:?} {coding:?}");
        }
    }

    #[test]
    fn it_is_read_as_it_was_written() {
        for field in ["gzip", "", "*;q=0"] {
            let negotiated = Negotiated::of(&accepting(Some(field)), &response(&[mark()], None));
            let (offered, chosen) = negotiated.unwrap().names();
            assert_eq!(offered, ["zstd", "br", "gzip"]);
            assert_eq!(Negotiated::from_names(&offered, chosen), negotiated, "{field}");
        }
        assert_eq!(Negotiated::from_names(&["sdch"], "gzip"), None);
    }

    #[test]
    fn the_line_of_vary_is_known_again() {
        let noted = Negotiated::of(&accepting(Some("gzip")), &response(&[mark()], None)).unwrap();
        let lines = ["accept", "accept-encoding"].map(HeaderValue::from_static);
        let mut fields = response(&lines, None);
        assert!(!noted.is_by(&fields));
        noted.restore(&mut fields);
        assert!(noted.is_by(&fields) && fields == response(&lines, None));
    }

    #[test]
    fn a_response_chosen_among_others_is_not_by_the_same() {
        let noted = Negotiated::of(&accepting(Some("gzip")), &response(&[mark()], None)).unwrap();
        let other = OfferedCodings::new([Coding::Gzip]).vary().clone();
        for (line, same) in
            [(mark(), true), (other, false), ("accept-encoding".parse().unwrap(), false)]
        {
            assert_eq!(noted.is_by(&response(&[line], None)), same);
        }
    }
}
