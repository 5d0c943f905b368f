use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::mpsc::{SyncSender, sync_channel};
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle};
use std::time::UNIX_EPOCH;

use bytes::Bytes;
use tokio::sync::oneshot;
use tower_edge_cache::{Change, Notes, Tier, TierFuture};
use tower_edge_core::{BoxError, Clock};

use crate::error::OpenError;
use crate::file::OwnFile;
use crate::records;
use crate::worker::{Answer, Common, Job, Look, Reader, Writer};

/// A cache tier in a SQLite file.
///
/// Dropping it waits until what was asked for is done, and the file is closed.
pub struct SqliteTier {
    path: PathBuf,
    aside: Option<PathBuf>,
    clock: Clock,
    /// Both there until it is dropped.
    looks: Option<SyncSender<Look>>,
    jobs: Option<SyncSender<Job>>,
    threads: Vec<JoinHandle<()>>,
}

impl SqliteTier {
    /// Opens a file, or makes it, which takes up to `capacity` bytes, and what is
    /// being written besides (the log of SQLite, `-wal`, some 4 MiB, mostly). A
    /// file of less than 64 MiB is looked through before.
    ///
    /// It blocks while it does so.
    ///
    /// # Errors
    ///
    /// If another process uses the file, if it is a database of something else, or
    /// if it cannot be read and written.
    pub fn open(path: impl AsRef<Path>, capacity: u64) -> Result<Self, OpenError> {
        let path = path.as_ref();
        let file = OwnFile::lock(path)?;
        let (connection, aside) = file.open()?;
        let last = records::last(&connection).map_err(|error| OpenError::database(path, error))?;
        let (looks, to_look) = sync_channel(MOST_LOOKS);
        let (jobs, to_do) = sync_channel(MOST_JOBS);
        let (common, to_look) = (Arc::<Common>::default(), Arc::new(Mutex::new(to_look)));
        let connection = Some(connection);
        let writer =
            Writer { file, connection, last, capacity, jobs: to_do, common: common.clone() };
        let start = |name: &str, run: Box<dyn FnOnce() + Send>| {
            let thread = thread::Builder::new().name(name.to_owned()).spawn(run);
            thread.map_err(|error| OpenError::file(path, error))
        };
        let mut threads = vec![start("sqlite-writer", Box::new(|| writer.run()))?];
        for _ in 0..READERS {
            let (looks, jobs, common) = (to_look.clone(), jobs.clone(), common.clone());
            let reader = Reader { path: path.into(), looks, jobs, common };
            threads.push(start("sqlite-reader", Box::new(|| reader.run()))?);
        }
        let (looks, jobs, clock) = (Some(looks), Some(jobs), Clock::system());
        Ok(Self { path: path.into(), aside, clock, looks, jobs, threads })
    }

    /// Takes the time from `clock`.
    #[must_use]
    pub fn clock(mut self, clock: Clock) -> Self {
        self.clock = clock;
        self
    }

    /// What the file is called now that was there before and could not be used,
    /// because it was damaged or of another version.
    pub fn set_aside(&self) -> Option<&Path> {
        self.aside.as_deref()
    }

    /// Asks a thread, and waits for what it says.
    fn ask<T: Send + 'static, J: Send + 'static>(
        to: &Option<SyncSender<J>>,
        job: impl FnOnce(Answer<T>) -> J,
    ) -> TierFuture<'static, T> {
        let (answer, answered) = oneshot::channel();
        let asked = to.as_ref().is_some_and(|to| to.try_send(job(answer)).is_ok());
        Box::pin(async move {
            if !asked {
                return Err(BoxError::from(BUSY));
            }
            answered.await?
        })
    }

    fn seconds(&self) -> i64 {
        let since = self.clock.wall().duration_since(UNIX_EPOCH).unwrap_or_default();
        i64::try_from(since.as_secs()).unwrap_or(i64::MAX)
    }
}

impl Tier for SqliteTier {
    fn name(&self) -> &'static str {
        "sqlite"
    }

    fn get<'a>(&'a self, key: &'a [u8]) -> TierFuture<'a, Vec<Bytes>> {
        let (key, now) = (key.to_owned(), self.seconds());
        Self::ask(&self.looks, |found| Look { key, now, found })
    }

    fn write<'a>(&'a self, changes: &'a [Change]) -> TierFuture<'a, ()> {
        let (changes, now) = (changes.to_owned(), self.seconds());
        Self::ask(&self.jobs, |answer| Job::Write(changes, now, answer))
    }

    fn note(&self, note: Bytes) -> TierFuture<'_, u64> {
        Self::ask(&self.jobs, |answer| Job::Note(note, answer))
    }

    fn notes(&self) -> TierFuture<'_, Notes> {
        Self::ask(&self.jobs, Job::Notes)
    }
}

impl Drop for SqliteTier {
    fn drop(&mut self) {
        self.looks = None;
        self.jobs = None;
        // A thread that has panicked has nothing more to do either.
        self.threads.drain(..).for_each(|thread| drop(thread.join()));
    }
}

impl fmt::Debug for SqliteTier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SqliteTier").field("path", &self.path).finish_non_exhaustive()
    }
}

const READERS: usize = 2;

/// How many may wait for a reader; the next one is a miss.
const MOST_LOOKS: usize = 256;

/// How much may wait for the writer.
const MOST_JOBS: usize = 64;

const BUSY: &str = "too many wait for the cache file";
