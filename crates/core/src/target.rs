use std::fmt;
use std::hash::{Hash, Hasher};

use http::Uri;
use http::header::HOST;
use http::uri::{Authority, Scheme};

use crate::RequestHead;

/// The effective target of a request: what the client asked for
/// (RFC 9110 §7.1).
///
/// Keys, invalidation and logs use nothing else. axum's nested routers strip
/// the prefix from the URI, so with the feature `axum` its `OriginalUri` comes
/// before `uri`; the authority of the URI comes before `Host`. A server says
/// whether it terminates TLS by an [`http::uri::Scheme`] in the extensions, and
/// is believed before the client (§7.4); without it an origin-form target is
/// `http`.
///
/// Two targets are equal when their authorities differ only in case, as
/// RFC 9110 §4.2.3 has it; [`Display`](fmt::Display) writes the URI with the
/// authority in lower case.
#[derive(Clone, Copy, Debug)]
pub struct Target<'a> {
    scheme: &'a str,
    authority: Option<&'a str>,
    path: &'a str,
    query: Option<&'a str>,
}

impl<'a> Target<'a> {
    pub(crate) fn of(head: &RequestHead<'a>) -> Self {
        let uri = original_uri(head);
        let scheme = head.extensions().get::<Scheme>().or_else(|| uri.scheme());
        Self::new(uri, scheme, || host(head))
    }

    /// The target that a URI in absolute form names by itself.
    pub fn from_uri(uri: &'a Uri) -> Self {
        Self::new(uri, uri.scheme(), || None)
    }

    fn new(
        uri: &'a Uri,
        scheme: Option<&'a Scheme>,
        host: impl FnOnce() -> Option<&'a str>,
    ) -> Self {
        let scheme = scheme.map_or("http", Scheme::as_str);
        let authority = uri.authority().map(Authority::as_str).or_else(host);
        Self {
            scheme,
            authority: authority.and_then(|authority| without_noise(authority, scheme)),
            path: match uri.path() {
                "" => "/",
                path => path,
            },
            query: uri.query(),
        }
    }

    /// The target of these parts, the authority as [`authority`](Self::authority)
    /// and the path as [`path`](Self::path) give them.
    pub const fn from_parts(
        scheme: &'a str,
        authority: Option<&'a str>,
        path: &'a str,
        query: Option<&'a str>,
    ) -> Self {
        Self { scheme, authority, path, query }
    }

    /// The same target with another path.
    #[must_use]
    pub fn with_path(self, path: &'a str) -> Self {
        Self { path, ..self }
    }

    /// The same target with another query, without its question mark.
    #[must_use]
    pub fn with_query(self, query: Option<&'a str>) -> Self {
        Self { query, ..self }
    }

    /// The scheme: `http` or `https`, mostly.
    pub fn scheme(&self) -> &'a str {
        self.scheme
    }

    /// Host and port, in the case the client wrote them, without user
    /// information and without the port that the scheme implies.
    ///
    /// `None` when the request names no host, several, or one that is not valid.
    pub fn authority(&self) -> Option<&'a str> {
        self.authority
    }

    /// The path; never empty.
    pub fn path(&self) -> &'a str {
        self.path
    }

    /// The query, without its question mark.
    pub fn query(&self) -> Option<&'a str> {
        self.query
    }
}

impl PartialEq for Target<'_> {
    fn eq(&self, other: &Self) -> bool {
        // Most are written the same, which is cheaper to see.
        let same = |mine: &str, other: &str| mine == other || mine.eq_ignore_ascii_case(other);
        self.path == other.path
            && self.query == other.query
            && same(self.scheme, other.scheme)
            && match (self.authority, other.authority) {
                (Some(mine), Some(other)) => same(mine, other),
                (None, None) => true,
                _ => false,
            }
    }
}

impl Eq for Target<'_> {}

impl Hash for Target<'_> {
    fn hash<H: Hasher>(&self, state: &mut H) {
        // The lengths say where one part ends and the next begins.
        let (scheme, authority) = (self.scheme, self.authority.unwrap_or_default());
        let lengths = [scheme.len(), authority.len(), self.path.len()];
        state.write_u64(lengths.iter().fold(0, |all, &length| (all << 21) ^ length as u64));
        hash_without_case(scheme, state);
        hash_without_case(authority, state);
        state.write(self.path.as_bytes());
        if let Some(query) = self.query {
            query.hash(state);
        }
    }
}

impl fmt::Display for Target<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let lower = |f: &mut fmt::Formatter<'_>, text: &str| {
            text.chars().try_for_each(|c| fmt::Write::write_char(f, c.to_ascii_lowercase()))
        };
        lower(f, self.scheme)?;
        f.write_str("://")?;
        lower(f, self.authority.unwrap_or_default())?;
        f.write_str(self.path)?;
        match self.query {
            Some(query) => write!(f, "?{query}"),
            None => Ok(()),
        }
    }
}

#[cfg(feature = "axum")]
fn original_uri<'a>(head: &RequestHead<'a>) -> &'a Uri {
    match head.extensions().get::<axum::extract::OriginalUri>() {
        Some(original) => &original.0,
        None => head.uri(),
    }
}

#[cfg(not(feature = "axum"))]
fn original_uri<'a>(head: &RequestHead<'a>) -> &'a Uri {
    head.uri()
}

