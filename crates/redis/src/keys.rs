use std::fmt;
use std::sync::Arc;

use sha2::{Digest as _, Sha256};

/// What keys are called, all of them with the same prefix.
#[derive(Clone, Debug)]
pub(crate) struct Names {
    prefix: Arc<str>,
}

/// What stands for the key of a resource: the first 128 bits of its SHA-256.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Digest(pub(crate) [u8; DIGEST]);

impl Names {
    /// # Panics
    ///
    /// If the prefix has a brace, which would change what lies in one slot.
    pub(crate) fn new(prefix: &str) -> Self {
        assert!(!prefix.contains(['{', '}']), "braces say what lies in one slot of a Cluster");
        Self { prefix: prefix.into() }
    }

    /// The hash of a resource, with a field for each variant.
    pub(crate) fn resource(&self, digest: Digest, generation: u64) -> String {
        // Each look makes one.
        let mut name = String::with_capacity(self.prefix.len() + ":{}:".len() + 2 * DIGEST + 16);
        name.push_str(&self.prefix);
        name.push_str(":{");
        let [upper, lower] = digest.halves();
        push_digits(&mut name, upper);
        push_digits(&mut name, lower);
        name.push_str("}:");
        push_digits(&mut name, generation);
        name
    }

    /// A piece of a record, in the slot of its resource.
    pub(crate) fn chunk(&self, digest: Digest, generation: u64, id: u64, number: u32) -> String {
        format!("{}:{id:016x}:{number}", self.resource(digest, generation))
    }

    /// Who has the right to fetch a resource, in its slot.
    pub(crate) fn lease(&self, digest: Digest) -> String {
        format!("{}:{{{digest}}}:lease", self.prefix)
    }

    /// Where the generation is noted that counts.
    pub(crate) fn generation(&self) -> String {
        format!("{}:{{log}}:generation", self.prefix)
    }

    /// The stream of notes.
    pub(crate) fn notes(&self) -> String {
        format!("{}:{{log}}:notes", self.prefix)
    }

    /// What a key has used of the quota by this name, in the slot of the key.
    pub(crate) fn quota(&self, digest: Digest, quota: &str) -> String {
        format!("{}:{{{digest}}}:quota:{quota}", self.prefix)
    }

    /// The nodes that share quotas.
    pub(crate) fn nodes(&self) -> String {
        format!("{}:{{quotas}}:nodes", self.prefix)
    }

    /// The stream of changes.
    pub(crate) fn changes(&self) -> String {
        format!("{}:{{log}}:changes", self.prefix)
    }
}

impl Digest {
    pub(crate) fn of(key: &[u8]) -> Self {
        let digest = Sha256::digest(key);
        Self(digest.first_chunk().copied().unwrap_or_default())
    }

    fn halves(self) -> [u64; 2] {
        let whole = u128::from_be_bytes(self.0);
        [(whole >> 64) as u64, whole as u64]
    }
}

/// In hexadecimal digits.
impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:032x}", u128::from_be_bytes(self.0))
    }
}

impl fmt::Debug for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// Adds the hexadecimal digits of a number, all sixteen.
fn push_digits(text: &mut String, number: u64) {
    let digit = |place: usize| b"0123456789abcdef"[(number >> (60 - 4 * place)) as usize & 15];
    let digits: [u8; 16] = std::array::from_fn(digit);
    text.push_str(str::from_utf8(&digits).unwrap_or_default());
}

/// The length of a digest in bytes.
pub(crate) const DIGEST: usize = 16;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_of_a_resource_lies_in_one_slot() {
        let (names, digest) = (Names::new("shop"), Digest::of(b"http://h/"));
        let tag = |name: &str| {
            let (_, rest) = name.split_once('{').unwrap();
            rest.split_once('}').unwrap().0.to_owned()
        };
        let resource = names.resource(digest, 7);
        assert_eq!(resource, format!("shop:{{{digest}}}:0000000000000007"));
        let chunk = names.chunk(digest, 7, 255, 3);
        assert_eq!(chunk, format!("{resource}:00000000000000ff:3"));
        assert_eq!(tag(&resource), tag(&chunk));
        assert_eq!(tag(&resource), tag(&names.lease(digest)));
        assert_eq!(tag(&names.quota(digest, "a{b}")), tag(&names.quota(digest, "c")));
        for name in [names.notes(), names.changes()] {
            assert_eq!(tag(&names.generation()), tag(&name));
        }
        assert_ne!(Digest::of(b"http://h/a"), digest);
    }

    #[test]
    #[should_panic(expected = "one slot")]
    fn a_prefix_with_a_brace_is_refused() {
        Names::new("{shop}");
    }
}
