use std::fmt;
use std::sync::Arc;

use http::HeaderName;
use sha2::{Digest, Sha256};

use crate::{RequestHead, Route};

/// What requests are told apart by: up to 39 bytes as they are, longer ones as
/// a digest.
///
/// The digest is the first 128 bits of SHA-256, so that all nodes agree on it
/// and nobody can build a second value with the key of another. A table that
/// holds keys hashes them with a seed of its own. 40 bytes, `Copy`.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Key {
    /// The number of bytes in use, or [`DIGEST`].
    len: u8,
    bytes: [u8; INLINE],
}

impl Key {
    /// The key with no bytes: one for everybody.
    pub const GLOBAL: Self = Self { len: 0, bytes: [0; INLINE] };

    /// Makes a key from canonical bytes.
    pub fn new(canonical: impl AsRef<[u8]>) -> Self {
        let canonical = canonical.as_ref();
        let mut bytes = [0; INLINE];
        if let Some(inline) = bytes.get_mut(..canonical.len()) {
            inline.copy_from_slice(canonical);
            return Self { len: canonical.len() as u8, bytes };
        }
        bytes[..DIGEST_BYTES].copy_from_slice(&Sha256::digest(canonical)[..DIGEST_BYTES]);
        Self { len: DIGEST, bytes }
    }

    /// Joins two keys so that no two different pairs give the same key.
    pub fn join(self, other: Self) -> Self {
        let (mut joined, mut end) = ([0; 2 * (1 + INLINE)], 0);
        for key in [&self, &other] {
            let part = key.as_bytes();
            joined[end] = key.len;
            joined[end + 1..=end + part.len()].copy_from_slice(part);
            end += 1 + part.len();
        }
        Self::new(&joined[..end])
    }

    /// The key whose [`as_bytes`](Self::as_bytes) are these, which are a digest.
    pub fn from_digest(digest: [u8; DIGEST_BYTES]) -> Self {
        let mut bytes = [0; INLINE];
        bytes[..DIGEST_BYTES].copy_from_slice(&digest);
        Self { len: DIGEST, bytes }
    }

    /// Whether [`as_bytes`](Self::as_bytes) are a digest.
    pub fn is_digest(&self) -> bool {
        self.len == DIGEST
    }

    /// The canonical bytes, or their digest if there are more than 39.
    pub fn as_bytes(&self) -> &[u8] {
        let len = if self.len == DIGEST { DIGEST_BYTES } else { self.len as usize };
        &self.bytes[..len]
    }
}

/// Shows the length only: a key may hold a token or an address.
impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Key({} bytes)", self.as_bytes().len())
    }
}

