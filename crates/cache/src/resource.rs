use std::cell::RefCell;
use std::hash::{BuildHasher, Hash, Hasher};
use std::sync::{Arc, LazyLock};

use ahash::RandomState;
use bytes::Bytes;
use moka::Equivalent;
use tower_edge_core::{Key, Target};

use crate::heap::{COUNTS, allocated};
use crate::store::SLOT;

/// What responses are stored for: a target and, where users are kept apart, whose
/// it is.
///
/// It is hashed once, with a seed of this process, since a request looks for it in
/// several tables.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Resource<'a> {
    hash: u64,
    pub(crate) target: Target<'a>,
    pub(crate) user: Option<&'a Key>,
}

/// A [`Resource`] with memory of its own, and as little as can be: there is one
/// for each that is stored. Its copies share it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ResourceKey {
    hash: u64,
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

impl<'a> Resource<'a> {
    pub(crate) fn new(target: Target<'a>, user: Option<&'a Key>) -> Self {
        static SEED: LazyLock<RandomState> = LazyLock::new(RandomState::new);
        let mut hasher = SEED.build_hasher();
        target.hash(&mut hasher);
        if let Some(user) = user {
            user.hash(&mut hasher);
        }
        Self { hash: hasher.finish(), target, user }
    }

    /// A hash of it, which another process does not know.
    pub(crate) fn hash(&self) -> u64 {
        self.hash
    }
}

impl ResourceKey {
    /// The key of a resource; none if nobody knows the authority of its target, or
    /// if that is too long for a URI.
    pub(crate) fn of(resource: &Resource<'_>) -> Option<Self> {
        thread_local!(static TEXT: RefCell<String> = const { RefCell::new(String::new()) });
        // Written there first, to be allocated once.
        let (parts, text) = TEXT.with_borrow_mut(|text| {
            let parts = Parts::write(&resource.target, text)?;
            Some((parts, Arc::from(&**text)))
        })?;
        let user = resource.user.copied().map(Box::new);
        Some(Self { hash: resource.hash, text, parts, user })
    }

    pub(crate) fn resource(&self) -> Resource<'_> {
        Resource { hash: self.hash, target: self.target(), user: self.user.as_deref() }
    }

    /// As [`Resource::hash`].
    pub(crate) fn hash(&self) -> u64 {
        self.hash
    }

    pub(crate) fn target(&self) -> Target<'_> {
        self.parts.target(&self.text)
    }

    /// What tells it from all others, in bytes: first its target as people write it.
    pub(crate) fn to_bytes(&self) -> Bytes {
        let (target, user) = (self.target(), self.user.as_deref());
        let user_bytes = user.map_or(&[][..], Key::as_bytes);
        let marks = "://".len() + usize::from(target.query().is_some());
        let mut bytes = Vec::with_capacity(self.text.len() + marks + user_bytes.len() + 8);
        // It is in lower case already where that matters.
        let authority = target.authority().unwrap_or_default();
        for part in [target.scheme(), "://", authority, target.path()] {
            bytes.extend_from_slice(part.as_bytes());
        }
        if let Some(query) = target.query() {
            bytes.push(b'?');
            bytes.extend_from_slice(query.as_bytes());
        }
        bytes.extend_from_slice(user_bytes);
        // No part is longer than this has room for.
        for part in [target.scheme(), authority, target.path()] {
            bytes.extend_from_slice(&(part.len() as u16).to_le_bytes());
        }
        let kind = match user {
            None => 0,
            Some(user) if user.is_digest() => DIGEST,
            Some(_) => PLAIN,
        };
        bytes.push(kind | if target.query().is_some() { QUERY } else { 0 });
        bytes.push(user.map_or(0, |user| user.as_bytes().len()) as u8);
        bytes.into()
    }

    /// The key that [`to_bytes`](Self::to_bytes) gives these for.
    pub(crate) fn from_bytes(bytes: &[u8]) -> Option<Self> {
        let (bytes, &[a, b, c, d, e, f, kind, user]) = bytes.split_last_chunk()?;
        let (text, user) = bytes.split_at(bytes.len().checked_sub(usize::from(user))?);
        let user = match kind & !QUERY {
            0 if user.is_empty() => None,
            DIGEST => Some(Key::from_digest(user.try_into().ok()?)),
            PLAIN => Some(Key::new(user)),
            _ => return None,
        };
        let text = str::from_utf8(text).ok()?;
        let [scheme, authority, path] =
            [[a, b], [c, d], [e, f]].map(|length| usize::from(u16::from_le_bytes(length)));
        let (scheme, rest) = text.split_at_checked(scheme)?;
        let (authority, rest) = rest.strip_prefix("://")?.split_at_checked(authority)?;
        let (path, rest) = rest.split_at_checked(path)?;
        let query = match kind & QUERY {
            0 if rest.is_empty() => None,
            0 => return None,
            _ => Some(rest.strip_prefix('?')?),
        };
        let target = Target::from_parts(scheme, Some(authority), path, query);
        Self::of(&Resource::new(target, user.as_ref()))
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
        state.write_u64(self.hash);
    }
}

