//! The binary form of a purge.

use std::time::{Instant, SystemTime};

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use tower_edge_core::Target;

use crate::purges::{Purge, Scope};

/// A purge, and when it was.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Note {
    about: About,
    hard: bool,
    at: SystemTime,
}

impl Note {
    pub(crate) fn new(scope: Scope<'_>, purge: Purge, at: SystemTime) -> Self {
        let about = match scope {
            Scope::Everything => About::Everything,
            Scope::Target(target) => About::Target(Parts::of(&target)),
            Scope::Prefix(target) => About::Prefix(Parts::of(&target)),
            Scope::Tag(tag) => About::Tag(tag.to_owned()),
        };
        Self { about, hard: purge == Purge::Hard, at }
    }

    pub(crate) fn write(&self) -> Bytes {
        let mut note = vec![VERSION];
        // Without memory nothing else would go on either.
        note.extend(postcard::to_allocvec(self).unwrap_or_default());
        note.into()
    }

    /// Reads a purge; what cannot be read is taken for the strongest there is.
    pub(crate) fn read(note: &[u8], now: SystemTime) -> Self {
        let known = match note.split_first() {
            Some((&VERSION, rest)) => postcard::from_bytes(rest).ok(),
            _ => None,
        };
        known.unwrap_or(Self { about: About::Everything, hard: true, at: now })
    }

    pub(crate) fn purge(&self) -> Purge {
        if self.hard { Purge::Hard } else { Purge::Soft }
    }

    /// The moment at which it was made; now, if that is still to come.
    pub(crate) fn when(&self, now: Instant, wall: SystemTime) -> Instant {
        let ago = wall.duration_since(self.at).unwrap_or_default();
        now.checked_sub(ago).unwrap_or(now)
    }

    pub(crate) fn scope(&self) -> Scope<'_> {
        match &self.about {
            About::Everything => Scope::Everything,
            About::Target(parts) => Scope::Target(parts.target()),
            About::Prefix(parts) => Scope::Prefix(parts.target()),
            About::Tag(tag) => Scope::Tag(tag),
        }
    }
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
enum About {
    Everything,
    Target(Parts),
    Prefix(Parts),
    Tag(String),
}

/// A target with memory of its own.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Parts {
    scheme: String,
    authority: Option<String>,
    path: String,
    query: Option<String>,
}

impl Parts {
    fn of(target: &Target<'_>) -> Self {
        Self {
            scheme: target.scheme().to_owned(),
            authority: target.authority().map(str::to_owned),
            path: target.path().to_owned(),
            query: target.query().map(str::to_owned),
        }
    }

    fn target(&self) -> Target<'_> {
        let (authority, query) = (self.authority.as_deref(), self.query.as_deref());
        Target::from_parts(&self.scheme, authority, &self.path, query)
    }
}

const VERSION: u8 = 1;

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use http::Uri;

    use super::*;

    #[test]
    fn a_purge_is_read_as_it_was_written() {
        let at = SystemTime::UNIX_EPOCH + Duration::from_secs(9);
        let uri = "https://h:81/a?b".parse::<Uri>().unwrap();
        let target = Target::from_uri(&uri);
        for scope in
            [Scope::Everything, Scope::Target(target), Scope::Prefix(target), Scope::Tag("t")]
        {
            for purge in [Purge::Soft, Purge::Hard] {
                let note = Note::read(&Note::new(scope, purge, at).write(), SystemTime::UNIX_EPOCH);
                assert_eq!((note.purge(), note.at), (purge, at));
                assert_eq!(format!("{:?}", note.scope()), format!("{scope:?}"));
            }
        }
    }

    #[test]
    fn a_note_that_cannot_be_read_is_about_everything() {
        let now = SystemTime::UNIX_EPOCH;
        let good = Note::new(Scope::Tag("t"), Purge::Soft, now).write();
        for bad in [&b""[..], b"\x01", b"\x02\x00", &good[..good.len() - 1]] {
            let note = Note::read(bad, now);
            assert_eq!((note.about, note.hard), (About::Everything, true), "{bad:?}");
        }
    }
}