/// Tells requests apart: one bucket, circuit or entry for each key.
///
/// Closures implement it, and so do tuples of up to three, which have a key
/// when all their parts have one.
///
/// ```
/// use tower_edge_core::{ClientIp, ExtractKey, HeaderKey, Key, RequestHead, RouteKey};
///
/// let by_tenant_and_route = (HeaderKey::new("x-tenant".parse()?), RouteKey);
/// let by_path = |head: &RequestHead<'_>| Some(Key::new(head.target().path()));
/// let boxed: [Box<dyn ExtractKey>; 3] =
///     [Box::new(by_tenant_and_route), Box::new(by_path), Box::new(ClientIp::peer())];
/// # Ok::<(), http::header::InvalidHeaderName>(())
/// ```
pub trait ExtractKey: Send + Sync {
    /// The key of this request; `None` means that the layer does not apply.
    fn key(&self, head: &RequestHead<'_>) -> Option<Key>;
}

impl<F> ExtractKey for F
where
    F: Fn(&RequestHead<'_>) -> Option<Key> + Send + Sync,
{
    fn key(&self, head: &RequestHead<'_>) -> Option<Key> {
        self(head)
    }
}

impl ExtractKey for Arc<dyn ExtractKey> {
    fn key(&self, head: &RequestHead<'_>) -> Option<Key> {
        (**self).key(head)
    }
}

impl<A: ExtractKey, B: ExtractKey> ExtractKey for (A, B) {
    fn key(&self, head: &RequestHead<'_>) -> Option<Key> {
        Some(self.0.key(head)?.join(self.1.key(head)?))
    }
}

impl<A: ExtractKey, B: ExtractKey, C: ExtractKey> ExtractKey for (A, B, C) {
    fn key(&self, head: &RequestHead<'_>) -> Option<Key> {
        Some(self.0.key(head)?.join(self.1.key(head)?).join(self.2.key(head)?))
    }
}

/// One key for everybody.
#[derive(Clone, Copy, Debug, Default)]
pub struct GlobalKey;

impl ExtractKey for GlobalKey {
    fn key(&self, _: &RequestHead<'_>) -> Option<Key> {
        Some(Key::GLOBAL)
    }
}

/// A key per method.
#[derive(Clone, Copy, Debug, Default)]
pub struct MethodKey;

impl ExtractKey for MethodKey {
    fn key(&self, head: &RequestHead<'_>) -> Option<Key> {
        Some(Key::new(head.method().as_str()))
    }
}

/// A key per [`Route`]; none where no route is known.
#[derive(Clone, Copy, Debug, Default)]
pub struct RouteKey;

impl ExtractKey for RouteKey {
    fn key(&self, head: &RequestHead<'_>) -> Option<Key> {
        Route::pattern(head).map(Key::new)
    }
}

/// A key per value of a header field; none where the field is missing.
///
/// Several fields of that name are one value, joined in order, so that a client
/// does not choose which of them counts.
#[derive(Clone, Debug)]
pub struct HeaderKey {
    name: HeaderName,
}

impl HeaderKey {
    /// Tells requests apart by the field `name`.
    pub fn new(name: HeaderName) -> Self {
        Self { name }
    }
}

impl ExtractKey for HeaderKey {
    fn key(&self, head: &RequestHead<'_>) -> Option<Key> {
        let mut values = head.headers().get_all(&self.name).iter();
        let first = Key::new(values.next()?);
        let Some(second) = values.next() else { return Some(first) };
        // No single value has a zero byte in it.
        let several = Key::new([0]).join(first).join(Key::new(second));
        Some(values.fold(several, |joined, value| joined.join(Key::new(value))))
    }
}

const INLINE: usize = 39;
const DIGEST: u8 = u8::MAX;
const DIGEST_BYTES: usize = 16;

#[cfg(test)]
mod tests {
    use http::Request;
    use proptest::prelude::*;

    use super::*;

    fn keyed(extract: &dyn ExtractKey, request: http::request::Builder) -> Option<Key> {
        extract.key(&RequestHead::new(&request.body(()).unwrap()))
    }

    #[test]
    fn a_key_is_40_bytes() {
        assert_eq!(size_of::<Key>(), 40);
    }

    #[test]
    fn long_bytes_become_the_start_of_their_sha_256() {
        assert_eq!(Key::new("a".repeat(39)).as_bytes(), "a".repeat(39).as_bytes());
        let digest = 0xe33c_df9c_7f71_20b9_8e8c_7840_8953_e07f_u128.to_be_bytes();
        assert_eq!(Key::new("a".repeat(40)).as_bytes(), digest);
        assert_ne!(Key::new("a".repeat(40)), Key::new(digest));
    }

    #[test]
    fn a_tuple_has_a_key_when_all_its_parts_have_one() {
        let extract = (MethodKey, HeaderKey::new(HeaderName::from_static("x-tenant")));
        assert_eq!(keyed(&extract, Request::builder()), None);
        let one = keyed(&extract, Request::builder().header("x-tenant", "one"));
        let two = keyed(&extract, Request::builder().header("x-tenant", "two"));
        let posted = keyed(&extract, Request::post("/").header("x-tenant", "one"));
        assert!(one.is_some());
        assert_ne!(one, two);
        assert_ne!(one, posted);
    }

    #[test]
    fn all_values_of_a_field_count() {
        let extract = HeaderKey::new(HeaderName::from_static("x"));
        let one = keyed(&extract, Request::builder().header("x", "a"));
        let both = keyed(&extract, Request::builder().header("x", "a").header("x", "b"));
        assert_ne!(one, both);
        let (a, b) = ("a".repeat(39), "b".repeat(39));
        let both = keyed(&extract, Request::builder().header("x", &a).header("x", &b));
        assert_ne!(keyed(&extract, Request::builder().header("x", format!("'{a}'{b}"))), both);
    }

    proptest! {
        #[test]
        fn different_bytes_have_different_keys(a: Vec<u8>, b: Vec<u8>) {
            prop_assert_eq!(Key::new(&a) == Key::new(&b), a == b);
        }

        #[test]
        fn different_pairs_join_to_different_keys(
            a in ".{0,50}", b in ".{0,50}", c in ".{0,50}", d in ".{0,50}",
        ) {
            let one = Key::new(&a).join(Key::new(&b));
            let two = Key::new(&c).join(Key::new(&d));
            prop_assert_eq!(one == two, (a, b) == (c, d));
        }
    }
}
