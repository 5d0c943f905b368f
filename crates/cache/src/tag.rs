use http::HeaderValue;
use sha2::{Digest, Sha256};

/// Makes a strong entity tag of content while it streams (RFC 9110 §8.8.3).
///
/// It is the first 128 bits of SHA-256: nobody can make two contents with one
/// tag, and all nodes agree on it.
#[derive(Clone, Debug, Default)]
pub(crate) struct ContentTag(Sha256);

impl ContentTag {
    pub(crate) fn update(&mut self, content: &[u8]) {
        self.0.update(content);
    }

    pub(crate) fn finish(self) -> Option<HeaderValue> {
        let digest = self.0.finalize();
        let (half, _) = digest.split_first_chunk::<16>()?;
        HeaderValue::try_from(format!("\"{:032x}\"", u128::from_be_bytes(*half))).ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tag_is_that_of_the_content_however_it_came() {
        let tag = |pieces: &[&str]| {
            let mut tag = ContentTag::default();
            pieces.iter().for_each(|piece| tag.update(piece.as_bytes()));
            tag.finish().unwrap()
        };
        assert_eq!(tag(&["abc"]), "\"ba7816bf8f01cfea414140de5dae2223\"");
        assert_eq!(tag(&["a", "", "bc"]), tag(&["abc"]));
        assert_ne!(tag(&["ab"]), tag(&["abc"]));
    }
}
