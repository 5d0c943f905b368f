use std::cell::OnceCell;
use std::hash::{BuildHasher, Hash, Hasher};

use http::header::{
    ACCEPT, ACCEPT_CHARSET, ACCEPT_ENCODING, ACCEPT_LANGUAGE, CONTENT_ENCODING, InvalidHeaderName,
    VARY,
};
use http::{HeaderMap, HeaderName, HeaderValue};
use tower_edge_core::{AcceptedCodings, Coding};

use super::conditions::strong_tag;
use super::negotiated::Negotiated;
use crate::heap::{self, allocated};

/// The fields of a request that selected a response, with their values
/// (RFC 9111 §4.1).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Selection {
    fields: Box<[(HeaderName, Value)]>,
    /// In place of `Accept-Encoding`, where it is known what that means to the
    /// service.
    coding: Option<Negotiated>,
}

/// All lines of a field as one; `None` where the request had none.
type Value = Option<Box<[u8]>>;

impl Selection {
    /// Notes what the `Vary` of a response nominates, and what a request has that
    /// stands for a part of its target; `None` if `Vary` cannot be read, so that
    /// the response cannot be selected by anything.
    pub(crate) fn of(request: &HeaderMap, response: &HeaderMap) -> Option<Self> {
        let mut names = nominated(response).collect::<Result<Vec<_>, _>>().ok()?;
        let coding = Negotiated::of(request, response);
        names.retain(|name| name != ACCEPT_ENCODING || coding.is_none());
        names.extend(stand_ins(request).cloned());
        names.sort_unstable_by(|a, b| a.as_str().cmp(b.as_str()));
        names.dedup();
        let value = |name: HeaderName| {
            let present = request.contains_key(&name);
            let value = present.then(|| combined(request, &name).collect());
            (name, value)
        };
        Some(Self { fields: names.into_iter().map(value).collect(), coding })
    }

    /// Whether `request` selects the same response.
    pub(crate) fn matches(&self, request: &HeaderMap) -> bool {
        self.matches_reading(request, &OnceCell::new())
    }

    /// As [`matches`](Self::matches), for who asks several about one request: what its
    /// client accepts is read once.
    pub(crate) fn matches_reading(
        &self,
        request: &HeaderMap,
        accepted: &OnceCell<AcceptedCodings>,
    ) -> bool {
        let accepted = || accepted.get_or_init(|| AcceptedCodings::known(request));
        self.fields.iter().all(|field| matches(request, field))
            && self.coding.is_none_or(|coding| coding.is_for(accepted()))
            && stand_ins(request).all(|name| self.fields.iter().any(|(noted, _)| noted == name))
    }

    /// Whether a service that chooses this response, which has the fields `stored`,
    /// for `request` too would say so by its entity tag.
    ///
    /// Not where it differs in what the client accepts, and that is the plain bytes or
    /// none of it: servers that encode have one tag for the plain bytes and the encoded
    /// ones, strong for these and weak for those, and say of either that it is not
    /// modified.
    pub(crate) fn may_be_meant(&self, request: &HeaderMap, stored: &HeaderMap) -> bool {
        if let Some(coding) = self.coding {
            return coding.matches(request);
        }
        let accepts = self.fields.iter().find(|(name, _)| name == ACCEPT_ENCODING);
        accepts.is_none_or(|noted| {
            matches(request, noted)
                || (strong_tag(stored).is_some() && is_encoded_for(request, stored))
        })
    }

    /// Whether the `Vary` of a response nominates anything.
    pub(crate) fn varies(response: &HeaderMap) -> bool {
        nominated(response).next().is_some()
    }

    /// Whether all is noted that the `Vary` of a response nominates.
    pub(crate) fn notes(&self, response: &HeaderMap) -> bool {
        let chosen = self.coding.is_some_and(|coding| coding.is_by(response));
        let noted = |name| {
            self.fields.iter().any(|(noted, _)| *noted == name)
                || (chosen && name == ACCEPT_ENCODING)
        };
        nominated(response).all(|name| name.is_ok_and(noted))
    }

