use std::hash::{Hash, Hasher};
use std::sync::Arc;

use bytes::Bytes;
use moka::Equivalent;
use tower_edge_core::{Key, Target};

use crate::heap::{COUNTS, allocated};

/// What responses are stored for: a target and, where users are kept apart, whose
/// it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Resource<'a> {
    pub(crate) target: Target<'a>,
    pub(crate) user: Option<&'a Key>,
}

/// A [`Resource`] with memory of its own, and as little as can be: there is one
/// for each that is stored. Its copies share it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ResourceKey {
    text: Arc<str>,
    parts: Parts,
    user: Option<Box<Key>>,
}

/// Where the parts of a target stand in a text that has scheme, authority, path and
/// query, and nothing between them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Parts {
    /// Where those begin, but for the scheme.
    starts: [u16; 3],
    has_query: bool,
}

impl Parts {
    /// Writes a target over a text; none if nobody knows its authority, or if it is
    /// too long for a URI.
    pub(crate) fn write(target: &Target<'_>, text: &mut String) -> Option<Self> {
        let (authority, query) = (target.authority()?, target.query());
        let parts = [target.scheme(), authority, target.path(), query.unwrap_or_default()];
        text.clear();
        text.reserve_exact(parts.iter().map(|part| part.len()).sum());
        let mut starts = [0; 3];
        text.push_str(target.scheme());
        for (start, part) in starts.iter_mut().zip(&parts[1..]) {
            *start = u16::try_from(text.len()).ok()?;
            text.push_str(part);
        }
        u16::try_from(text.len()).ok()?;
        text[..usize::from(starts[1])].make_ascii_lowercase();
        Some(Self { starts, has_query: query.is_some() })
    }

    /// The target that was written.
    pub(crate) fn target<'a>(&self, text: &'a str) -> Target<'a> {
        let [authority, path, query] = self.starts.map(usize::from);
        let scheme = &text[..authority];
        let (authority, path, query) = (&text[authority..path], &text[path..query], &text[query..]);
        Target::from_parts(scheme, Some(authority), path, self.has_query.then_some(query))
    }
}

impl ResourceKey {
    /// The key of a resource; none if nobody knows the authority of its target, or
    /// if that is too long for a URI.
    pub(crate) fn of(resource: &Resource<'_>) -> Option<Self> {
        let mut text = String::new();
        let parts = Parts::write(&resource.target, &mut text)?;
        let user = resource.user.copied().map(Box::new);
        Some(Self { text: text.into(), parts, user })
    }

    pub(crate) fn resource(&self) -> Resource<'_> {
        Resource { target: self.target(), user: self.user.as_deref() }
    }

    pub(crate) fn target(&self) -> Target<'_> {
        self.parts.target(&self.text)
    }

    /// What tells it from all others, in bytes.
    pub(crate) fn to_bytes(&self) -> Bytes {
        let mut bytes = self.target().to_string().into_bytes();
        if let Some(user) = &self.user {
            // No target has a line feed.
            bytes.push(b'\n');
            bytes.extend_from_slice(user.as_bytes());
        }
        bytes.into()
    }

    /// What it takes of memory, in bytes, with what moka keeps beside it.
    pub(crate) fn weight(&self) -> usize {
        let user = self.user.as_ref().map_or(0, |_| allocated(size_of::<Key>()));
        let text = allocated(COUNTS + self.text.len());
        allocated(COUNTS + size_of::<Self>()) + text + user + RESOURCE
    }
}

impl Hash for Resource<'_> {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.target.hash(state);
        if let Some(user) = self.user {
            user.hash(state);
        }
    }
}

impl Hash for ResourceKey {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.resource().hash(state);
    }
}

impl Equivalent<ResourceKey> for Resource<'_> {
    fn equivalent(&self, key: &ResourceKey) -> bool {
        *self == key.resource()
    }
}

/// What a resource takes beside its key and its responses: the list of those, and
/// what moka 0.12 allocates, which is what it knows of the entry, what joins that
/// with the list, its places in the queues and a node there, and a bucket. The
/// array of buckets has two places for each that is used, and on average a tenth
/// of the keys in it are gone.
const RESOURCE: usize = allocated(COUNTS)
    + (allocated(64) + allocated(40) + allocated(48) + allocated(24) + allocated(16))
    + 2 * size_of::<usize>()
    + 20;

#[cfg(test)]
mod tests {
    use http::Uri;

    use super::*;

    #[test]
    fn a_key_is_that_of_its_resource() {
        let user = Key::new("somebody");
        for (uri, shown) in [
            ("http://H:80", "http://h/"),
            ("https://h:8080/A?b=C", "https://h:8080/A?b=C"),
            ("HTTP://h/?", "http://h/?"),
            ("http://[::1]/a//b?c?d", "http://[::1]/a//b?c?d"),
        ] {
            let uri: Uri = uri.parse().unwrap();
            for user in [None, Some(&user)] {
                let resource = Resource { target: Target::from_uri(&uri), user };
                let key = ResourceKey::of(&resource).unwrap();
                assert_eq!((key.resource(), key.target().to_string()), (resource, shown.into()));
                assert!(resource.equivalent(&key));
            }
        }
        let nobody = Uri::from_static("/a");
        let nobody = Resource { target: Target::from_uri(&nobody), user: None };
        assert!(ResourceKey::of(&nobody).is_none());
    }

    #[test]
    fn a_target_that_is_too_long_has_no_key() {
        for (length, has_key) in [(65_000, true), (65_536, false)] {
            let path = format!("/{}", "a".repeat(length));
            let target = Target::from_parts("http", Some("h"), &path, None);
            assert_eq!(ResourceKey::of(&Resource { target, user: None }).is_some(), has_key);
        }
    }
}
