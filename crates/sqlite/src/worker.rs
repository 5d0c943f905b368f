//! The threads that work on a file.

use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, SyncSender};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use rusqlite::{Connection, Result};
use tokio::sync::oneshot;
use tower_edge_cache::{Change, Notes};
use tower_edge_core::BoxError;

use crate::error::OpenError;
use crate::file::{OwnFile, is_damage};
use crate::{connection, records};

/// What a reader is to look for, at this time in seconds.
#[derive(Debug)]
pub(crate) struct Look {
    pub(crate) key: Vec<u8>,
    pub(crate) now: i64,
    pub(crate) found: Answer<Vec<Bytes>>,
}

/// What the writer is to do.
#[derive(Debug)]
pub(crate) enum Job {
    /// At this time, in seconds.
    Write(Vec<Change>, i64, Answer<()>),
    Note(Bytes, Answer<u64>),
    Notes(Answer<Notes>),
    /// A reader has found this file damaged, by its number.
    Damaged(u64),
}

pub(crate) type Answer<T> = oneshot::Sender<std::result::Result<T, BoxError>>;

/// What the threads of a file share.
#[derive(Debug, Default)]
pub(crate) struct Common {
    /// The number of the file, since one that is damaged gives way to another.
    file: AtomicU64,
    /// The records that were used of late.
    used: Mutex<Vec<i64>>,
}

/// Reads, until nobody can ask any more.
#[derive(Debug)]
pub(crate) struct Reader {
    pub(crate) path: PathBuf,
    pub(crate) looks: Arc<Mutex<Receiver<Look>>>,
    pub(crate) jobs: SyncSender<Job>,
    pub(crate) common: Arc<Common>,
}

/// Writes, until nobody can ask any more.
#[derive(Debug)]
pub(crate) struct Writer {
    pub(crate) file: OwnFile,
    /// None only if a damaged file could not be replaced.
    pub(crate) connection: Option<Connection>,
    /// The number of the last note.
    pub(crate) last: u64,
    pub(crate) capacity: u64,
    pub(crate) jobs: Receiver<Job>,
    pub(crate) common: Arc<Common>,
}

impl Reader {
    pub(crate) fn run(self) {
        let mut open = None;
        loop {
            let next = lock(&self.looks).recv();
            let Ok(look) = next else { return };
            if look.found.is_closed() {
                continue;
            }
            let file = self.common.file.load(Ordering::Acquire);
            let records = self.get(&mut open, file, &look);
            if let Err(error) = &records {
                open = None;
                if is_damage(error) {
                    // With no place in the queue somebody else will find it.
                    drop(self.jobs.try_send(Job::Damaged(file)));
                }
            }
            drop(look.found.send(records.map_err(BoxError::from)));
        }
    }

    fn get(
        &self,
        open: &mut Option<(u64, Connection)>,
        file: u64,
        look: &Look,
    ) -> Result<Vec<Bytes>> {
        if open.as_ref().is_none_or(|(of, _)| *of != file) {
            *open = Some((file, connection::open_to_read(&self.path)?));
        }
        let Some((_, connection)) = open else { return Ok(Vec::new()) };
        let found = records::get(connection, &look.key, look.now)?;
        let mut used = lock(&self.common.used);
        let room = MOST_USED.saturating_sub(used.len());
        used.extend(found.iter().filter_map(|found| found.used).take(room));
        Ok(found.into_iter().map(|found| found.record).collect())
    }
}

impl Writer {
    pub(crate) fn run(mut self) {
        while let Ok(job) = self.jobs.recv() {
            match job {
                Job::Write(changes, now, answer) => {
                    let written = self.with(|connection| records::write(connection, &changes, now));
                    self.tidy(now);
                    drop(answer.send(written));
                }
                Job::Note(note, answer) => {
                    let noted = self.with(|connection| records::note(connection, &note));
                    self.last = *noted.as_ref().unwrap_or(&self.last);
                    drop(answer.send(noted));
                }
                Job::Notes(answer) => drop(answer.send(self.with(|open| records::notes(open)))),
                Job::Damaged(file) if file == self.common.file.load(Ordering::Acquire) => {
                    self.replace();
                }
                Job::Damaged(_) => {}
            }
        }
    }

    fn with<T>(
        &mut self,
        work: impl FnOnce(&mut Connection) -> Result<T>,
    ) -> std::result::Result<T, BoxError> {
        if self.connection.is_none() {
            self.replace();
        }
        let Some(connection) = &mut self.connection else { return Err(NO_FILE.into()) };
        let done = work(connection);
        if done.as_ref().is_err_and(is_damage) {
            self.replace();
        }
        done.map_err(BoxError::from)
    }

    /// Keeps the bound, after what was used of late is noted.
    fn tidy(&mut self, now: i64) {
        let used = std::mem::take(&mut *lock(&self.common.used));
        let capacity = self.capacity;
        // What fails here is tried again after the next batch.
        drop(self.with(|connection| {
            records::touch(connection, &used, now)?;
            records::tidy(connection, capacity, now)
        }));
    }

    /// Begins with an empty file in place of one that is damaged.
    fn replace(&mut self) {
        self.connection = None;
        let last = self.last;
        let begin = |(connection, _): (Connection, PathBuf)| {
            let begun = records::go_on(&connection, last);
            begun.map_err(|error| OpenError::database(self.file.path(), error))?;
            Ok::<_, OpenError>(connection)
        };
        self.connection = self.file.anew().and_then(begin).ok();
        self.common.file.fetch_add(1, Ordering::AcqRel);
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// How many records are noted as used between two batches.
const MOST_USED: usize = 4_096;

const NO_FILE: &str = "a damaged cache file could not be replaced";