    /// A digest of what this nominates in `request`: requests that select the same
    /// response mostly have the same.
    pub(crate) fn digest(&self, request: &HeaderMap, seed: &impl BuildHasher) -> u64 {
        let mut hasher = seed.build_hasher();
        for name in self.fields.iter().map(|(name, _)| name).chain(stand_ins(request)) {
            name.hash(&mut hasher);
            match AcceptedCodings::of(request).filter(|_| name == ACCEPT_ENCODING) {
                Some(codings) => codings.hash(&mut hasher),
                None => combined(request, name).for_each(|byte| hasher.write_u8(byte)),
            }
        }
        if let Some(coding) = self.coding {
            coding.choice(request).hash(&mut hasher);
        }
        hasher.finish()
    }

    /// The fields by name, each with its value if there was one.
    pub(crate) fn fields(&self) -> impl Iterator<Item = (&str, Option<&[u8]>)> {
        self.fields.iter().map(|(name, value)| (name.as_str(), value.as_deref()))
    }

    /// How a coding was negotiated, where that is known.
    pub(crate) fn coding(&self) -> Option<Negotiated> {
        self.coding
    }

    /// A selection that has these [`fields`](Self::fields); `None` if there are no
    /// such names.
    pub(crate) fn from_fields(
        fields: Vec<(&str, Option<&[u8]>)>,
        coding: Option<Negotiated>,
    ) -> Option<Self> {
        let noted = |(name, value): (&str, Option<&[u8]>)| {
            Some((HeaderName::from_bytes(name.as_bytes()).ok()?, value.map(Box::from)))
        };
        let fields = fields.into_iter().map(noted).collect::<Option<_>>()?;
        Some(Self { fields, coding })
    }

    /// What it takes of memory, in bytes.
    pub(crate) fn weight(&self) -> usize {
        let texts = self.fields.iter().map(|(name, value)| {
            heap::name(name) + allocated(value.as_ref().map_or(0, |value| value.len()))
        });
        allocated(size_of_val(&*self.fields)) + texts.sum::<usize>()
    }
}

fn nominated(response: &HeaderMap) -> impl Iterator<Item = Result<HeaderName, InvalidHeaderName>> {
    let lines = response.get_all(VARY).iter().map(|line| line.as_bytes());
    let names = lines.flat_map(|line| line.split(|&c| c == b',')).map(<[u8]>::trim_ascii);
    names.filter(|name| !name.is_empty()).map(HeaderName::from_bytes)
}

/// Whether a request has a field as it is noted.
fn matches(request: &HeaderMap, (name, noted): &(HeaderName, Value)) -> bool {
    match noted {
        Some(noted) => {
            request.contains_key(name)
                && (combined(request, name).eq(noted.iter().copied())
                    || (name == ACCEPT_ENCODING && accepts_the_same(request, noted)))
        }
        None => !request.contains_key(name),
    }
}

/// Whether a response is encoded in a way that a client accepts.
fn is_encoded_for(request: &HeaderMap, response: &HeaderMap) -> bool {
    let coding = response.get(CONTENT_ENCODING).and_then(|coding| coding.to_str().ok());
    let coding = coding.and_then(Coding::from_name).filter(|&coding| coding != Coding::Identity);
    coding.is_some_and(|coding| AcceptedCodings::known(request).quality(coding) > 0)
}

/// Whether two values of `Accept-Encoding` have the same meaning, and none that
/// is not known here.
fn accepts_the_same(request: &HeaderMap, noted: &[u8]) -> bool {
    let noted = str::from_utf8(noted).ok().and_then(AcceptedCodings::parse);
    noted.is_some() && AcceptedCodings::of(request) == noted
}

/// All lines of a field as one value (RFC 9110 §5.3), without the white space that
/// means nothing in it.
fn combined(headers: &HeaderMap, name: &HeaderName) -> impl Iterator<Item = u8> {
    let lines = headers.get_all(name).iter().map(|line| line.as_bytes().trim_ascii());
    let bytes = lines.enumerate().flat_map(|(at, line)| {
        let separator: &[u8] = if at == 0 { b"" } else { b", " };
        separator.iter().chain(line).copied()
    });
    let tight = LISTS.contains(name) && headers.get_all(name).iter().all(is_plain_list);
    bytes.filter(move |byte| !(tight && matches!(byte, b' ' | b'\t')))
}