/// The one valid `Host`. With two of them nobody can say which the client
/// meant, and a server ought to have answered 400 (RFC 9110 §7.2).
fn host<'a>(head: &RequestHead<'a>) -> Option<&'a str> {
    let mut hosts = head.headers().get_all(HOST).iter();
    let host = hosts.next()?.to_str().ok()?.trim_ascii();
    let is_valid = kinds(host) & (USER | OTHER) == 0;
    (hosts.next().is_none() && !host.is_empty() && is_valid).then_some(host)
}

fn without_noise<'a>(authority: &'a str, scheme: &str) -> Option<&'a str> {
    if kinds(authority) & (USER | PORT) == 0 {
        return (!authority.is_empty()).then_some(authority);
    }
    let user = authority.bytes().rposition(|c| c == b'@');
    let authority = user.map_or(authority, |at| &authority[at + 1..]);
    let default = match scheme {
        "https" => ":443",
        _ => ":80",
    };
    let authority = authority.strip_suffix(default).unwrap_or(authority);
    let authority = authority.strip_suffix(':').unwrap_or(authority);
    (!authority.is_empty() && !authority.starts_with(':')).then_some(authority)
}

/// The kinds of all characters of an authority, or'ed together.
fn kinds(text: &str) -> u8 {
    text.bytes().fold(0, |kinds, byte| kinds | KINDS[usize::from(byte)])
}

/// What a character is in an authority (RFC 3986 §3.2); 0 stands for most.
static KINDS: [u8; 256] = {
    let mut kinds = [OTHER; 256];
    let mut byte = 0;
    while byte < kinds.len() {
        if (byte as u8).is_ascii_alphanumeric() {
            kinds[byte] = 0;
        }
        byte += 1;
    }
    let mut signs: &[u8] = b"-._~!$&'()*+,;=[]%";
    while let [sign, rest @ ..] = signs {
        kinds[*sign as usize] = 0;
        signs = rest;
    }
    kinds[b'@' as usize] = USER;
    kinds[b':' as usize] = PORT;
    kinds
};

const USER: u8 = 1;
const PORT: u8 = 2;
const OTHER: u8 = 4;

/// Hashes a text so that case does not count, eight bytes at once.
fn hash_without_case<H: Hasher>(text: &str, state: &mut H) {
    let (words, rest) = text.as_bytes().as_chunks::<8>();
    for word in words {
        state.write_u64(u64::from_le_bytes(*word) | LOWER);
    }
    if !rest.is_empty() {
        let rest = rest.iter().fold(0, |word, &byte| (word << 8) | u64::from(byte));
        state.write_u64(rest | LOWER);
    }
}

/// The bit by which the cases of a letter differ, in each byte. What else differs by
/// it alone, such as a bracket and a brace, has one hash, which is no harm.
const LOWER: u64 = 0x2020_2020_2020_2020;

#[cfg(test)]
mod tests {
    use http::Request;

    use super::*;

    fn shown(uri: &str, hosts: &[&str]) -> (String, bool) {
        let mut request = Request::builder().uri(uri);
        for host in hosts {
            request = request.header("host", *host);
        }
        let request = request.body(()).unwrap();
        let target = RequestHead::new(&request).target();
        (target.to_string(), target.authority().is_some())
    }

    #[test]
    fn the_target_is_scheme_authority_path_and_query() {
        for (uri, hosts, target) in [
            ("/a?b=c", &["h"][..], "http://h/a?b=c"),
            ("/", &["H:80"], "http://h/"),
            ("/", &["h:8080"], "http://h:8080/"),
            ("/", &["[::1]:80"], "http://[::1]/"),
            ("https://a.example:443?x", &["other"], "https://a.example/?x"),
            ("http://u:p@a.example:443/", &[], "http://a.example:443/"),
        ] {
            assert_eq!(shown(uri, hosts), (target.to_owned(), true), "{uri}");
        }
    }

    #[test]
    fn a_doubtful_host_is_none() {
        for hosts in [
            &[][..],
            &["a", "b"],
            &["a", "a"],
            &[""],
            &["a b"],
            &["a/b"],
            &["a@b"],
            &[":80"],
            &[":"],
            &["::80"],
        ] {
            assert!(!shown("/", hosts).1, "{hosts:?}");
        }
    }

    #[test]
    fn case_of_the_authority_does_not_tell_targets_apart() {
        use std::collections::hash_map::DefaultHasher;
        let hash = |target: &Target<'_>| {
            let mut hasher = DefaultHasher::new();
            target.hash(&mut hasher);
            hasher.finish()
        };
        let (one, two): (Uri, Uri) =
            ("http://ABC/x".parse().unwrap(), "http://abc/x".parse().unwrap());
        let (one, two) = (Target::from_uri(&one), Target::from_uri(&two));
        assert_eq!(one, two);
        assert_eq!(hash(&one), hash(&two));
        let three: Uri = "http://abc/X".parse().unwrap();
        assert_ne!(two, Target::from_uri(&three));
    }

    #[test]
    fn the_server_says_by_an_extension_whether_it_is_tls() {
        for (uri, scheme, target) in
            [("/", Scheme::HTTPS, "https://h/"), ("https://h/", Scheme::HTTP, "http://h/")]
        {
            let request = Request::builder().uri(uri).header("host", "h").extension(scheme);
            let request = request.body(()).unwrap();
            assert_eq!(RequestHead::new(&request).target().to_string(), target);
        }
    }
}
