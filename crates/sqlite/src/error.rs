use std::error::Error;
use std::path::{Path, PathBuf};
use std::{fmt, io};

/// Why a file cannot be the tier of a cache.
#[derive(Debug)]
pub struct OpenError {
    path: PathBuf,
    kind: Kind,
}

#[derive(Debug)]
enum Kind {
    InUse,
    Foreign,
    Database(rusqlite::Error),
    File(io::Error),
}

impl OpenError {
    pub(crate) fn in_use(path: &Path) -> Self {
        Self { path: path.into(), kind: Kind::InUse }
    }

    pub(crate) fn foreign(path: &Path) -> Self {
        Self { path: path.into(), kind: Kind::Foreign }
    }

    pub(crate) fn database(path: &Path, error: rusqlite::Error) -> Self {
        Self { path: path.into(), kind: Kind::Database(error) }
    }

    pub(crate) fn file(path: &Path, error: io::Error) -> Self {
        Self { path: path.into(), kind: Kind::File(error) }
    }
}

impl fmt::Display for OpenError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let path = self.path.display();
        match &self.kind {
            Kind::InUse => {
                write!(f, "the cache file {path} is used by another process: name another file")
            }
            Kind::Foreign => {
                write!(f, "{path} is a database, but not of a cache: name another file")
            }
            Kind::Database(_) | Kind::File(_) => write!(f, "cannot use the cache file {path}"),
        }
    }
}

impl Error for OpenError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match &self.kind {
            Kind::InUse | Kind::Foreign => None,
            Kind::Database(error) => Some(error),
            Kind::File(error) => Some(error),
        }
    }
}