impl Hash for ResourceKey {
    fn hash<H: Hasher>(&self, state: &mut H) {
        state.write_u64(self.hash);
    }
}

impl Equivalent<ResourceKey> for Resource<'_> {
    fn equivalent(&self, key: &ResourceKey) -> bool {
        *self == key.resource()
    }
}

/// What a resource takes beside its key and its responses: the list of those and its
/// slot, and what moka 0.12 allocates, which is what it knows of the entry, what joins that
/// with the list, its places in the queues and a node there, and a bucket. The
/// array of buckets has two places for each that is used, and on average a tenth
/// of the keys in it are gone.
const RESOURCE: usize = allocated(COUNTS)
    + SLOT
    + (allocated(64) + allocated(40) + allocated(48) + allocated(24) + allocated(16))
    + 2 * size_of::<usize>()
    + 20;

/// Whose a resource is, and whether its target has a query.
const PLAIN: u8 = 1;
const DIGEST: u8 = 2;
const QUERY: u8 = 4;

#[cfg(test)]
mod tests {
    use http::Uri;
    use proptest::prelude::*;

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
                let resource = Resource::new(Target::from_uri(&uri), user);
                let key = ResourceKey::of(&resource).unwrap();
                assert_eq!((key.resource(), key.target().to_string()), (resource, shown.into()));
                assert!(resource.equivalent(&key));
            }
        }
        let nobody = Uri::from_static("/a");
        let nobody = Resource::new(Target::from_uri(&nobody), None);
        assert!(ResourceKey::of(&nobody).is_none());
    }

    #[test]
    fn a_target_that_is_too_long_has_no_key() {
        for (length, has_key) in [(65_000, true), (65_536, false)] {
            let path = format!("/{}", "a".repeat(length));
            let target = Target::from_parts("http", Some("h"), &path, None);
            assert_eq!(ResourceKey::of(&Resource::new(target, None)).is_some(), has_key);
        }
    }

    fn resources() -> impl Strategy<Value = (String, String, Option<String>, Option<String>)> {
        let part = || "[a-z?\n/=#]{0,5}";
        let user = prop::option::of("[a-z\n]{0,50}");
        (part(), part(), prop::option::of(part()), user)
    }

    proptest! {
        #[test]
        fn a_key_comes_back_from_its_bytes_and_from_no_others(
            (authority, path, query, user) in resources(), other in resources(),
        ) {
            let key = |(authority, path, query, user): &(String, String, Option<String>, Option<String>)| {
                let target = Target::from_parts("http", Some(authority), path, query.as_deref());
                let user = user.as_ref().map(Key::new);
                ResourceKey::of(&Resource::new(target, user.as_ref())).unwrap()
            };
            let (one, other) = (key(&(authority, path, query, user)), key(&other));
            prop_assert_eq!(ResourceKey::from_bytes(&one.to_bytes()), Some(one.clone()));
            prop_assert_eq!(one.to_bytes() == other.to_bytes(), one == other);
        }

        #[test]
        fn any_bytes_are_read_or_not(bytes: Vec<u8>) {
            ResourceKey::from_bytes(&bytes);
        }
    }
}