/// Whether white space stands around commas and semicolons only, so that it means
/// nothing: whoever writes it elsewhere may get something else.
fn is_plain_list(line: &HeaderValue) -> bool {
    let mut pieces = line.as_bytes().split(|c| matches!(c, b',' | b';')).map(<[u8]>::trim_ascii);
    pieces.all(|piece| !piece.iter().any(|c| matches!(c, b' ' | b'\t' | b'"')))
}

/// The fields of a request that origins take for their own host, scheme or path,
/// and rarely name in `Vary`: they tell responses apart as the target does.
fn stand_ins(request: &HeaderMap) -> impl Iterator<Item = &HeaderName> {
    request
        .keys()
        .filter(|name| name.as_str().starts_with("x-") && STAND_INS.contains(&name.as_str()))
}

/// Lists in which white space around commas and semicolons means nothing.
const LISTS: [HeaderName; 4] = [ACCEPT, ACCEPT_CHARSET, ACCEPT_ENCODING, ACCEPT_LANGUAGE];

const STAND_INS: [&str; 7] = [
    "x-forwarded-host",
    "x-forwarded-port",
    "x-forwarded-prefix",
    "x-forwarded-proto",
    "x-forwarded-scheme",
    "x-original-url",
    "x-rewrite-url",
];

#[cfg(test)]
mod tests {
    use tower_edge_core::OfferedCodings;

    use super::*;

    fn map(fields: &[(&str, &str)]) -> HeaderMap {
        fields.iter().map(|(name, value)| (name.parse().unwrap(), value.parse().unwrap())).collect()
    }

    #[test]
    fn a_request_selects_what_its_nominated_fields_match() {
        const NOTED: &[(&str, &str)] = &[("accept", "a"), ("accept", "b"), ("x", "1")];
        for (vary, request, matches) in [
            ("accept", &[("accept", "a, b")][..], true),
            ("Accept , ,", &[("accept", " a"), ("accept", "b ")], true),
            ("accept", &[("accept", "b, a")], false),
            ("accept", &[], false),
            ("y", &[], true),
            ("y", &[("y", "")], false),
            ("", &[], true),
            ("accept, x", &[("accept", "a, b"), ("x", "1")], true),
            ("accept, x", &[("accept", "a, b"), ("x", "2")], false),
        ] {
            let selection = Selection::of(&map(NOTED), &map(&[("vary", vary)])).unwrap();
            assert_eq!(selection.matches(&map(request)), matches, "{vary} {request:?}");
        }
    }

    #[test]
    fn accepted_codings_are_compared_by_their_meaning() {
        for (noted, request, matches) in [
            ("gzip, br", "BR;q=1.0,gzip", true),
            ("gzip, br", "gzip", false),
            ("gzip, sdch", "sdch, gzip", false),
            ("gzip, sdch", "gzip, sdch", true),
        ] {
            let (noted, request) = (("accept-encoding", noted), ("accept-encoding", request));
            let vary = map(&[("vary", "Accept-Encoding")]);
            let selection = Selection::of(&map(&[noted]), &vary).unwrap();
            assert_eq!(selection.matches(&map(&[request])), matches, "{noted:?} {request:?}");
        }
    }

    #[test]
    fn a_choice_stands_in_for_accepted_codings_and_nothing_else() {
        let mark = |codings: &[Coding]| {
            let mut fields = map(&[("vary", "accept-language")]);
            let offered = OfferedCodings::new(codings.iter().copied());
            fields.append(VARY, offered.vary().clone());
            fields
        };
        let (gzip, both) = (mark(&[Coding::Gzip]), mark(&[Coding::Br, Coding::Gzip]));
        let request =
            |codings, language| map(&[("accept-encoding", codings), ("accept-language", language)]);
        let selection = Selection::of(&request("gzip, br", "de"), &gzip).unwrap();
        for (codings, language, meant, matches) in [
            ("br, gzip;q=0.5", "de", true, true),
            ("gzip", "en", true, false),
            ("br", "de", false, false),
        ] {
            let request = request(codings, language);
            assert_eq!(selection.may_be_meant(&request, &map(&[])), meant, "{codings}");
            assert_eq!(selection.matches(&request), matches, "{codings} {language}");
        }
        assert!(selection.fields().all(|(name, _)| name == "accept-language"));
        let plain = map(&[("vary", "accept-encoding")]);
        let notes = [&gzip, &both, &plain, &map(&[])].map(|response| selection.notes(response));
        assert_eq!(notes, [true, false, false, true]);
    }

