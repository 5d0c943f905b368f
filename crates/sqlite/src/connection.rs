//! Connections to a file, and how it is laid out.

use std::path::Path;
use std::time::Duration;

use rusqlite::{Connection, OpenFlags, Result};

/// What a file is.
#[derive(Debug)]
pub(crate) enum Opened {
    /// Ready to be written.
    Ready(Connection),
    /// Laid out in the way of another version.
    OtherVersion,
    /// The database of another application.
    Foreign,
}

/// Opens a file to be written, and lays it out if it is empty.
pub(crate) fn open(path: &Path) -> Result<Opened> {
    let connection = Connection::open(path)?;
    connection.busy_timeout(PATIENCE)?;
    let number = |sql| connection.query_row(sql, [], |row| row.get::<_, i64>(0));
    let application = number("PRAGMA application_id")?;
    let version = number("PRAGMA user_version")?;
    let tables = number("SELECT count(*) FROM sqlite_schema")?;
    match (application, version) {
        (APPLICATION, VERSION) => {}
        (APPLICATION, _) => return Ok(Opened::OtherVersion),
        (0, 0) if tables == 0 => {
            // Before anything is written, or it takes no effect.
            connection.pragma_update(None, "auto_vacuum", "INCREMENTAL")?;
            connection.pragma_update(None, "journal_mode", "WAL")?;
            connection.execute_batch(LAYOUT)?;
        }
        _ => return Ok(Opened::Foreign),
    }
    connection.pragma_update(None, "journal_mode", "WAL")?;
    connection.pragma_update(None, "synchronous", "NORMAL")?;
    Ok(Opened::Ready(connection))
}

/// Opens a file that was laid out, to be read.
pub(crate) fn open_to_read(path: &Path) -> Result<Connection> {
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(path, flags)?;
    connection.busy_timeout(PATIENCE)?;
    Ok(connection)
}

/// Whether a file is intact, as far as a quick look tells, which is taken at files
/// of a moderate size. What is damaged elsewhere is found when it is read.
pub(crate) fn is_sound(connection: &Connection, path: &Path) -> bool {
    let is_small = path.metadata().is_ok_and(|file| file.len() <= MODERATE);
    let check = || connection.query_row("PRAGMA quick_check(1)", [], |row| row.get::<_, String>(0));
    !is_small || check().is_ok_and(|found| found == "ok")
}

/// `tdge`, by which files of ours are known.
const APPLICATION: i64 = 0x7464_6765;

/// The version of the layout; records have their own.
const VERSION: i64 = 1;

const LAYOUT: &str = "
    BEGIN;
    PRAGMA application_id = 0x74646765;
    CREATE TABLE records (
        id INTEGER PRIMARY KEY,
        key BLOB NOT NULL,
        variant BLOB NOT NULL,
        record BLOB NOT NULL,
        used INTEGER NOT NULL,
        expires INTEGER NOT NULL
    ) STRICT;
    CREATE UNIQUE INDEX by_key ON records (key, variant);
    CREATE INDEX by_use ON records (used);
    CREATE INDEX by_expiry ON records (expires);
    CREATE TABLE notes (number INTEGER PRIMARY KEY, note BLOB NOT NULL) STRICT;
    CREATE TABLE numbers (forgotten INTEGER NOT NULL, last INTEGER NOT NULL) STRICT;
    INSERT INTO numbers VALUES (0, 0);
    PRAGMA user_version = 1;
    COMMIT;
";

/// How long a connection waits for another one of this process.
const PATIENCE: Duration = Duration::from_secs(5);

/// The size up to which a file is looked through before it is used.
const MODERATE: u64 = 64 << 20;
