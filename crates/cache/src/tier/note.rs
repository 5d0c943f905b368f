//! The binary form of a purge.

use std::time::SystemTime;

use bytes::Bytes;
use http::Uri;
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
            Scope::Target(target) => About::Target(target.to_string()),
            Scope::Prefix(target) => About::Prefix(target.to_string()),
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

    pub(crate) fn at(&self) -> SystemTime {
        self.at
    }

    /// Shows what it is about, if that can be.
    pub(crate) fn with_scope<R>(&self, show: impl FnOnce(Scope<'_>) -> R) -> R {
        let target = |text: &str| text.parse::<Uri>();
        match &self.about {
            About::Everything => show(Scope::Everything),
            About::Tag(tag) => show(Scope::Tag(tag)),
            About::Target(text) => match target(text) {
                Ok(uri) => show(Scope::Target(Target::from_uri(&uri))),
                Err(_) => show(Scope::Everything),
            },
            About::Prefix(text) => match target(text) {
                Ok(uri) => show(Scope::Prefix(Target::from_uri(&uri))),
                Err(_) => show(Scope::Everything),
            },
        }
    }
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
enum About {
    Everything,
    Target(String),
    Prefix(String),
    Tag(String),
}

const VERSION: u8 = 1;

#[cfg(test)]
mod tests {
    use std::time::Duration;

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
                assert_eq!((note.purge(), note.at()), (purge, at));
                note.with_scope(|read| assert_eq!(format!("{read:?}"), format!("{scope:?}")));
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