    #[test]
    fn a_tag_tells_an_encoded_response_from_the_plain_one_or_it_does_not() {
        let (gzip, plain) = (Some("gzip"), None);
        for (noted, tag, coding, asked, meant) in [
            ("gzip", "W/\"a\"", gzip, "gzip;q=1", true),
            ("gzip", "W/\"a\"", gzip, "gzip, br", false),
            ("gzip", "\"a\"", gzip, "gzip, br", true),
            ("gzip", "\"a\"", Some("GZIP"), "gzip, br", true),
            ("gzip", "\"a\"", gzip, "br", false),
            ("gzip", "\"a\"", Some("sdch"), "gzip, sdch", false),
            ("identity", "\"a\"", plain, "gzip", false),
            ("identity", "\"a\"", Some("identity"), "gzip", false),
            ("identity", "\"a\"", plain, "Identity;q=1", true),
        ] {
            let mut stored = map(&[("vary", "accept-encoding, x"), ("etag", tag)]);
            let coding = coding.map(|coding| (CONTENT_ENCODING, coding.parse().unwrap()));
            stored.extend(coding);
            let request = |field| map(&[("accept-encoding", field)]);
            let selection = Selection::of(&request(noted), &stored).unwrap();
            let mut other = request(asked);
            other.insert("x", HeaderValue::from_static("1"));
            assert_eq!(selection.may_be_meant(&other, &stored), meant, "{noted} {tag} {asked}");
        }
        // Where nothing depends on it, all may.
        let stored = map(&[("vary", "x"), ("etag", "W/\"a\"")]);
        let selection = Selection::of(&map(&[]), &stored).unwrap();
        assert!(selection.may_be_meant(&map(&[("accept-encoding", "br"), ("x", "1")]), &stored));
    }

    #[test]
    fn white_space_of_lists_does_not_matter() {
        for (name, noted, request, matches) in [
            ("accept-language", "de;q=0.5, en", "de; q=0.5\t,en", true),
            ("accept", "a/b,c/d", "a/b , c/d", true),
            ("accept", "a/b", "a/ b", false),
            ("accept-language", "de", "d e", false),
            ("accept-language", "de, d e", "de,d e", false),
            ("accept", "a/b;x=\"c, d\"", "a/b;x=\"c,d\"", false),
            ("accept", "a/b;x=\"c\", d/e", "a/b;x=\"c\", d/e", true),
            ("user-agent", "a, b", "a,b", false),
            ("cookie", "a=1; b", "a=1;b", false),
        ] {
            let vary = map(&[("vary", name)]);
            let selection = Selection::of(&map(&[(name, noted)]), &vary).unwrap();
            assert_eq!(selection.matches(&map(&[(name, request)])), matches, "{noted} {request}");
        }
    }

    #[test]
    fn order_and_case_of_names_do_not_matter() {
        let noted = |vary| Selection::of(&map(&[("a", "1")]), &map(&[("vary", vary)]));
        assert_eq!(noted("a, B"), noted("b,A, a"));
    }

    #[test]
    fn a_selection_knows_what_it_noted() {
        let selection = Selection::of(&map(&[("a", "1")]), &map(&[("vary", "a, B")])).unwrap();
        for (vary, notes, varies) in [
            ("b", true, true),
            ("A,,b", true, true),
            ("c", false, true),
            ("a, c", false, true),
            ("a b", false, true),
            (", ", true, false),
        ] {
            let response = map(&[("vary", vary)]);
            assert_eq!(selection.notes(&response), notes, "{vary}");
            assert_eq!(Selection::varies(&response), varies, "{vary}");
        }
        assert!(selection.notes(&map(&[])) && !Selection::varies(&map(&[])));
    }

    #[test]
    fn a_name_that_is_none_selects_nothing() {
        assert_eq!(Selection::of(&map(&[]), &map(&[("vary", "a b")])), None);
    }
}
