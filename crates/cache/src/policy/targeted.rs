use http::{HeaderMap, HeaderName};
use sfv::{BareItem, ListEntry, Parser};

use super::ResponseDirectives;

/// The directives of a targeted field, such as `CDN-Cache-Control` (RFC 9213
/// §2.1); `None` if it is missing, empty, or no structured dictionary.
///
/// A directive whose value has another type than it should is ignored.
pub(super) fn targeted(response: &HeaderMap, name: &HeaderName) -> Option<ResponseDirectives> {
    let lines = response.get_all(name).iter().map(|line| line.as_bytes());
    let field = lines.collect::<Vec<_>>().join(&b","[..]);
    let members: sfv::Dictionary = Parser::new(&field).parse().ok()?;
    let mut directives = ResponseDirectives::default();
    for (name, member) in &members {
        let ListEntry::Item(item) = member else { continue };
        let name = name.as_str().as_bytes();
        match &item.bare_item {
            BareItem::Boolean(true) => directives.add(name, None),
            BareItem::Boolean(false) => {}
            BareItem::Integer(number) => directives.add(name, Some(number.to_string().as_bytes())),
            BareItem::String(text) if matches!(name, b"no-cache" | b"private") => {
                directives.add(name, Some(text.as_str().as_bytes()));
            }
            _ => {}
        }
    }
    (!members.is_empty()).then_some(directives)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn read(lines: &[&str]) -> Option<ResponseDirectives> {
        let name = HeaderName::from_static("cdn-cache-control");
        let lines = lines.iter().map(|line| (name.clone(), line.parse().unwrap()));
        targeted(&HeaderMap::from_iter(lines), &name)
    }

    #[test]
    fn a_targeted_field_is_a_dictionary() {
        for (lines, max_age) in [
            (&["max-age=60"][..], Some(60)),
            (&["public", "max-age=60;x=y"], Some(60)),
            (&["max-age=60, max-age=5"], Some(5)),
            (&["max-age=\"60\", public"], None),
            (&["max-age=60.0, public"], None),
            (&["max-age=(60), public"], None),
        ] {
            let read = read(lines).unwrap();
            assert_eq!(read.max_age, max_age.map(Duration::from_secs), "{lines:?}");
        }
    }

    #[test]
    fn what_is_no_dictionary_or_empty_is_no_field() {
        for lines in [&[][..], &[""], &["max-age=60,"], &["Max-Age=60"], &["max-age=60", "a b"]] {
            assert_eq!(read(lines), None, "{lines:?}");
        }
    }

    #[test]
    fn directives_may_be_switched_off_and_may_name_fields() {
        let read = read(&["no-store=?0, no-cache=\"x\", private"]).unwrap();
        assert!(!read.no_store && !read.no_cache && read.private);
        assert_eq!(read.excluded, ["x"]);
    }
}
