//! What is read and written, in SQL.

use bytes::Bytes;
use rusqlite::{Connection, Result, Transaction, params};
use tower_edge_cache::{Change, Notes};
use tower_edge_core::Key;

/// A record that was found.
#[derive(Debug)]
pub(crate) struct Found {
    pub(crate) record: Bytes,
    /// There if it is to be noted that it was used.
    pub(crate) used: Option<i64>,
}

/// The records of a key that are of use at this time, in seconds.
pub(crate) fn get(connection: &Connection, key: &[u8], now: i64) -> Result<Vec<Found>> {
    let sql = "SELECT id, record, used FROM records WHERE key = ?1 AND expires > ?2";
    let mut select = connection.prepare_cached(sql)?;
    let found = select.query_map(params![short(key).as_bytes(), now], |row| {
        let (id, record, used) = (row.get(0)?, row.get::<_, Vec<u8>>(1)?, row.get::<_, i64>(2)?);
        Ok(Found { record: record.into(), used: (used + USED < now).then_some(id) })
    })?;
    found.collect()
}

/// Makes all changes, or none.
pub(crate) fn write(connection: &mut Connection, changes: &[Change], now: i64) -> Result<()> {
    let transaction = connection.transaction()?;
    for change in changes {
        make(&transaction, change, now)?;
    }
    transaction.commit()
}

/// Notes that records were used.
pub(crate) fn touch(connection: &mut Connection, used: &[i64], now: i64) -> Result<()> {
    let transaction = connection.transaction()?;
    let mut update = transaction.prepare_cached("UPDATE records SET used = ?2 WHERE id = ?1")?;
    for id in used {
        update.execute(params![id, now])?;
    }
    drop(update);
    transaction.commit()
}

/// Removes what is of no use any more, and what was used longest ago while there is
/// more than fits; gives free pages back.
pub(crate) fn tidy(connection: &mut Connection, capacity: u64, now: i64) -> Result<()> {
    let sql = "DELETE FROM records WHERE id IN
        (SELECT id FROM records WHERE expires <= ?1 ORDER BY expires LIMIT ?2)";
    connection.prepare_cached(sql)?.execute(params![now, MOST_AT_ONCE])?;
    while size(connection)? > capacity {
        let sql = "DELETE FROM records WHERE id IN
            (SELECT id FROM records ORDER BY used LIMIT ?1)";
        if connection.prepare_cached(sql)?.execute([EVICTED])? == 0 {
            break;
        }
    }
    // Each step gives one page back.
    let mut vacuum = connection.prepare_cached("PRAGMA incremental_vacuum")?;
    let mut pages = vacuum.query([])?;
    while pages.next()?.is_some() {}
    Ok(())
}

/// What is in use of the file, in bytes.
pub(crate) fn size(connection: &Connection) -> Result<u64> {
    let number =
        |sql| -> Result<u64> { connection.prepare_cached(sql)?.query_row([], |row| row.get(0)) };
    let pages = number("PRAGMA page_count")? - number("PRAGMA freelist_count")?;
    Ok(pages * number("PRAGMA page_size")?)
}

/// Adds a note; gives its number.
pub(crate) fn note(connection: &mut Connection, note: &[u8]) -> Result<u64> {
    let transaction = connection.transaction()?;
    let number = "UPDATE numbers SET last = last + 1 RETURNING last";
    let number: u64 = transaction.query_row(number, [], |row| row.get(0))?;
    transaction.execute("INSERT INTO notes VALUES (?1, ?2)", params![number, note])?;
    if let Some(forgotten) = number.checked_sub(MOST_NOTES) {
        let dropped = transaction.execute("DELETE FROM notes WHERE number <= ?1", [forgotten])?;
        if dropped > 0 {
            transaction.execute("UPDATE numbers SET forgotten = ?1", [forgotten])?;
        }
    }
    transaction.commit()?;
    Ok(number)
}

/// All notes there are.
pub(crate) fn notes(connection: &Connection) -> Result<Notes> {
    let forgotten = connection.query_row("SELECT forgotten FROM numbers", [], |row| row.get(0))?;
    let mut select = connection.prepare("SELECT number, note FROM notes ORDER BY number")?;
    let notes = select.query_map([], |row| Ok((row.get(0)?, row.get::<_, Vec<u8>>(1)?.into())))?;
    Ok(Notes { forgotten, notes: notes.collect::<Result<_>>()? })
}

/// The number of the last note.
pub(crate) fn last(connection: &Connection) -> Result<u64> {
    connection.query_row("SELECT last FROM numbers", [], |row| row.get(0))
}

/// Goes on with numbers behind this one, in an empty file: what was noted up to it
/// is no longer known.
pub(crate) fn go_on(connection: &Connection, last: u64) -> Result<()> {
    connection.execute("UPDATE numbers SET forgotten = ?1, last = ?1", [last]).map(drop)
}

fn make(transaction: &Transaction<'_>, change: &Change, now: i64) -> Result<()> {
    match change {
        Change::Put { key, variant, record, keep, .. } => {
            let keep = i64::try_from(keep.as_secs()).unwrap_or(i64::MAX);
            let expires = now.saturating_add(keep);
            let sql = "INSERT OR REPLACE INTO records (key, variant, record, used, expires)
                VALUES (?1, ?2, ?3, ?4, ?5)";
            let (key, variant) = (short(key), variant.to_be_bytes());
            let mut insert = transaction.prepare_cached(sql)?;
            insert.execute(params![key.as_bytes(), variant, &record[..], now, expires])?;
        }
        Change::Remove { key, variant: Some(variant), .. } => {
            let sql = "DELETE FROM records WHERE key = ?1 AND variant = ?2";
            let (key, variant) = (short(key), variant.to_be_bytes());
            transaction.prepare_cached(sql)?.execute(params![key.as_bytes(), variant])?;
        }
        Change::Remove { key, .. } => {
            let sql = "DELETE FROM records WHERE key = ?1";
            transaction.prepare_cached(sql)?.execute([short(key).as_bytes()])?;
        }
        // Whatever else there may be: less is never wrong.
        _ => drop(transaction.execute("DELETE FROM records", [])?),
    }
    Ok(())
}

/// What stands for a key: long ones would fill the index, and the cache compares
/// them in full.
fn short(key: &[u8]) -> Key {
    Key::new(key)
}

/// How long a record counts as used just now, in seconds.
const USED: i64 = 60;

/// How many records that are of no use any more go at once.
const MOST_AT_ONCE: i64 = 1_000;

/// How many records go at once where more room is needed.
const EVICTED: i64 = 16;

const MOST_NOTES: u64 = 65_536;
