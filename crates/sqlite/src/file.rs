//! The file: its lock, its version, and what becomes of one that is of no use.

use std::fs::{self, File, TryLockError};
use std::io;
use std::path::{Path, PathBuf};

use rusqlite::{Connection, ErrorCode};

use crate::connection::{self, Opened};
use crate::error::OpenError;

/// A file that nobody else uses.
#[derive(Debug)]
pub(crate) struct OwnFile {
    path: PathBuf,
    /// Unlocked when it is closed, also by the end of the process.
    _lock: File,
}

impl OwnFile {
    pub(crate) fn lock(path: &Path) -> Result<Self, OpenError> {
        let failed = |error| OpenError::file(path, error);
        let lock = File::create(beside(path, ".lock")).map_err(failed)?;
        match lock.try_lock() {
            Ok(()) => Ok(Self { path: path.into(), _lock: lock }),
            Err(TryLockError::WouldBlock) => Err(OpenError::in_use(path)),
            Err(TryLockError::Error(error)) => Err(failed(error)),
        }
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// Opens the file to be written, and makes it if it is not there. One that is
    /// damaged or of another version is set aside before, and its new name given.
    pub(crate) fn open(&self) -> Result<(Connection, Option<PathBuf>), OpenError> {
        let failed = |error| OpenError::database(&self.path, error);
        match connection::open(&self.path) {
            Ok(Opened::Ready(connection)) if connection::is_sound(&connection, &self.path) => {
                return Ok((connection, None));
            }
            Ok(Opened::Ready(_) | Opened::OtherVersion) => {}
            Ok(Opened::Foreign) => return Err(OpenError::foreign(&self.path)),
            Err(error) if is_damage(&error) => {}
            Err(error) => return Err(failed(error)),
        }
        let (connection, aside) = self.anew()?;
        Ok((connection, Some(aside)))
    }

    /// Sets the file aside, and makes an empty one.
    pub(crate) fn anew(&self) -> Result<(Connection, PathBuf), OpenError> {
        let aside = self.set_aside().map_err(|error| OpenError::file(&self.path, error))?;
        match connection::open(&self.path) {
            Ok(Opened::Ready(connection)) => Ok((connection, aside)),
            Ok(_) => Err(OpenError::foreign(&self.path)),
            Err(error) => Err(OpenError::database(&self.path, error)),
        }
    }

    /// Gives the file another name, so that nothing is lost.
    fn set_aside(&self) -> io::Result<PathBuf> {
        let name = |number| beside(&self.path, &format!(".aside-{number}"));
        let free = (1..).map(name).find(|name| !name.exists()).unwrap_or_else(|| name(0));
        fs::rename(&self.path, &free)?;
        for suffix in ["-wal", "-shm"] {
            match fs::rename(beside(&self.path, suffix), beside(&free, suffix)) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                _ => {}
            }
        }
        Ok(free)
    }
}

/// Whether a file is not what it was.
pub(crate) fn is_damage(error: &rusqlite::Error) -> bool {
    let code = error.sqlite_error_code();
    matches!(code, Some(ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase))
}

fn beside(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(suffix);
    name.into()
}
