use http::header::CONTENT_LOCATION;
use http::{HeaderMap, Uri};
use tower_edge_core::Target;

/// The URI that a `Location` or `Content-Location` names, if it has the origin
/// of the request's target (RFC 9110 §4.3.1, RFC 3986 §5.2).
///
/// Others must not be invalidated by a response (RFC 9111 §4.4).
pub(crate) fn same_origin(target: &Target<'_>, reference: &str) -> Option<Uri> {
    let reference = reference.split('#').next()?.trim();
    let origin = format!("{}://{}", target.scheme(), target.authority()?);
    let path = |path: &str| format!("{origin}{}", without_dots(path));
    let uri: Uri = if has_scheme(reference) {
        reference.parse().ok()?
    } else if let Some(rest) = reference.strip_prefix("//") {
        format!("{}://{rest}", target.scheme()).parse().ok()?
    } else if reference.starts_with('/') {
        path(reference).parse().ok()?
    } else if reference.starts_with('?') || reference.is_empty() {
        format!("{origin}{}{reference}", target.path()).parse().ok()?
    } else {
        let (folder, _) = target.path().rsplit_once('/')?;
        path(&format!("{folder}/{reference}")).parse().ok()?
    };
    let resolved = Target::from_uri(&uri);
    let same = resolved.scheme().eq_ignore_ascii_case(target.scheme())
        && resolved.authority()?.eq_ignore_ascii_case(target.authority()?);
    same.then_some(uri)
}

/// Whether a response says that its content is a representation of the target
/// (RFC 9110 §8.7).
pub(crate) fn names_target(target: &Target<'_>, response: &HeaderMap) -> bool {
    let mut lines = response.get_all(CONTENT_LOCATION).iter();
    let only = lines.next().filter(|_| lines.next().is_none());
    let reference = only.and_then(|line| line.to_str().ok());
    let named = reference.and_then(|reference| same_origin(target, reference));
    named.is_some_and(|uri| Target::from_uri(&uri) == *target)
}

/// Whether a reference is a URI and not a path, whose first segment has no colon
/// (RFC 3986 §4.2).
fn has_scheme(reference: &str) -> bool {
    let end = reference.find([':', '/', '?']);
    end.is_some_and(|end| reference[end..].starts_with(':'))
}

/// Removes dot segments (RFC 3986 §5.2.4) from a path with a query.
fn without_dots(path: &str) -> String {
    let (path, query) = path.split_at(path.find('?').unwrap_or(path.len()));
    let mut kept = Vec::new();
    let mut segments = path.split('/').skip(1).peekable();
    while let Some(segment) = segments.next() {
        let last = segments.peek().is_none();
        match segment {
            "." => kept.extend(last.then_some("")),
            ".." => {
                kept.pop();
                kept.extend(last.then_some(""));
            }
            _ => kept.push(segment),
        }
    }
    format!("/{}{query}", kept.join("/"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn references_are_resolved_and_held_to_their_origin() {
        let target: Uri = "http://a.example/b/c?q".parse().unwrap();
        let target = Target::from_uri(&target);
        for (reference, resolved) in [
            ("/x?y#z", Some("http://a.example/x?y")),
            ("x", Some("http://a.example/b/x")),
            ("../x", Some("http://a.example/x")),
            ("../../../x/./y/..", Some("http://a.example/x/")),
            ("?r", Some("http://a.example/b/c?r")),
            ("", Some("http://a.example/b/c")),
            ("HTTP://A.example:80/x", Some("http://a.example/x")),
            ("//a.example/x", Some("http://a.example/x")),
            ("//b.example/x", None),
            ("https://a.example/x", None),
            ("http://a.example:81/x", None),
            ("mailto:x", None),
            ("/\u{e9} x", None),
        ] {
            let found = same_origin(&target, reference);
            let found = found.as_ref().map(|uri| Target::from_uri(uri).to_string());
            assert_eq!(found.as_deref(), resolved, "{reference}");
        }
    }

    #[test]
    fn a_response_may_name_its_target() {
        let target: Uri = "http://a.example/b/c?q".parse().unwrap();
        let names = |lines: &[&'static str]| {
            let lines = lines.iter().map(|line| (CONTENT_LOCATION, line.parse().unwrap()));
            names_target(&Target::from_uri(&target), &lines.collect())
        };
        for same in ["/b/c?q", "c?q", "http://A.EXAMPLE:80/b/c?q", "?q", "../b/./c?q#x"] {
            assert!(names(&[same]), "{same}");
        }
        for other in ["/b/c", "/b/C?q", "https://a.example/b/c?q", "//b.example/b/c?q", "\u{e9}"] {
            assert!(!names(&[other]), "{other}");
        }
        assert!(!names(&[]) && !names(&["/b/c?q", "/b/c?q"]));
    }
}
