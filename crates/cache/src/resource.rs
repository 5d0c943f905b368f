use std::hash::{Hash, Hasher};

use http::Uri;
use moka::Equivalent;
use tower_edge_core::{Key, Target};

/// What responses are stored for: a target and, where users are kept apart, whose
/// it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Resource<'a> {
    pub(crate) target: Target<'a>,
    pub(crate) user: Option<&'a Key>,
}

/// A [`Resource`] with memory of its own.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ResourceKey {
    uri: Uri,
    user: Option<Box<Key>>,
}

impl ResourceKey {
    /// The key of a resource; none if nobody knows the authority of its target, or
    /// if that is too long for a URI.
    pub(crate) fn of(resource: &Resource<'_>) -> Option<Self> {
        resource.target.authority()?;
        let uri = resource.target.to_string().try_into().ok()?;
        Some(Self { uri, user: resource.user.copied().map(Box::new) })
    }

    pub(crate) fn resource(&self) -> Resource<'_> {
        Resource { target: self.target(), user: self.user.as_deref() }
    }

    pub(crate) fn target(&self) -> Target<'_> {
        Target::from_uri(&self.uri)
    }

    /// What it takes of memory, in bytes, with what moka keeps beside it.
    pub(crate) fn weight(&self) -> usize {
        let target = self.target();
        let text = target.path().len() + target.query().map_or(0, str::len);
        let user = self.user.as_ref().map_or(0, |_| size_of::<Key>());
        size_of::<Self>() + text + target.authority().map_or(0, str::len) + user + RESOURCE
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

/// What moka keeps for a resource beside key and value, about.
const RESOURCE: usize = 200;
